"""``python -m bids_ihf``: the same as the ``ihf-harmony`` command."""

from __future__ import annotations

from bids_ihf.cli.app import main

if __name__ == "__main__":
    main()
