"""What the encoder's statistics tell apart on simulated traveling people: scanners, or people."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import numpy as np
from attrs import frozen

from bids_ihf.lab.benchmarks.metrics.readout import scanner_and_person_readout, variance_shares
from bids_ihf.lab.benchmarks.virtual_subjects import load_body, scan_once, seed_of
from bids_ihf.targets.target import BUILTIN_VENDORS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from bids_ihf.lab.benchmarks.table import Row
    from bids_ihf.lab.benchmarks.virtual_subjects import Body
    from bids_ihf.lab.simulation.protocol import Modality
    from bids_ihf.lab.simulation.scanner import Scanner
    from bids_ihf.network.checkpoint import Harmonizer

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
    model: Harmonizer,
    modalities: Sequence[Modality] = ("T1w", "T2w"),
    body: Body | None = None,
) -> list[Embedded]:
    """The statistics of a person's scan by every scanner.

    Parameters
    ----------
    path
        Label map ``<name>_dseg.nii.gz`` of a person the encoder has never seen.
    seed
        Draws the scanners, the person's texture and the noise.
    body
        The person, where already loaded.
    """
    from bids_ihf.targets.network_input import measure_profile

    person = path.name.split("_")[0]
    body = body or load_body(path, person, seed)
    found = []
    for modality in modalities:
        for name, scanner in same_scanners(modality, seed).items():
            noise = seed_of(seed, person, modality, name, "read-out")
            profile = measure_profile(scan_once(body, scanner, noise), model.encoder)
            found.append(Embedded(person, name, modality, profile.embeddings))
    return found


def readout_rows(scans: Sequence[Embedded], *, seed: int = 0) -> list[Row]:
    """A row for each modality and what is told apart: scanner, or person.

    A scan's statistics are averaged over its slice positions.

    Raises
    ------
    ValueError
        Fewer than two people, or not all scanned by the same scanners.
    """
    rows: list[Row] = []
    for modality in dict.fromkeys(scan.modality for scan in scans):
        own = [scan for scan in scans if scan.modality == modality]
        statistics = np.stack([scan.embeddings.mean(axis=0) for scan in own])
        scanners = np.array([scan.scanner for scan in own])
        people = np.array([scan.person for scan in own])
        found = scanner_and_person_readout(statistics, scanners, people, seed=seed)
        shares = variance_shares(statistics, scanners, people)
        for told, result, share in (
            ("scanner", found.scanner, shares.scanner),
            ("person", found.person, shares.person),
        ):
            about: Row = {"modality": modality, "told_apart": told, "scans": len(own)}
            rows.append(about | attrs.asdict(result) | {"variance": share})
    return rows
