"""The methods of the vendor benchmark: slices of a scan to slices in the target's units."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import numpy as np

from bids_ihf.anat.harmonize import apply_network
from bids_ihf.anat.intensity_matching import match_intensities
from bids_ihf.lab.benchmarks.virtual_subjects import measured_slices, resample_to
from bids_ihf.lab.comparators import histogram_matching, nyul, spectrum_swapping, z_score
from bids_ihf.lab.comparators.interface import MaskedImage
from bids_ihf.lab.comparators.learned.scan import TargetScan, can_translate, translate_scan
from bids_ihf.targets.network_pass import feather
from bids_ihf.targets.source_profile import SourceProfile

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from bids_ihf.anat.intensity_matching import IntensityMatched
    from bids_ihf.lab.benchmarks.vendors.reference_scans import PooledReference
    from bids_ihf.lab.benchmarks.virtual_subjects import Slices
    from bids_ihf.lab.comparators.learned.weights import LoadedComparator
    from bids_ihf.network.checkpoint import ModelBundle
    from bids_ihf.targets.network_input import NetworkInput
    from bids_ihf.targets.profile import Profile
    from bids_ihf.targets.source_profile import SourceProfile

    Images = dict[str, NDArray[np.float32]]

NO_HARMONIZATION = "none"
HISTOGRAM_MATCHING = "histogram matching"
NYUL_MATCHING = "Nyul"
Z_SCORE = "z-score"
SPECTRUM_SWAPPING = "SSIMH"
CURVE_ONLY = "intensity curve alone"
CURVE_AND_FIELD = "intensity curve and field"
IHF_HARMONY = "IHF-Harmony"
VENDOR_UNKNOWN_SUFFIX = ", vendor unknown"
IHF_VENDOR_UNKNOWN = IHF_HARMONY + VENDOR_UNKNOWN_SUFFIX
TRUE_SCAN_MATCHING = "histogram matching, true scan"
REPEAT_SCAN = "repeat scan"

METHOD_DESCRIPTIONS = {
    NO_HARMONIZATION: "The source scan as it is",
    HISTOGRAM_MATCHING: "Histogram matching (scikit-image) to scans of other subjects by the "
    "target's vendor",
    NYUL_MATCHING: "Piecewise linear histogram matching (intensity-normalization) to the same "
    "scans",
    Z_SCORE: "Mean and standard deviation of the same scans",
    SPECTRUM_SWAPPING: "Spectrum swapping (Guan et al. 2022) with one of the same scans",
    CURVE_ONLY: "The intensity curve through tissue landmarks that precedes the network, without "
    "the network",
    CURVE_AND_FIELD: "The intensity curve and the smooth field of regional intensities, without "
    "the network",
    IHF_HARMONY: "The whole method with the network and vendor targets under test",
    IHF_VENDOR_UNKNOWN: "The same where the vendor of the source scan is unknown",
    TRUE_SCAN_MATCHING: "Histogram matching to the true scan itself: a bound, not a method",
    REPEAT_SCAN: "A second scan by the target's scanner with new noise: the ceiling",
}
"""Every method that the benchmark compares, by the name in its tables."""


def baseline_names() -> tuple[str, ...]:
    """The comparators that can be run; Nyul's method needs an extra package."""
    nyul_names = (NYUL_MATCHING,) if nyul.is_available() else ()
    return (HISTOGRAM_MATCHING, *nyul_names, Z_SCORE, SPECTRUM_SWAPPING)


def run_baseline(name: str, source: Slices, reference: PooledReference) -> NDArray[np.float32]:
    """The slices by one of the comparators.

    Raises
    ------
    UsageError
        The package behind the method is not installed.
    """
    image = MaskedImage(source.data, source.mask)
    if name == SPECTRUM_SWAPPING:
        donor = MaskedImage(resample_to(reference.slices, source))
        return spectrum_swapping.harmonize(image, [donor], reference_range=reference.high)
    comparators = {
        HISTOGRAM_MATCHING: histogram_matching.harmonize,
        NYUL_MATCHING: nyul.harmonize,
        Z_SCORE: z_score.harmonize,
    }
    return comparators[name](image, [MaskedImage(voxels) for voxels in reference.voxels])


