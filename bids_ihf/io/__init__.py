"""Files: NIfTI, series read and written volume by volume, tensors, atomic writing."""
