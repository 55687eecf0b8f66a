"""T1w and T2w: one image to its target, and what is written of it."""
