"""Bias field, brain mask and registration to the template, by ANTs, arrays in and out."""
