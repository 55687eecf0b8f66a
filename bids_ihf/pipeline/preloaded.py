"""What worker processes share: imported by the fork server, so that none loads it again."""

from __future__ import annotations

import gc

from bids_ihf.geometry.template import load_template
from bids_ihf.io.memory import reuse_freed_memory
from bids_ihf.pipeline import interfaces
from bids_ihf.preprocessing.itk import load_ants_without_plotting

__all__ = ["interfaces"]

reuse_freed_memory()
load_ants_without_plotting()
load_template()
# A worker's garbage collection would write to, and so copy, all that it shares with the server.
gc.freeze()
