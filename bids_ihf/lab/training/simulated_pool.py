"""A pool of simulated traveling people: every person scanned by every scanner."""

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
from bids_ihf.lab.simulation.reference_segmentation import reference_brain_mask
from bids_ihf.lab.simulation.scanner import random_scanner, vendor_scanner
from bids_ihf.lab.simulation.signal_equations import brain_contrast
from bids_ihf.lab.simulation.virtual_subject import VirtualSubject, register, scan_subject
from bids_ihf.lab.simulation.white_matter_lesions import with_lesions
from bids_ihf.lab.training.scan_pool import ScanPool, add_scan, fit_slices, read_index, write_index
from bids_ihf.targets.network_input import to_network_input
from bids_ihf.targets.target import BUILTIN_VENDORS

if TYPE_CHECKING:
    from pathlib import Path

    from bids_ihf.lab.simulation.protocol import Modality
    from bids_ihf.lab.simulation.scanner import Scanner
    from bids_ihf.lab.simulation.virtual_subject import RegisteredSubject
    from bids_ihf.lab.training.scan_pool import PoolScan
    from bids_ihf.lab.training.training_config import TrainConfig

LOGGER = logging.getLogger(__name__)

RANDOM_VENDOR = "random"
"""Vendor of the scanners that are nobody's."""

SCANNER_STRIDE = 7
"""By how many random scanners the rounds of two people are apart."""

N4_VOXEL_MM = 8
"""Voxel size of the grid of N4, mm: a fifth of the time of 4 mm, and a field within 2 %."""


def subject_scanners(
    config: TrainConfig, modality: Modality, person: int
) -> dict[str, tuple[str, Scanner]]:
    """Site name to (vendor, scanner) of what scans a person: all the vendors' scanners, with small
    changes from scan to scan, and ``random_per_person`` of the random ones, in turn."""
    found = {}
    for vendor in BUILTIN_VENDORS:
        for number in range(config.data.vendor_scanners):
            # Other changes for everybody, so that a vendor's average is that of its scans.
            seed = config.seed * 1000 + person * config.data.vendor_scanners + number
            found[f"{vendor.lower()}{number}"] = (vendor, vendor_scanner(vendor, modality, seed))
    total = config.data.random_scanners
    for visit in range(min(config.data.random_per_person, total)):
        number = (person * SCANNER_STRIDE + visit) % total
        seed = config.seed * 1000 + 100 + number
        found[f"random{number}"] = (RANDOM_VENDOR, random_scanner(modality, seed))
    return found


def scanner_appearance(scanner: Scanner) -> tuple[float, ...]:
    """What the encoder learns to recover: tissue contrast to white matter, noise and blur."""
    contrast = brain_contrast(scanner.protocol)
    blur = float(np.mean(scanner.psf))
    values = [contrast["grey"], contrast["deep_grey"], contrast["csf"], scanner.noise, blur]
    return tuple(float(v) for v in np.log(np.maximum(values, 1e-3)))


def pool_record(config: TrainConfig, people: list[str]) -> dict[str, Any]:
    """What a pool was made from; another record means another pool."""
    plain = attrs.asdict(config.data)
    plain |= {"source": config.data.source.name, "people": people, "seed": config.seed}
    plain.pop("pool")
    plain["modalities"] = list(plain["modalities"])
    return plain


def find_label_maps(config: TrainConfig) -> list[Path]:
    """The label maps of the configured people (all in the folder where none is named)."""
    found = sorted(config.data.source.glob("*_dseg.nii.gz"))
    if config.data.people:
        found = [path for path in found if path.name.split("_")[0] in config.data.people]
    if len(found) < 2:
        raise BadData(
            f"{config.data.source}: holds {len(found)} of the label maps (*_dseg.nii.gz) asked "
            "for; training needs two people at least."
        )
    return found


def simulate_pool(config: TrainConfig) -> ScanPool:
    """The pool of a configuration: read where it is there already, else simulated."""
    maps = find_label_maps(config)
    people = [path.name.split("_")[0] for path in maps]
    folder, record = config.data.pool, pool_record(config, people)
    pool = read_index(folder, record)
    if pool is not None:
        LOGGER.info("Using the %d scans in %s", len(pool.scans), folder)
        return pool
    folder.mkdir(parents=True, exist_ok=True)
    scans: list[PoolScan] = []
    with ProcessPoolExecutor(config.threads, mp_context=get_context("spawn")) as workers:
        work = workers.map(_scan_subject, repeat(config), maps, people, count())
        for person, found in zip(people, work, strict=True):
            scans += found
            LOGGER.info("Simulated %s (%d people in all)", person, len(people))
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
                    person=name,
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
