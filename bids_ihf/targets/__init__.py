"""Target profiles: what a scanner looks like, by modality and slice position."""
