"""The vendors' targets: simulated scans that went through the product's own bias correction.

The pool's scans are corrected by knowing the field, which is quick.  N4 takes more than the
receive field: it flattens what the transmit field does to the contrast, and cortex comes out
brighter.  The scans users harmonize go through N4, so targets must show tissue as N4 leaves it.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from concurrent.futures import ProcessPoolExecutor
from itertools import count, repeat
from multiprocessing import get_context
from typing import TYPE_CHECKING

from bids_ihf.spatial.prepare import deterministic
from bids_ihf.targets.profile import Profile, merge
from bids_ihf.targets.target import VENDORS, Target
from bids_ihf.training.simulated import calibrated, label_maps, load_person, scanners

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from typing import Any

    from bids_ihf.simulation.protocol import Modality
    from bids_ihf.training.config import TrainConfig

LOGGER = logging.getLogger(__name__)

VISIT = 500
"""Tells these scans' noise from that of the pool's."""

Found = dict[tuple[str, "Modality"], Profile]


def vendor_targets(config: TrainConfig, encoder: Path, record: Mapping[str, Any]) -> list[Target]:
    """A target for each vendor, from one scan of every person; people go to its scanners in turn.

    ``encoder`` is the file of the encoder that the targets are for.
    """
    from bids_ihf.model.checkpoint import load_encoder

    maps = label_maps(config)
    deterministic(1)  # for the processes, which inherit the environment
    groups: dict[tuple[str, Modality], list[Profile]] = defaultdict(list)
    with ProcessPoolExecutor(config.threads, mp_context=get_context("spawn")) as workers:
        work = workers.map(_profiles, repeat(config), maps, count(), repeat(encoder))
        for path, found in zip(maps, work, strict=True):
            for key, profile in found.items():
                groups[key].append(profile)
            LOGGER.info("Scanned %s for the vendors' targets", path.name.split("_")[0])
    _, digest = load_encoder(encoder)
    targets = []
    for vendor in VENDORS:
        own: dict[str, list[Profile]] = {m: groups[vendor, m] for m in config.data.modalities}
        profiles = {modality: merge(each) for modality, each in own.items()}
        counts = {f"{modality}_scans": len(each) for modality, each in own.items()}
        targets.append(Target(vendor, digest, profiles, {**record, **counts}))
    return targets


def _profiles(config: TrainConfig, path: Path, number: int, encoder: Path) -> Found:
    """The profile of a person's scan by a scanner of every vendor, bias corrected."""
    from bids_ihf.model.checkpoint import load_encoder
    from bids_ihf.simulation.scanner import scan
    from bids_ihf.spatial.bias import bias_field
    from bids_ihf.targets.gridding import profile_of, to_network_grid

    person = load_person(config, path, number)
    model, _ = load_encoder(encoder)
    site = number % config.data.vendor_scanners
    found: Found = {}
    for modality in config.data.modalities:
        chosen = scanners(config, modality, number)
        for visit, vendor in enumerate(VENDORS):
            _, scanner = chosen[f"{vendor.lower()}{site}"]
            image = scan(person.anatomy, scanner, person.seed * 1000 + VISIT + visit)
            image /= bias_field(image, person.anatomy.affine, person.brain)
            image = calibrated(image, person.anatomy, scanner)
            on_grid = to_network_grid(person.prepared(image))
            found[vendor, modality] = profile_of(on_grid, model)
    return found
