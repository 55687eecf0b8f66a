"""Linear read-out of the encoder's statistics: do they tell scanners apart, or subjects?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import numpy as np
from attrs import frozen

from bids_ihf.lab.benchmarks.metrics.variance import variance_fractions
from bids_ihf.lab.benchmarks.virtual_subjects import seed_of
from bids_ihf.lab.simulation.random_scanners import random_scanner
from bids_ihf.lab.simulation.vendor_scanners import typical_scanner
from bids_ihf.lab.simulation.virtual_subject import scan_subject
from bids_ihf.qc.readout import read_out
from bids_ihf.targets.network_input import measure_profile
from bids_ihf.targets.target import BUILTIN_VENDORS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from bids_ihf.bids.names import Modality
    from bids_ihf.lab.benchmarks.tables import Row
    from bids_ihf.lab.simulation.scanner import Scanner
    from bids_ihf.lab.simulation.virtual_subject import RegisteredSubject
    from bids_ihf.network.checkpoint import ModelBundle

OFF_RANGE_SCANNER_COUNT = 5
"""Scanners far from any vendor's, the same for all subjects."""


@frozen(eq=False)
class Embedding:
    """The encoder's statistics (P, E) of a scan by slice position."""

    subject: str
    scanner: str
    modality: str
    statistics: NDArray[np.float32]


def shared_scanners(modality: Modality, seed: int) -> dict[str, Scanner]:
    """A scanner of each vendor and OFF_RANGE_SCANNER_COUNT others, which scan all subjects."""
    first = seed_of(seed, "read-out")
    scanners = {vendor: typical_scanner(vendor, modality, first) for vendor in BUILTIN_VENDORS}
    for number in range(OFF_RANGE_SCANNER_COUNT):
        scanners[f"other {number + 1}"] = random_scanner(modality, first + number)
    return scanners


def embed_subject(
    subject: RegisteredSubject, model: ModelBundle, modalities: Sequence[Modality], seed: int
) -> list[Embedding]:
    """The statistics of a subject's scan by every scanner; ``seed`` draws scanners and noise."""
    embeddings = []
    for modality in modalities:
        for name, scanner in shared_scanners(modality, seed).items():
            noise_seed = seed_of(seed, subject.name, modality, name, "read-out")
            profile = measure_profile(scan_subject(subject, scanner, noise_seed), model.encoder)
            embeddings.append(Embedding(subject.name, name, modality, profile.embeddings))
    return embeddings


def readout_rows(scans: Sequence[Embedding]) -> list[Row]:
    """A row for each modality and factor, scanner or subject, that the statistics may tell.

    A scan's statistics are averaged over its slice positions.  The scanner is read out on
    subjects left out, the subject on scanners left out.

    Raises
    ------
    ValueError
        Fewer than two subjects, or not all scanned by the same scanners.
    """
    rows: list[Row] = []
    for modality in dict.fromkeys(scan.modality for scan in scans):
        selected = [scan for scan in scans if scan.modality == modality]
        statistics = np.stack([scan.statistics.mean(axis=0) for scan in selected])
        scanners = np.array([scan.scanner for scan in selected])
        subjects = np.array([scan.subject for scan in selected])
        variance = variance_fractions(statistics, scanners, subjects)
        for factor, result, fraction in (
            ("scanner", read_out(statistics, scanners, subjects), variance.scanner),
            ("person", read_out(statistics, subjects, scanners), variance.subject),
        ):
            row: Row = {"modality": modality, "told_apart": factor, "scans": len(selected)}
            rows.append(row | attrs.asdict(result) | {"variance": fraction})
    return rows
