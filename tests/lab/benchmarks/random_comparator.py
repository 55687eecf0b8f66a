"""A comparator of random weights, as a file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from bids_ihf.lab.comparators.learned.interface import ComparatorSettings, site_names
from bids_ihf.lab.comparators.learned.weights import build_comparator, pack_comparator

if TYPE_CHECKING:
    from pathlib import Path

    from bids_ihf.lab.comparators.learned.kinds import ComparatorKind
    from bids_ihf.network.checkpoint import ModelBundle


def write_comparator(
    folder: Path, kind: ComparatorKind, model: ModelBundle, *modalities: str, person: str = "x"
) -> Path:
    torch.manual_seed(0)
    settings = ComparatorSettings(kind, site_names(modalities), channels=4, blocks=1)  # type: ignore[arg-type]
    built = build_comparator(settings, model.encoder)
    path = folder / f"{kind}-{'-'.join(modalities)}.safetensors"
    path.write_bytes(pack_comparator(built, model.encoder_hash, {"people": [person]}))
    return path
