"""All that a run loads, loaded: what is forked from here starts at once."""

from __future__ import annotations

from bids_ihf.workflow.steps import fix_threads

fix_threads(1, 0)

import bids.layout  # noqa: E402, F401
import matplotlib.pyplot as plt  # noqa: E402, F401
import torch  # noqa: E402, F401

import bids_ihf.cli.run  # noqa: E402
import bids_ihf.report.participant  # noqa: E402
import bids_ihf.workflow.graph  # noqa: E402
import bids_ihf.workflow.series  # noqa: E402, F401
from bids_ihf.bids.entities import entity_keys  # noqa: E402
from bids_ihf.spatial.itk import load_ants  # noqa: E402
from bids_ihf.spatial.template import load_template  # noqa: E402
from bids_ihf.workflow.steps import model_on  # noqa: E402

load_ants()
load_template()
model_on("cpu")
entity_keys()
