"""Profiles of the vendors' typical scanners, of which the targets of the package are means."""

from __future__ import annotations

import logging
from concurrent.futures import ProcessPoolExecutor
from itertools import repeat
from multiprocessing import get_context
from typing import TYPE_CHECKING

import numpy as np
import torch

from bids_ihf.errors import BadData
from bids_ihf.geometry.grid import Grid
from bids_ihf.io.atomic import write_atomic
from bids_ihf.lab.simulation.populations import typical_protocol_records
from bids_ihf.lab.simulation.vendor_scanners import typical_scanner
from bids_ihf.lab.training.slab_scans import Slab, scan_on_grid
from bids_ihf.lab.training.template_subjects import template_subjects
from bids_ihf.targets.intensity import robust_scale
from bids_ihf.targets.network_input import NetworkInput, measure_profile
from bids_ihf.targets.profile import Profile, merge_profiles
from bids_ihf.targets.target import BUILTIN_VENDORS, Target, pack_target, read_target

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from typing import Any

    from bids_ihf.bids.names import Modality
    from bids_ihf.lab.simulation.scanner import Scanner
    from bids_ihf.lab.training.template_subjects import TemplateSubject
    from bids_ihf.network.encoder import Encoder

LOGGER = logging.getLogger(__name__)

TypicalProfiles = dict[tuple[str, str], dict[str, Profile]]
"""Profile by subject, by (vendor, modality)."""


def typical_profiles(
    people_file: Path,
    arrays: Path,
    names: Sequence[str],
    encoder: tuple[Encoder, str],
    folder: Path,
    *,
    modalities: Sequence[Modality],
    processes: int,
) -> TypicalProfiles:
    """Scan every subject by the typical scanner of every vendor, unless a folder has the profiles.

    Takes about 15 s a subject.

    Parameters
    ----------
    people_file, arrays
        The packed subjects, and the folder of their arrays.
    encoder
        The encoder on the CPU, and its hash.
    """
    folder.mkdir(parents=True, exist_ok=True)
    stale = [name for name in names if not _is_current(folder, name, encoder[1], modalities)]
    work = (
        repeat(people_file),
        repeat(arrays),
        stale,
        repeat(encoder),
        repeat(folder),
        repeat(modalities),
    )
    if processes > 1 and stale:
        with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as workers:
            list(workers.map(_write_profiles, *work))
    else:
        for arguments in zip(*work, strict=False):
            _write_profiles(*arguments)
    profiles: TypicalProfiles = {}
    for name in names:
        for key, profile in read_target(_profiles_path(folder, name)).profiles.items():
            vendor, modality = key.split(" ")
            profiles.setdefault((vendor, modality), {})[name] = profile
    return profiles


def vendor_targets(
    profiles: TypicalProfiles, encoder_hash: str, record: Mapping[str, Any]
) -> list[Target]:
    """The target of each vendor, from all subjects; its record names the protocols it stands
    for."""
    targets = []
    for vendor in BUILTIN_VENDORS:
        merged = {
            modality: merge_profiles(list(scans.values()))
            for (scanned_by, modality), scans in profiles.items()
            if scanned_by == vendor
        }
        protocols = typical_protocol_records(vendor, merged)
        targets.append(Target(vendor, encoder_hash, merged, provenance={**record, **protocols}))
    return targets


def whole_scan(subject: TemplateSubject, scanner: Scanner, seed: int) -> NetworkInput:
    """A scan of the whole brain.

    Raises
    ------
    ValueError
        The brain has one intensity.
    """
    x, y, z = np.random.default_rng([seed, 8]).uniform(0, 1, 3).tolist()
    count, modality = len(subject.mask), scanner.protocol.modality
    image, _ = scan_on_grid(subject, Slab(0, count, (x, y, z)), scanner, seed)
    data = np.ascontiguousarray(image.numpy())
    mask = np.ascontiguousarray(np.moveaxis(subject.brain_mask(0, count), 0, 2))
    tissues = np.moveaxis(subject.tissues(0, count), 1, 3) if modality == "FLAIR" else None
    scale, grid = robust_scale(data, mask > 0.5), Grid(data.shape, subject.affine)
    return NetworkInput(data, mask, grid, scale, tissues, modality)


def _write_profiles(
    people_file: Path,
    arrays: Path,
    name: str,
    encoder: tuple[Encoder, str],
    folder: Path,
    modalities: Sequence[Modality],
) -> None:
    torch.set_num_threads(1)
    (subject,) = template_subjects(people_file, arrays, (name,))
    profiles = {
        f"{vendor} {modality}": measure_profile(
            whole_scan(subject, typical_scanner(vendor, modality, subject.seed), subject.seed),
            encoder[0],
        )
        for vendor in BUILTIN_VENDORS
        for modality in modalities
    }
    write_atomic(_profiles_path(folder, name), pack_target(Target(name, encoder[1], profiles)))
    LOGGER.info("Scanned %s by the typical scanners", name)


def _is_current(
    folder: Path, name: str, encoder_hash: str, modalities: Sequence[Modality]
) -> bool:
    try:
        target = read_target(_profiles_path(folder, name))
    except BadData:
        return False
    keys = {f"{vendor} {modality}" for vendor in BUILTIN_VENDORS for modality in modalities}
    return target.encoder_hash == encoder_hash and keys == set(target.profiles)


def _profiles_path(folder: Path, name: str) -> Path:
    return folder / f"{name}.safetensors"
