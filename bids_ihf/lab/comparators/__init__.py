"""Other harmonization methods to compare with, one module each.

Those of structural images have a function ``harmonize`` with the signature of
:class:`~bids_ihf.lab.comparators.interface.Comparator`; RISH, of diffusion series, has one of its
own, since it needs features of both scanners.
"""
