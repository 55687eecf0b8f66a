"""BIDS: what a dataset holds, and how its derivatives are named and described."""
