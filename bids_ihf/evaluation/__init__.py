"""Measures of how close harmonized images come to real scans of the target, and baselines."""
