"""Harmonization between vendors, beside other methods."""
