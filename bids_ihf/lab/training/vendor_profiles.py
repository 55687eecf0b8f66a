"""Profiles of the vendors' typical scanners, of which the targets of the package are means."""

from __future__ import annotations

import logging
from concurrent.futures import ProcessPoolExecutor
from itertools import repeat
from multiprocessing import get_context
from typing import TYPE_CHECKING, cast

import numpy as np
import torch

from bids_ihf.errors import BadData
from bids_ihf.geometry.grid import Grid
from bids_ihf.io.atomic import write_atomic
from bids_ihf.lab.simulation.epi_population import (
    TYPICAL_SHELLS_S_PER_MM2,
    typical_shell_scanner,
)
from bids_ihf.lab.simulation.populations import typical_protocol_records
from bids_ihf.lab.simulation.vendor_scanners import typical_scanner
from bids_ihf.lab.training.packed_people import read_people
from bids_ihf.lab.training.shell_scans import scan_shell_slab, shell_statistics
from bids_ihf.lab.training.slab_scans import Slab
from bids_ihf.lab.training.template_subjects import record_of, template_subjects
from bids_ihf.lab.training.whole_scans import whole_scan
from bids_ihf.targets.intensity import robust_scale
from bids_ihf.targets.map_profiles import DIFFUSION_MAPS, is_map_key, map_key
from bids_ihf.targets.network_input import NetworkInput, measure_profile
from bids_ihf.targets.profile import Profile, merge_profiles
from bids_ihf.targets.target import BUILTIN_VENDORS, Target
from bids_ihf.targets.target_file import pack_target, read_target

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path
    from typing import Any

    from bids_ihf.bids.names import Modality
    from bids_ihf.lab.training.packed_people import PackedSubject
    from bids_ihf.lab.training.template_subjects import TemplateSubject
    from bids_ihf.network.encoder import Encoder

LOGGER = logging.getLogger(__name__)

SUBJECT_KEY = "subject"
"""Entry of the record of a file of profiles: what the subject's arrays were made of."""

TypicalProfiles = dict[tuple[str, str], dict[str, Profile]]
"""Profile by subject, by (vendor, modality, or key of a diffusion map)."""


def typical_profiles(
    people_file: Path,
    arrays: Path,
    names: Sequence[str],
    encoder: tuple[Encoder, str],
    folder: Path,
    *,
    modalities: Sequence[str],
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
    stale = [
        subject.name
        for subject in read_people(people_file, tuple(names))
        if not _is_current(folder, subject, encoder[1], modalities)
    ]
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
        anatomical = [modality for modality in merged if not is_map_key(modality)]
        protocols = typical_protocol_records(vendor, anatomical)
        targets.append(Target(vendor, encoder_hash, merged, provenance={**record, **protocols}))
    return targets


def whole_maps(
    subject: TemplateSubject, vendor: str, b: float, names: Sequence[str]
) -> Iterator[tuple[str, NetworkInput]]:
    """Maps of a shell of a whole series by a vendor's typical scanner, by the key in a target.

    Raises
    ------
    ValueError
        The series shows too little tissue to be measured.
    """
    x, y, z = np.random.default_rng([subject.seed, 8]).uniform(0, 1, 3).tolist()
    count = len(subject.mask)
    measured = typical_shell_scanner(vendor, b, subject.seed)
    correction = shell_statistics(subject, measured, subject.seed).correction
    slab = Slab(1, count - 1, (x, y, z))
    scanned = scan_shell_slab(subject, slab, measured, correction, subject.seed)
    mask = np.ascontiguousarray(np.moveaxis(subject.brain_mask(0, count), 0, 2))
    grid = Grid(mask.shape, subject.affine)
    for name, image in scanned.maps.by_name().items():
        if name in names:
            volume = image.reshape(scanned.shape)
            slices = scanned.grid.slices(volume, 0, count, subject.mask.shape[1:])
            data = np.ascontiguousarray(np.moveaxis(slices, 0, 2))
            scale = robust_scale(data, mask > 0.5)
            yield map_key(name, b), NetworkInput(data, mask, grid, scale, modality=name)


def _inputs(
    subject: TemplateSubject, vendor: str, modalities: Sequence[str]
) -> Iterator[tuple[str, NetworkInput]]:
    """What a vendor's typical scanners make of a subject, by the key in a target."""
    maps = [modality for modality in modalities if modality in DIFFUSION_MAPS]
    for modality in modalities:
        if modality not in maps:
            scanner = typical_scanner(vendor, cast("Modality", modality), subject.seed)
            yield modality, whole_scan(subject, scanner, subject.seed)
    for b in TYPICAL_SHELLS_S_PER_MM2:
        if maps:
            yield from whole_maps(subject, vendor, b, maps)
        maps = [name for name in maps if name != map_key(name, b)]  # b0 once


def _keys(modalities: Sequence[str]) -> set[str]:
    """The keys that `_inputs` yields."""
    return {
        map_key(modality, b) if modality in DIFFUSION_MAPS else modality
        for modality in modalities
        for b in TYPICAL_SHELLS_S_PER_MM2
    }


def _write_profiles(
    people_file: Path,
    arrays: Path,
    name: str,
    encoder: tuple[Encoder, str],
    folder: Path,
    modalities: Sequence[str],
) -> None:
    torch.set_num_threads(1)
    (packed,) = read_people(people_file, (name,))
    (subject,) = template_subjects(people_file, arrays, (name,))
    profiles = {
        f"{vendor} {key}": measure_profile(network_input, encoder[0])
        for vendor in BUILTIN_VENDORS
        for key, network_input in _inputs(subject, vendor, modalities)
    }
    target = Target(name, encoder[1], profiles, provenance={SUBJECT_KEY: record_of(packed)})
    write_atomic(_profiles_path(folder, name), pack_target(target))
    LOGGER.info("Scanned %s by the typical scanners", name)


def _is_current(
    folder: Path, subject: PackedSubject, encoder_hash: str, modalities: Sequence[str]
) -> bool:
    """Whether a folder has the profiles of a subject as it is packed, of all keys."""
    try:
        target = read_target(_profiles_path(folder, subject.name))
    except BadData:
        return False
    keys = {f"{vendor} {key}" for vendor in BUILTIN_VENDORS for key in _keys(modalities)}
    has_regions = all(len(profile.regions) for profile in target.profiles.values())
    made_of = (target.encoder_hash, target.provenance.get(SUBJECT_KEY))
    is_same = made_of == (encoder_hash, record_of(subject))
    return has_regions and is_same and keys == set(target.profiles)


def _profiles_path(folder: Path, name: str) -> Path:
    return folder / f"{name}.safetensors"
