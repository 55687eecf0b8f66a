"""Grids, resampling, slices and the template."""
