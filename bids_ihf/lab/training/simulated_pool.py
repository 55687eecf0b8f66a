"""A pool of simulated traveling subjects: each subject scanned by many scanners."""

from __future__ import annotations

import logging
from concurrent.futures import ProcessPoolExecutor
from itertools import count, repeat
from multiprocessing import get_context
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np
import torch

from bids_ihf.errors import BadData
from bids_ihf.lab.simulation.anatomy import crop_to_brain
from bids_ihf.lab.simulation.label_anatomy import from_labels
from bids_ihf.lab.simulation.random_protocols import RANDOM_VENDOR
from bids_ihf.lab.simulation.random_scanners import random_scanner
from bids_ihf.lab.simulation.reference_segmentation import reference_brain_mask
from bids_ihf.lab.simulation.signal_equations import brain_contrast
from bids_ihf.lab.simulation.vendor_scanners import typical_scanner
from bids_ihf.lab.simulation.virtual_subject import VirtualSubject, register, scan_subject
from bids_ihf.lab.simulation.white_matter_lesions import with_lesions
from bids_ihf.lab.training.scan_pool import ScanPool, add_scan, fit_slices, read_index, write_index
from bids_ihf.targets.network_input import to_network_input
from bids_ihf.targets.target import BUILTIN_VENDORS

if TYPE_CHECKING:
    from pathlib import Path

    from bids_ihf.bids.names import Modality
    from bids_ihf.lab.simulation.scanner import Scanner
    from bids_ihf.lab.simulation.virtual_subject import RegisteredSubject
    from bids_ihf.lab.training.scan_pool import PoolScan
    from bids_ihf.lab.training.training_config import TrainConfig

LOGGER = logging.getLogger(__name__)


SCANNER_STRIDE = 7
"""Offset between the random scanners of one subject and of the next."""

N4_VOXEL_MM = 8
"""Voxel size of the grid of N4, mm: a fifth of the time of 4 mm, and a field within 2 %."""


def subject_scanners(
    config: TrainConfig, modality: Modality, subject_number: int
) -> dict[str, tuple[str, Scanner]]:
    """Vendor and scanner by site name, for all scans of a subject.

    All scanners of the vendors, with small changes from scan to scan, and ``random_per_person`` of
    the random ones, in turn.
    """
    scanners = {}
    for vendor in BUILTIN_VENDORS:
        for number in range(config.data.vendor_scanners):
            # Varied between subjects, so that a vendor's mean is that of its scans.
            seed = config.seed * 1000 + subject_number * config.data.vendor_scanners + number
            scanner = typical_scanner(vendor, modality, seed)
            scanners[f"{vendor.lower()}{number}"] = vendor, scanner
    total = config.data.random_scanners
    for visit in range(min(config.data.random_per_person, total)):
        number = (subject_number * SCANNER_STRIDE + visit) % total
        scanner = random_scanner(modality, config.seed * 1000 + 100 + number)
        scanners[f"random{number}"] = RANDOM_VENDOR, scanner
    return scanners


def scanner_appearance(scanner: Scanner) -> tuple[float, ...]:
    """What the encoder learns to estimate: logarithms of the contrast of grey matter, deep grey
    matter and CSF to white matter, of the noise and of the point spread (mm)."""
    contrast = brain_contrast(scanner.protocol)
    blur = float(np.mean(scanner.psf))
    values = [contrast["grey"], contrast["deep_grey"], contrast["csf"], scanner.noise, blur]
    return tuple(float(v) for v in np.log(np.maximum(values, 1e-3)))


def pool_record(config: TrainConfig, subjects: list[str]) -> dict[str, Any]:
    """Description of what a pool was made of; another record means another pool."""
    record = attrs.asdict(config.data)
    record |= {"source": config.data.source.name, "people": subjects, "seed": config.seed}
    record.pop("pool")
    record["modalities"] = list(record["modalities"])
    return record


def find_label_maps(config: TrainConfig) -> dict[str, Path]:
    """Label map by subject: those of the configuration, or all in the folder.

    Raises
    ------
    BadData
        There are fewer than two.
    """
    paths = sorted(config.data.source.glob("*_dseg.nii.gz"))
    maps = {path.name.split("_")[0]: path for path in paths}
    if config.data.people:
        maps = {name: path for name, path in maps.items() if name in config.data.people}
    if len(maps) < 2:
        raise BadData(
            f"{config.data.source}: holds {len(maps)} of the requested label maps "
            "(*_dseg.nii.gz); training needs at least two subjects."
        )
    return maps


def simulate_pool(config: TrainConfig) -> ScanPool:
    """The pool of a configuration: read if it exists, else simulated."""
    maps = find_label_maps(config)
    folder, record = config.data.pool, pool_record(config, list(maps))
    pool = read_index(folder, record)
    if pool is not None:
        LOGGER.info("Using the %d scans in %s", len(pool.scans), folder)
        return pool
    folder.mkdir(parents=True, exist_ok=True)
    scans: list[PoolScan] = []
    with ProcessPoolExecutor(config.threads, mp_context=get_context("spawn")) as workers:
        results = workers.map(_scan_subject, repeat(config), maps.values(), maps, count())
        for name, subject_scans in zip(maps, results, strict=True):
            scans += subject_scans
            LOGGER.info("Simulated %s (%d subjects in all)", name, len(maps))
    return write_index(folder, scans, record)


def load_training_subject(
    config: TrainConfig, path: Path, name: str, number: int
) -> RegisteredSubject:
    """The subject of a label map; every second one has lesions, so that these are taken for
    neither tissue nor artefact."""
    seed = config.seed * 100 + number
    anatomy = crop_to_brain(from_labels(path, seed=seed))
    if number % 2:
        anatomy, _ = with_lesions(anatomy, seed)
    # The margin of the mask differs between subjects, as it does between real masks.
    brain = reference_brain_mask(anatomy, csf_margin=1 + seed % 3)
    return register(VirtualSubject(name, anatomy, seed, brain), path)


def _scan_subject(config: TrainConfig, path: Path, name: str, number: int) -> list[PoolScan]:
    torch.set_num_threads(1)
    subject = load_training_subject(config, path, name, number)
    scans = []
    for modality in config.data.modalities:
        chosen = subject_scanners(config, modality, number)
        for visit, (site, (vendor, scanner)) in enumerate(chosen.items()):
            scans.append(
                add_scan(
                    config.data.pool,
                    scan_subject(
                        subject,
                        # Without distortion, so that the scans of a pair overlie.
                        attrs.evolve(scanner, distortion=0.0),
                        subject.seed * 1000 + visit,
                        n4_voxel_mm=N4_VOXEL_MM,
                    ),
                    subject=name,
                    site=site,
                    vendor=vendor,
                    modality=modality,
                    appearance=scanner_appearance(scanner),
                )
            )
    _save_tissue_fractions(config, subject)
    return scans


def _save_tissue_fractions(config: TrainConfig, subject: RegisteredSubject) -> None:
    """Grey matter (with deep grey matter), white matter and CSF on the grid of the network."""
    fractions = []
    for names in (("grey", "deep_grey"), ("white",), ("csf",)):
        on_grid = to_network_input(subject.prepared(subject.anatomy.fraction(*names)))
        fractions.append(fit_slices((np.clip(on_grid.data, 0, 1) * 255).astype(np.uint8), 0))
    np.save(config.data.pool / f"{subject.name}_tissue.npy", np.stack(fractions))
