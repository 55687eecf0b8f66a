"""The methods that are compared: slices of a scan to slices in the target's units."""

from __future__ import annotations

import hashlib
import io
from typing import TYPE_CHECKING

import numpy as np
from attrs import frozen

from bids_ihf.anat.intensity_matching import match_intensities
from bids_ihf.io.atomic import write_atomic
from bids_ihf.lab.benchmarks.travellers.alignment import estimate_warp
from bids_ihf.lab.benchmarks.travellers.paired_regression import predict_from_pairs
from bids_ihf.lab.benchmarks.vendors.methods import (
    CURVE_AND_FIELD,
    CURVE_ONLY,
    HISTOGRAM_MATCHING,
    IHF_HARMONY,
    NO_HARMONIZATION,
    TRUE_SCAN_MATCHING,
    compose_slices,
    compose_without_network,
)
from bids_ihf.lab.comparators import histogram_matching
from bids_ihf.lab.comparators.interface import MaskedImage
from bids_ihf.lab.comparators.learned.scan import TargetScan, can_translate, translate_scan
from bids_ihf.targets.profile import merge_profiles
from bids_ihf.targets.source_profile import SourceProfile

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from bids_ihf.lab.benchmarks.travellers.scans import Travel
    from bids_ihf.lab.comparators.learned.weights import LoadedComparator
    from bids_ihf.network.checkpoint import ModelBundle
    from bids_ihf.targets.profile import Profile

    Images = dict[str, NDArray[np.float32]]

KNOWN_SUFFIX = ", source scanner known"
"""Ends the names of methods that are given a profile of the source's scanner."""

POLYNOMIAL, BOOSTING = "polynomial, others' pairs", "gradient boosting, others' pairs"

METHOD_LEVELS = {
    NO_HARMONIZATION: "The source scan as it is, in its own range",
    HISTOGRAM_MATCHING: "Histogram matching (scikit-image) to the other subjects' scans by the "
    "target's scanner",
    CURVE_ONLY: "The intensity curve to the profile of the same scans, without the network",
    CURVE_ONLY + KNOWN_SUFFIX: "The same, with the profile of the other subjects' scans by the "
    "source's scanner",
    CURVE_AND_FIELD: "The curve and the smooth field of regional intensities, without the network",
    CURVE_AND_FIELD + KNOWN_SUFFIX: "The same, with the profile of the source's scanner",
    IHF_HARMONY: "The whole method, with the profile of the other subjects' scans as target",
    IHF_HARMONY + KNOWN_SUFFIX: "The same, with their profile by the source's scanner",
    TRUE_SCAN_MATCHING: "Histogram matching to the true scan itself: a bound of unpaired curves",
    POLYNOMIAL: "Polynomial of intensities, fitted to the other subjects' pairs: a bound",
    BOOSTING: "Gradient boosting of intensity, its surroundings and position, trained on the "
    "other subjects' pairs: a bound",
}
"""Every method that is compared, by the name in the tables."""


@frozen(eq=False)
class Bounds:
    """What depends on the scans alone, and takes longest.

    ``warp`` (2, X, Y, S) aligns the source with the truth; ``polynomial`` and ``boosting``
    (X, Y, S) are the regressions of the other subjects' pairs.
    """

    warp: NDArray[np.float32]
    polynomial: NDArray[np.float32]
    boosting: NDArray[np.float32]


def bounds_of(travel: Travel, file: Path) -> Bounds:
    """The bounds of a travel, computed once and then read from a file."""
    source, truth, slices = travel.source.on_grid, travel.truth.on_grid, travel.slices
    pairs = [(before.on_grid, after.on_grid) for before, after in travel.pairs]
    digest = hashlib.sha256(slices.tobytes())
    for scan in (source, truth, *(scan for pair in pairs for scan in pair)):
        digest.update(scan.data.tobytes())
    if file.is_file():
        stored = np.load(file)
        if str(stored["digest"]) == digest.hexdigest():
            return Bounds(stored["warp"], stored["polynomial"], stored["boosting"])
    warp = estimate_warp(source.data[:, :, slices], truth.data[:, :, slices])
    bounds = Bounds(warp, *predict_from_pairs(source, slices, pairs))
    content = io.BytesIO()
    np.savez_compressed(
        content, digest=digest.hexdigest(), warp=bounds.warp,
        polynomial=bounds.polynomial, boosting=bounds.boosting,
    )  # fmt: skip
    write_atomic(file, content.getvalue())
    return bounds


def harmonize_travel(
    travel: Travel,
    bounds: Bounds,
    models: Mapping[str, ModelBundle],
    comparators: Mapping[str, Sequence[LoadedComparator]],
) -> Images:
    """The source's slices (X, Y, S) by every method, and by every network.

    Of the comparators only those that copy a reference scan know scanners beside their sites.

    Raises
    ------
    ValueError
        The brain is of one intensity.
    """
    images = match_histograms(travel)
    target = merge_profiles([scan.profile for scan in travel.others])
    known = merge_profiles([before.profile for before, _ in travel.pairs])
    images |= run_product(travel, target, None, models)
    source = SourceProfile(known, known.scan_count)
    for name, image in run_product(travel, target, source, models).items():
        images[name + KNOWN_SUFFIX] = image
    images |= copy_references(travel, target, comparators)
    return images | {POLYNOMIAL: bounds.polynomial, BOOSTING: bounds.boosting}


def copy_references(
    travel: Travel, target: Profile, comparators: Mapping[str, Sequence[LoadedComparator]]
) -> Images:
    """The source's slices by the comparators that copy a reference, the first other subject's
    scan by the target's scanner."""
    slices, source, other = travel.slices, travel.source.on_grid, travel.others[0].on_grid
    reference = TargetScan(None, target.scale, other.data[:, :, slices], other.brain[:, :, slices])
    return {
        name: translate_scan(loaded.model, source, slices, reference)
        for name, files in comparators.items()
        for loaded in files
        if can_translate(loaded.model, source.modality, None, None)
    }


def match_histograms(travel: Travel) -> Images:
    """The source's slices as they are, and matched to the others and to the truth, inside the
    brain that source and truth have in common."""
    source, truth, slices = travel.source.on_grid, travel.truth.on_grid, travel.slices
    data, brain = source.data[:, :, slices], source.brain[:, :, slices]
    brain = brain & truth.brain[:, :, slices]
    image = MaskedImage(data, brain)
    others = [
        MaskedImage(scan.on_grid.data[:, :, slices], scan.on_grid.brain[:, :, slices])
        for scan in travel.others
    ]
    return {
        NO_HARMONIZATION: data,
        HISTOGRAM_MATCHING: histogram_matching.harmonize(image, others),
        TRUE_SCAN_MATCHING: histogram_matching.harmonize(
            image, [MaskedImage(truth.data[:, :, slices], brain)]
        ),
    }


def run_product(
    travel: Travel,
    target: Profile,
    source: SourceProfile[Profile] | None,
    models: Mapping[str, ModelBundle],
) -> Images:
    """The source's slices by the curve, and by curve and network, as the product harmonizes."""
    slices, on_grid = travel.slices, travel.source.on_grid
    matched = match_intensities(on_grid, target, next(iter(models.values())), source)
    curve = matched.curve(on_grid.scale.normalize(on_grid.data[:, :, slices]))
    images = {CURVE_ONLY: target.scale.restore(curve)}
    images[CURVE_AND_FIELD] = compose_without_network(matched, slices)
    return images | {
        name: compose_slices(matched, model, slices) for name, model in models.items()
    }
