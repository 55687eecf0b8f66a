"""T1w, T2w and FLAIR: one image to its target, and what is written of it."""
