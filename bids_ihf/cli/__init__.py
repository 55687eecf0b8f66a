"""Command lines: the BIDS App ``ihf-harmony`` and the ``ihf`` toolbox."""
