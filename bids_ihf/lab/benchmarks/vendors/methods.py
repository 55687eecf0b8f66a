"""The methods of the benchmark by name: slices of a scan to slices in the target's units."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bids_ihf.lab.benchmarks.virtual_subjects import laid_over, measured_slices
from bids_ihf.lab.comparators.baselines import has_extra, histogram_matching, nyul, z_score
from bids_ihf.lab.comparators.spectrum import swap_spectrum

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from bids_ihf.anat.intensity_matching import IntensityMatched
    from bids_ihf.lab.benchmarks.vendors.references import Reference
    from bids_ihf.lab.benchmarks.virtual_subjects import Slices
    from bids_ihf.network.checkpoint import ModelBundle
    from bids_ihf.targets.network_input import NetworkInput
    from bids_ihf.targets.profile import Profile
    from bids_ihf.targets.source_profile import SourceProfile

    Images = dict[str, NDArray[np.float32]]

NONE = "none"
MATCHED = "histogram matching"
NYUL = "Nyul"
Z_SCORE = "z-score"
SWAPPED = "SSIMH"
CURVE = "intensity curve alone"
SHIPPED = "IHF-Harmony"
UNKNOWN = "IHF-Harmony, vendor unknown"
BOUND = "histogram matching, true scan"
REPEAT = "repeat scan"

DESCRIPTIONS = {
    NONE: "The source scan as it is",
    MATCHED: "Histogram matching (scikit-image) to other people's scans by the target's vendor",
    NYUL: "Piecewise linear histogram matching (intensity-normalization) to the same scans",
    Z_SCORE: "Mean and standard deviation of the same scans",
    SWAPPED: "Spectrum swapping (Guan et al. 2022) with one of the same scans",
    CURVE: "The curve through tissue landmarks that comes before the network, without the network",
    SHIPPED: "The whole method with the network and vendor targets under test",
    UNKNOWN: "The same where nothing tells which vendor's scanner made the scan",
    BOUND: "Histogram matching to the very scan that is the truth: a bound, not a method",
    REPEAT: "A second scan by the target's scanner with fresh noise: the ceiling",
}


def baseline_names() -> tuple[str, ...]:
    """The simple methods that can be used here; Nyul and z-score need a package of their own."""
    extra = (NYUL, Z_SCORE) if has_extra() else ()
    return (MATCHED, *extra, SWAPPED)


def run_baseline(name: str, source: Slices, reference: Reference) -> NDArray[np.float32]:
    """One of the simple methods; curves are found from the brain voxels of ``source``.

    Raises
    ------
    UsageError
        The package behind the method is not installed.
    """
    if name == SWAPPED:
        return _swapped(source, reference)
    if name == NYUL:
        all_brain = [np.ones(len(each), dtype=bool) for each in reference.voxels]
        return nyul(source.data, source.mask, reference.voxels, all_brain)
    pooled = reference.pooled
    curve = {MATCHED: histogram_matching, Z_SCORE: z_score}[name]
    return curve(source.data, source.mask, pooled, np.ones(len(pooled), dtype=bool))


def true_match(source: Slices, truth: Slices) -> NDArray[np.float32]:
    """Histogram matching to the scan that is the truth."""
    return histogram_matching(source.data, source.mask, truth.data, truth.mask)


def _swapped(source: Slices, reference: Reference) -> NDArray[np.float32]:
    """Spectra swapped with both scans divided by the 99.9th percentile of their brains."""
    ours = source.data / np.float32(np.percentile(source.data[source.mask], 99.9))
    high = np.float32(reference.high)
    return high * swap_spectrum(ours, laid_over(reference.slices, source) / high)


def run_networks(
    on_grid: NetworkInput,
    profile: Profile,
    models: Mapping[str, ModelBundle],
    maker: Profile | None = None,
) -> Images:
    """What the product makes of the measured slices, for each network, and the curve alone.

    ``maker`` is the profile of the vendor that made the scan, if one did; the shipped network is
    measured without that knowledge, too.  Networks share one encoder.

    Raises
    ------
    ValueError
        The brain is of one intensity.
    """
    from bids_ihf.targets.source_profile import SourceProfile

    if maker is None:
        return _run_networks(on_grid, profile, models, None)
    images = _run_networks(on_grid, profile, models, SourceProfile(maker))
    if SHIPPED in models:
        blind = _run_networks(on_grid, profile, {SHIPPED: models[SHIPPED]}, None)
        images[UNKNOWN] = blind[SHIPPED]
    return images


def _run_networks(
    on_grid: NetworkInput,
    profile: Profile,
    models: Mapping[str, ModelBundle],
    source: SourceProfile[Profile] | None,
) -> Images:
    from bids_ihf.anat.intensity_matching import match_intensities

    chosen = measured_slices(on_grid)
    matched = match_intensities(on_grid, profile, next(iter(models.values())), source)
    curve = matched.curve(on_grid.scale.normalize(on_grid.data[:, :, chosen]))
    images = {CURVE: profile.scale.restore(curve)}
    for name, model in models.items():
        images[name] = through_network(matched, model, chosen)
    return images


def through_network(
    matched: IntensityMatched, model: ModelBundle, slices: NDArray[np.intp]
) -> NDArray[np.float32]:
    """Axial slices (X, Y, S) as :func:`bids_ihf.anat.harmonize.harmonize` composes them,
    but on the network's grid: the curve, not clipped, plus the network's feathered change, in the
    target's units."""
    from bids_ihf.anat.harmonize import apply_network, feather

    on_grid = matched.network_input
    curve = matched.curve(on_grid.scale.normalize(on_grid.data[:, :, slices]))
    result = apply_network(matched, model, slices=slices)
    change = (result - matched.data)[:, :, slices] * feather(on_grid.mask)[:, :, slices]
    return matched.target.scale.restore(curve + change)
