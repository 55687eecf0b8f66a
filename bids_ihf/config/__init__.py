"""Settings of a run: one schema, from which options, settings file and form are made."""

from __future__ import annotations

from bids_ihf.config.identity import configuration_hash
from bids_ihf.config.settings import BrainMask, Normalization, RunConfig
from bids_ihf.config.settings_file import from_toml, to_toml

__all__ = [
    "BrainMask",
    "Normalization",
    "RunConfig",
    "configuration_hash",
    "from_toml",
    "to_toml",
]
