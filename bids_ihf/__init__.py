"""ihf-harmony: a BIDS App that makes brain MRI from different scanners comparable."""

from __future__ import annotations

__version__ = "0.1.0"
