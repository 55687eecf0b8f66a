"""All that a run loads, loaded: what is forked from here starts at once."""

from __future__ import annotations

from bids_ihf.pipeline.process import set_up_process

set_up_process(0)

import matplotlib.pyplot as plt  # noqa: E402, F401
import torch  # noqa: E402, F401

from bids_ihf.bids.names import entity_keys  # noqa: E402
from bids_ihf.geometry.template import load_template  # noqa: E402
from bids_ihf.network.checkpoint import load_model_cached  # noqa: E402
from bids_ihf.preprocessing.itk import load_ants  # noqa: E402

load_ants()
load_template()
load_model_cached("cpu")
entity_keys()
