"""Volumes in and out of NIfTI, grids, intensity scales and slices."""
