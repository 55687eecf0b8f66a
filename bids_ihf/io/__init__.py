"""Files: NIfTI images, series read volume by volume, tensors, tables, atomic writing."""
