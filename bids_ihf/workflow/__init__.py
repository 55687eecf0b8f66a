"""The nipype graph of a run: thin interfaces over plain functions."""
