"""BIDS in and out: what a dataset holds, and how its derivatives are named and written."""
