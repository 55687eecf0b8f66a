"""A pool of whole simulated scans of the training subjects, of which the reference ranges of the
reports are measured (``ihf benchmark --ranges``).

Usage: python -m bids_ihf.lab.training.reference_pool CONFIG.toml POOL_DIR
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from bids_ihf.lab.simulation.random_protocols import RANDOM_VENDOR
from bids_ihf.lab.simulation.random_scanners import random_scanner
from bids_ihf.lab.simulation.vendor_scanners import vendor_scanner
from bids_ihf.lab.training.scan_pool import add_scan, read_index, write_index
from bids_ihf.lab.training.template_subjects import template_subjects
from bids_ihf.lab.training.training_config import read_config
from bids_ihf.lab.training.whole_scans import whole_scan
from bids_ihf.targets.target import BUILTIN_VENDORS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bids_ihf.bids.names import Modality
    from bids_ihf.lab.simulation.scanner import Scanner
    from bids_ihf.lab.training.scan_pool import PoolScan, ScanPool
    from bids_ihf.lab.training.template_subjects import TemplateSubject

SCANNERS_PER_VENDOR, RANDOM_SCANNERS = 2, 10
"""Scanners that scan a subject in each modality: of each vendor, and random ones."""


def reference_pool(
    subjects: Sequence[TemplateSubject], modalities: Sequence[Modality], folder: Path, *, seed: int
) -> ScanPool:
    """Scan every subject by scanners of its own, unless the folder holds the scans already.

    Takes about 2 s a scan.
    """
    record: dict[str, Any] = {
        "people": [subject.name for subject in subjects],
        "modalities": list(modalities),
        "scanners": [SCANNERS_PER_VENDOR, RANDOM_SCANNERS],
        "seed": seed,
    }
    pool = read_index(folder, record)
    if pool is not None:
        return pool
    folder.mkdir(parents=True, exist_ok=True)
    scans: list[PoolScan] = []
    for subject in subjects:
        for modality in modalities:
            rng = np.random.default_rng([seed, subject.seed, *modality.encode()])
            for site, vendor, scanner in _scanners(modality, rng):
                try:
                    on_grid = whole_scan(subject, scanner, int(rng.integers(2**31)))
                except ValueError:  # a scanner whose images show nothing
                    continue
                labels = {"subject": subject.name, "site": site, "vendor": vendor}
                scans.append(add_scan(folder, on_grid, modality=modality, **labels))
    return write_index(folder, scans, record)


def _scanners(modality: Modality, rng: np.random.Generator) -> Iterator[tuple[str, str, Scanner]]:
    """Site, vendor and scanner of the scans of one subject."""
    for vendor in BUILTIN_VENDORS:
        for number in range(SCANNERS_PER_VENDOR):
            scanner = vendor_scanner(vendor, modality, int(rng.integers(2**31)))
            yield f"{vendor.lower()}{number}", vendor, scanner
    for number in range(RANDOM_SCANNERS):
        scanner = random_scanner(modality, int(rng.integers(2**31)))
        yield f"random{number}", RANDOM_VENDOR, scanner


def main() -> None:
    """Scan the training subjects of a configuration."""
    parser = argparse.ArgumentParser(
        prog="python -m bids_ihf.lab.training.reference_pool",
        description=(__doc__ or "").splitlines()[0],
    )
    parser.add_argument("config", type=Path, metavar="CONFIG.toml", help="as of ihf train")
    parser.add_argument("folder", type=Path, metavar="POOL_DIR", help="for --ranges")
    arguments = parser.parse_args()
    config = read_config(arguments.config)
    torch.set_num_threads(1)
    data = config.data
    subjects = template_subjects(
        data.people_file, data.pool, data.people, processes=config.threads
    )
    reference_pool(subjects, data.anatomical, arguments.folder, seed=config.seed)


if __name__ == "__main__":
    main()
