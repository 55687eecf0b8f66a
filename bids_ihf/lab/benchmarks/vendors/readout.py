"""What the encoder's statistics tell apart on simulated traveling people: scanners, or people."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import numpy as np
from attrs import frozen

from bids_ihf.lab.benchmarks.metrics.variance import variance_fractions
from bids_ihf.lab.benchmarks.virtual_subjects import load_test_subject, seed_of
from bids_ihf.lab.simulation.virtual_subject import scan_subject
from bids_ihf.qc.readout import read_out
from bids_ihf.targets.target import BUILTIN_VENDORS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from bids_ihf.lab.benchmarks.table import Row
    from bids_ihf.lab.simulation.protocol import Modality
    from bids_ihf.lab.simulation.scanner import Scanner
    from bids_ihf.lab.simulation.virtual_subject import RegisteredSubject
    from bids_ihf.network.checkpoint import ModelBundle

OTHERS = 5
"""Scanners far from any vendor's, the same for all people."""


@frozen(eq=False)
class Embedded:
    """A scan: who, by which scanner, and the encoder's statistics (P, E) by slice position."""

    person: str
    scanner: str
    modality: str
    embeddings: NDArray[np.float32]


def same_scanners(modality: Modality, seed: int) -> dict[str, Scanner]:
    """One scanner of each vendor and OTHERS, which all people visit."""
    from bids_ihf.lab.simulation.scanner import random_scanner, vendor_scanner

    own = seed_of(seed, "read-out")
    found = {vendor: vendor_scanner(vendor, modality, own) for vendor in BUILTIN_VENDORS}
    found |= {f"other {k + 1}": random_scanner(modality, own + k) for k in range(OTHERS)}
    return found


def embed_person(
    path: Path,
    *,
    seed: int,
    model: ModelBundle,
    modalities: Sequence[Modality] = ("T1w", "T2w"),
    subject: RegisteredSubject | None = None,
) -> list[Embedded]:
    """The statistics of a person's scan by every scanner.

    Parameters
    ----------
    path
        Label map ``<name>_dseg.nii.gz`` of a person the encoder has never seen.
    seed
        Draws the scanners, the person's texture and the noise.
    subject
        The virtual subject, if already loaded.
    """
    from bids_ihf.targets.network_input import measure_profile

    person = path.name.split("_")[0]
    subject = subject or load_test_subject(path, person, seed)
    found = []
    for modality in modalities:
        for name, scanner in same_scanners(modality, seed).items():
            noise = seed_of(seed, person, modality, name, "read-out")
            profile = measure_profile(scan_subject(subject, scanner, noise), model.encoder)
            found.append(Embedded(person, name, modality, profile.embeddings))
    return found


def readout_rows(scans: Sequence[Embedded]) -> list[Row]:
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
        statistics = np.stack([scan.embeddings.mean(axis=0) for scan in selected])
        scanners = np.array([scan.scanner for scan in selected])
        subjects = np.array([scan.person for scan in selected])
        variance = variance_fractions(statistics, scanners, subjects)
        for factor, result, fraction in (
            ("scanner", read_out(statistics, scanners, subjects), variance.scanner),
            ("person", read_out(statistics, subjects, scanners), variance.subject),
        ):
            row: Row = {"modality": modality, "told_apart": factor, "scans": len(selected)}
            rows.append(row | attrs.asdict(result) | {"variance": fraction})
    return rows
