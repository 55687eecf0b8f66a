"""Comparators that are trained, each written from its paper and reduced in size.

A module each has a network of the paper and its losses, as a
:class:`~bids_ihf.lab.comparators.learned.interface.LearnedComparator`; ``ihf train`` trains it on
the slabs and people of our network, ``ihf benchmark --comparator`` measures it.
"""