def match_true_scan(source: Slices, truth: Slices) -> NDArray[np.float32]:
    """Histogram matching to the true scan."""
    return histogram_matching.harmonize(
        MaskedImage(source.data, source.mask), [MaskedImage(truth.data, truth.mask)]
    )


def run_networks(
    on_grid: NetworkInput,
    profile: Profile,
    models: Mapping[str, ModelBundle],
    manufacturer: Profile | None = None,
) -> Images:
    """The measured slices as the product harmonizes them, by network, and by the curve alone.

    Parameters
    ----------
    on_grid
        The scan.
    profile
        The target.
    models
        Networks by name, which share one encoder.
    manufacturer
        Profile of the vendor that made the scan, unless it is unknown; the networks are also
        measured without it.

    Raises
    ------
    ValueError
        The brain is of one intensity.
    """
    slices = measured_slices(on_grid)
    if manufacturer is None:
        return network_steps(on_grid, slices, profile, models)
    images = network_steps(on_grid, slices, profile, models, SourceProfile(manufacturer))
    unknown = network_steps(on_grid, slices, profile, models)
    images |= {f"{name}{VENDOR_UNKNOWN_SUFFIX}": unknown[name] for name in models}
    return images


def network_steps(
    on_grid: NetworkInput,
    slices: NDArray[np.intp],
    profile: Profile,
    models: Mapping[str, ModelBundle],
    source: SourceProfile[Profile] | None = None,
) -> Images:
    """Axial slices (X, Y, S) by the curve alone, by curve and field, and by each network."""
    matched = match_intensities(on_grid, profile, next(iter(models.values())), source)
    curve = matched.curve(on_grid.scale.normalize(on_grid.data[:, :, slices]))
    images = {CURVE_ONLY: profile.scale.restore(curve)}
    images[CURVE_AND_FIELD] = compose_without_network(matched, slices)
    for name, model in models.items():
        images[name] = compose_slices(matched, model, slices)
    return images


def run_comparators(
    on_grid: NetworkInput,
    slices: NDArray[np.intp],
    target: TargetScan,
    comparators: Mapping[str, Sequence[LoadedComparator]],
    source: str | None = None,
) -> Images:
    """Axial slices (X, Y, S) by every comparator that translates from a source to the target.

    ``source`` is the vendor that made the scan, None if it is none of the sites.
    """
    return {
        name: translate_scan(loaded.model, on_grid, slices, target, source)
        for name, files in comparators.items()
        for loaded in files
        if can_translate(loaded.model, on_grid.modality, source, target.vendor)
    }


def target_scan(vendor: str, reference: Slices, profile: Profile, frame: Slices) -> TargetScan:
    """A reference scan by a vendor in the frame of the slices of another subject."""
    mask = attrs.evolve(reference, data=reference.mask.astype(np.float32))
    return TargetScan(
        vendor, profile.scale, resample_to(reference, frame), resample_to(mask, frame) > 0.5
    )


def compose_slices(
    matched: IntensityMatched, model: ModelBundle, slices: NDArray[np.intp]
) -> NDArray[np.float32]:
    """Axial slices (X, Y, S) as the product composes them, but on the network's grid.

    The curve, not clipped, plus the feathered change by network and field, in the target's units;
    see :func:`bids_ihf.anat.harmonize.harmonize`.
    """
    return _compose(matched, apply_network(matched, model, slices=slices), slices)


def compose_without_network(
    matched: IntensityMatched, slices: NDArray[np.intp]
) -> NDArray[np.float32]:
    """The same without the network."""
    return _compose(matched, matched.data, slices)


def _compose(
    matched: IntensityMatched, result: NDArray[np.float32], slices: NDArray[np.intp]
) -> NDArray[np.float32]:
    on_grid = matched.network_input
    curve = matched.curve(on_grid.scale.normalize(on_grid.data[:, :, slices]))
    change = (matched.with_field(result) - matched.data)[:, :, slices]
    change *= feather(on_grid.mask)[:, :, slices]
    image = matched.target.scale.restore(curve + change)
    image[(image < 0) & (on_grid.data[:, :, slices] >= 0)] = 0
    return image
