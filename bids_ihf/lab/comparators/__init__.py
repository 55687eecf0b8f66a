"""Other methods of harmonization, to compare with."""
