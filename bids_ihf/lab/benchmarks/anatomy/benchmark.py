"""Anatomy preservation on simulated subjects with lesions, by every method, for every ordered pair
of vendors.

Masks and registration are the true ones; bias is corrected as in a real run, and the vendor of the
source scan is known.  Only some axial slices are harmonized, so edges and lesions are
measured within slices.
"""

from __future__ import annotations

import logging
from itertools import product
from typing import TYPE_CHECKING

import attrs
import numpy as np
from attrs import frozen

from bids_ihf.anat.intensity_matching import match_intensities
from bids_ihf.lab.benchmarks.anatomy.ground_truth import ground_truth
from bids_ihf.lab.benchmarks.anatomy.methods import harmonize_slices
from bids_ihf.lab.benchmarks.anatomy.preservation import anatomy_preservation, change_over_repeat
from bids_ihf.lab.benchmarks.metrics.edges import edge_shift
from bids_ihf.lab.benchmarks.metrics.lesions import lesion_retention
from bids_ihf.lab.benchmarks.metrics.tissues import Tissue
from bids_ihf.lab.benchmarks.vendors.methods import compose_slices
from bids_ihf.lab.benchmarks.virtual_subjects import seed_of, vendor_scanners
from bids_ihf.lab.simulation.virtual_subject import scan_subject
from bids_ihf.lab.simulation.white_matter_lesions import with_lesions
from bids_ihf.targets.network_input import measure_profile

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from bids_ihf.bids.names import Modality
    from bids_ihf.lab.benchmarks.anatomy.ground_truth import GroundTruth
    from bids_ihf.lab.benchmarks.anatomy.methods import TrainedMethods
    from bids_ihf.lab.benchmarks.metrics.edges import EdgeShift
    from bids_ihf.lab.benchmarks.tables import Row
    from bids_ihf.lab.benchmarks.vendors.cases import VendorKnowledge
    from bids_ihf.lab.simulation.virtual_subject import RegisteredSubject
    from bids_ihf.network.checkpoint import ModelBundle
    from bids_ihf.network.encoder import Encoder
    from bids_ihf.targets.network_input import NetworkInput
    from bids_ihf.targets.profile import Profile

LOGGER = logging.getLogger(__name__)


@frozen(eq=False)
class TestRetest:
    """Two scans of a subject by one scanner.

    Attributes
    ----------
    on_grid
        The first scan.
    first, repeat
        Measured slices (X, Y, S) of both, in their own units.
    repeat_profile
        Profile of the second scan.
    edges
        How far edges seem to move between the two.
    """

    __test__ = False  # no test class of pytest

    on_grid: NetworkInput
    first: NDArray[np.float32]
    repeat: NDArray[np.float32]
    repeat_profile: Profile
    edges: EdgeShift


def evaluate_anatomy(
    subject: RegisteredSubject,
    vendors: Mapping[Modality, Mapping[str, VendorKnowledge]],
    trained: TrainedMethods,
    seed: int,
) -> list[Row]:
    """A row for every modality, ordered pair of vendors, pairs of equal vendors included, and
    method.

    Parameters
    ----------
    subject
        A subject the methods were not trained on; lesions are added.
    vendors
        What the methods know of them, by modality and vendor.
    seed
        Of lesions, scanners and noise.
    """
    anatomy, lesion = with_lesions(subject.anatomy, seed_of(seed, subject.name, "lesions"))
    subject = attrs.evolve(subject, anatomy=anatomy)
    truth = ground_truth(subject, lesion)
    encoder = next(iter(trained.networks.values())).encoder
    rows: list[Row] = []
    for modality, known in vendors.items():
        scans = scan_and_rescan(subject, list(known), modality, seed, truth, encoder)
        for source, target in product(known, known):
            labels: Row = {"subject": subject.name, "modality": modality}
            labels |= {"source": source, "target": target}
            limits = limits_of_pair(scans, source, target, truth)
            images = harmonize_slices(
                scans[source].on_grid, truth.slices, (source, target), known, trained
            )
            for method, image in images.items():
                repeat = scans[source].repeat if source == target else None
                row = limits | anatomy_preservation(
                    scans[source].first, image, truth.fractions, truth.mask, modality,
                    lesion=truth.lesion, repeat=repeat,
                ).row()  # fmt: skip
                if source == target and method in trained.networks:
                    row |= same_scanner_metrics(scans[source], trained.networks[method], truth)
                rows.append({**labels, "method": method, **row})
        LOGGER.info("Measured anatomy preservation in %s, %s", subject.name, modality)
    return rows


def scan_and_rescan(
    subject: RegisteredSubject,
    vendors: Sequence[str],
    modality: Modality,
    seed: int,
    truth: GroundTruth,
    encoder: Encoder,
) -> dict[str, TestRetest]:
    """Two scans by every vendor's scanner."""
    scanners = vendor_scanners(subject.name, modality, seed)
    scans = {}
    for vendor in vendors:
        noise_seed = seed_of(seed, subject.name, modality, vendor, "anatomy")
        on_grid, again = (
            scan_subject(subject, scanners[vendor], noise_seed + number) for number in (0, 1)
        )
        first, repeat = (scan.data[..., truth.slices] for scan in (on_grid, again))
        edges = edge_shift(first, repeat, truth.mask)
        repeat_profile = measure_profile(again, encoder)
        scans[vendor] = TestRetest(on_grid, first, repeat, repeat_profile, edges)
    return scans


def limits_of_pair(
    scans: Mapping[str, TestRetest], source: str, target: str, truth: GroundTruth
) -> Row:
    """The limits of any method: how far noise alone seems to move edges (``_repeat``), and the
    lesion contrast of the subject's own scan by the target scanner (``_target``)."""
    noise = attrs.asdict(scans[source].edges)
    row: Row = {f"edge_shift_{name}_repeat": value for name, value in noise.items()}
    if truth.lesion.any():
        retention = lesion_retention(
            scans[source].first,
            scans[source].repeat if source == target else scans[target].first,
            truth.lesion,
            truth.pure(Tissue.WHITE),
            truth.pure(Tissue.GREY),
        )
        row |= {
            "lesion_kept_target": retention.overall,
            "lesion_kept_least_target": retention.worst,
        }
    return row


def same_scanner_metrics(scans: TestRetest, model: ModelBundle, truth: GroundTruth) -> Row:
    """How much a scan changes that is harmonized to its own scanner, known from the repeat."""
    matched = match_intensities(scans.on_grid, scans.repeat_profile, model)
    harmonized = compose_slices(matched, model, truth.slices)
    ratio = change_over_repeat(harmonized, scans.first, scans.repeat, truth.mask)
    return {"own_scanner_change_over_repeat": ratio}
