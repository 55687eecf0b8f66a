"""Other harmonization methods to compare with, one module each.

Those of structural images have a function ``harmonize`` of a source and of reference scans by the
target scanner; it returns an image of the source's shape in the units of the references.  RISH, of
diffusion series, has one of its own, since it needs features of both scanners.
"""
