"""One diffusion series to its target, volume by volume: never more than a few volumes in memory.

Three passes: the preparation reads every volume and averages those without weighting, the second
pass fits the shells, the third changes the volumes and measures the result.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol

import numpy as np
from attrs import evolve, frozen
from numpy.typing import NDArray
from scipy import ndimage

from bids_ihf.bids.gradient_tables import GradientTable
from bids_ihf.dwi.harmonize import PlaceRatios, ShellHarmonizer, harmonize_volumes
from bids_ihf.dwi.matched import matched_ratios, without_change
from bids_ihf.dwi.mean_b0 import SeriesFiles
from bids_ihf.dwi.place_change import MapNetwork
from bids_ihf.dwi.profile import measure_profile
from bids_ihf.dwi.shared_maps import SharedMaps, harmonized_maps, shared_maps
from bids_ihf.dwi.shell_fit import ShellFit, ShellSums, fit_shells
from bids_ihf.dwi.shell_plan import DiffusionSource, ShellPlan, make_plan
from bids_ihf.dwi.shells import find_shells
from bids_ihf.dwi.tensor import TensorSums
from bids_ihf.errors import BadData
from bids_ihf.io.series import Series
from bids_ihf.preprocessing.head import head_weight
from bids_ihf.preprocessing.prepare import Prepared
from bids_ihf.targets.diffusion_profile import DiffusionProfile, attenuation_distance
from bids_ihf.targets.intensity import background_gain, change_dtype
from bids_ihf.targets.matched_maps import MatchedMaps

Array = NDArray[np.float32]
MatchedPair = tuple[MatchedMaps, MatchedMaps]
"""Harmonics of matched people, of the source's scanner and of the target's."""

OnVolume = Callable[[str, int, int], None]
"""Called with what is done (``fitting``, ``changing``), volumes done, and volumes in all."""

USUAL_LEVELS = (0.1, 1e7)
"""Range of the 99th percentile of the mean b0 in which a series is computed in its units; others
are scaled by a power of two to about 1000, since the shell model has absolute floors."""

MASK_EROSION_MM = 4.0
"""Distance to the edge of the brain mask of the voxels in which a series is measured."""


class SeriesSink(Protocol):
    """Takes the volumes (X, Y, Z) of a harmonized series and of its change map, in order."""

    def add(self, image: Array, change: Array) -> None:
        """The next volume of each."""


@frozen(eq=False)
class FittedSeries:
    """A series with its shells fitted.

    Attributes
    ----------
    series, gradients
        The series and its b-table.
    weight
        1 in the head, 0 in the air, (X, Y, Z).
    fits
        Fit of each shell at the N voxels of the head.
    bias
        Bias field there, (N,).
    interior
        Which of these voxels lie well inside the brain, (N,).
    profile
        What was measured in those.
    unit_factor
        Factor on the intensities of the series in `series` and `fits`, see USUAL_LEVELS.
    """

    series: Series
    gradients: GradientTable
    weight: Array
    fits: tuple[ShellFit, ...]
    bias: Array
    interior: NDArray[np.bool_]
    profile: DiffusionProfile
    unit_factor: float = 1.0

    @property
    def head(self) -> NDArray[np.bool_]:
        """Voxels (X, Y, Z) of the head."""
        return self.weight > 0

    @property
    def corrected_maps(self) -> SharedMaps:
        """What the directions share, (N,) each, corrected for bias."""
        return shared_maps(self.fits, self.bias)


def fit_series(
    files: SeriesFiles, prepared: Prepared, on_volume: OnVolume | None = None
) -> FittedSeries:
    """Fit the shells of a prepared series in one pass, and measure them.

    Raises
    ------
    BadData
        The series or its b-table cannot be used.
    """
    series, gradients = files.open()
    factor = _unit_factor(prepared.volume.data)
    series = evolve(series, slope=series.slope * factor, intercept=series.intercept * factor)
    # The brain is head, whatever its intensities.
    weight = np.maximum(head_weight(prepared), prepared.mask.astype(np.float32))
    head = weight > 0
    volumes = _counted(series, "fitting", on_volume)
    fits = fit_shells(volumes, gradients, find_shells(gradients.bvals), head)
    bias, interior = prepared.bias[head], _interior(prepared)[head]
    try:
        profile = measure_profile(fits, interior, bias)
    except ValueError as error:
        raise BadData(f"{files.image}: {error}; check the series and its mask.") from error
    levels = profile.levels[0] / factor, profile.levels[1] / factor
    profile = evolve(profile, levels=levels, floor=profile.floor / factor)
    return FittedSeries(series, gradients, weight, fits, bias, interior, profile, factor)


def _unit_factor(mean_b0: Array) -> float:
    """The power of two by which the intensities of a series are scaled, see USUAL_LEVELS."""
    level = float(np.percentile(mean_b0, 99))
    if level <= 0 or USUAL_LEVELS[0] <= level <= USUAL_LEVELS[1]:
        return 1.0
    return float(2.0 ** np.round(np.log2(1000.0 / level)))


@frozen(eq=False)
class HarmonizedSeries:
    """How a series was harmonized, beside its volumes.

    Attributes
    ----------
    plan
        What was done to each shell.
    source_name
        Vendor or source profile by which the scanner was known; None where it was not.
    before, after
        Mean image (X, Y, Z) of the weighted shell with the lowest b-value.
    distances
        Distance of the tissue's attenuations to the target's, before and after.
    change_rms
        Root mean square change in the brain, in the units of the series.
    round_trip_error
        Largest error of harmonized minus change, over the largest intensity.
    anisotropy
        FA (X, Y, Z) before and after; None where the directions are too few.
    diffusivity
        MD (X, Y, Z) after, mm2/s; None where the directions are too few.
    network_applied
        Whether the network changed the series after the shell model.
    by_matched
        Whether harmonics of matched people changed it, in place of the shell model.
    device
        Where the network ran.
    """

    plan: ShellPlan
    source_name: str | None
    before: Array
    after: Array
    distances: tuple[float, float]
    change_rms: float
    round_trip_error: float
    anisotropy: tuple[Array, Array] | None = None
    diffusivity: Array | None = None
    network_applied: bool = False
    by_matched: bool = False
    device: str = "cpu"


def harmonize_series(
    fitted: FittedSeries,
    prepared: Prepared,
    target: DiffusionProfile,
    scanner: DiffusionSource | None,
    sink: SeriesSink,
    on_volume: OnVolume | None = None,
    network: MapNetwork | None = None,
    matched: MatchedPair | None = None,
) -> HarmonizedSeries:
    """Harmonize a fitted series; its volumes and their change go to ``sink`` one by one.

    Where the harmonics of ``matched`` people of the source and of the target are available and
    have its shells, they alone change it; else the shell model does, and the ``network``, if any.

    Raises
    ------
    BadData
        A volume has changed since it was first read.
    TemporaryFailure
        The device ran out of memory; no volume was written.
    """
    series, gradients, head = fitted.series, fitted.gradients, fitted.head
    plan = make_plan(fitted.profile, target, scanner)
    factor = fitted.unit_factor
    scaled_plan = evolve(
        plan, source_floor=plan.source_floor * factor, source_levels=plan.source_levels * factor
    )
    place = None if matched is None else _matched_ratios(fitted, prepared, matched)
    if by_matched := place is not None:
        plan, scaled_plan = without_change(plan), without_change(scaled_plan)
    elif network is not None:
        place = _place_ratios(fitted, scaled_plan, prepared, network)
    changer = ShellHarmonizer(fitted.fits, scaled_plan, fitted.bias, place)
    sums = ShellSums(gradients, [fit.shell for fit in fitted.fits], head)
    tensors = [TensorSums(gradients, prepared.mask) for _ in ("before", "after")]
    change_power, largest_error, largest_intensity = 0.0, 0.0, 0.0
    volumes = harmonize_volumes(
        _counted(series, "changing", on_volume),
        *(gradients, changer, head, fitted.weight, background_gain(plan.gain) / factor),
    )
    for number, (scaled, image) in enumerate(volumes):
        original = scaled / np.float32(factor)
        change = np.subtract(image, original, dtype=change_dtype(plan.gain))
        if not np.isfinite(change).all():
            raise BadData(
                f"{series.path}: volume {number + 1} is NaN or infinite and was not when it was "
                "first read, so the file was changed meanwhile; check it and run again."
            )
        sink.add(image, change)
        sums.add(number, image)
        tensors[0].add(number, scaled)
        tensors[1].add(number, image)
        change_power += float(np.square(change[prepared.mask], dtype=np.float64).mean())
        largest_error = max(largest_error, float(np.abs((image - change) - original).max()))
        largest_intensity = max(largest_intensity, float(np.abs(original).max()))
    fits_after = sums.fits()
    fa_before, fa_after = (tensor.anisotropy() for tensor in tensors)
    return HarmonizedSeries(
        plan=plan,
        source_name=scanner.name if scanner else None,
        before=_lowest_shell_image(fitted.fits, head) / np.float32(factor),
        after=_lowest_shell_image(fits_after, head),
        distances=(
            attenuation_distance(fitted.profile, target),
            _distance_after(fits_after, fitted.interior, target),
        ),
        change_rms=float(np.sqrt(change_power / series.volume_count)),
        round_trip_error=largest_error / max(largest_intensity, 1e-12),
        anisotropy=None if fa_before is None or fa_after is None else (fa_before, fa_after),
        diffusivity=tensors[1].diffusivity(),
        network_applied=place is not None and not by_matched,
        by_matched=by_matched,
        device="cpu" if network is None else str(network.model.device),
    )


def _matched_ratios(
    fitted: FittedSeries, prepared: Prepared, matched: MatchedPair
) -> PlaceRatios | None:
    b_values = tuple(fit.shell.b for fit in fitted.fits[1:])
    return matched_ratios(*matched, b_values, prepared, fitted.head)


def _place_ratios(
    fitted: FittedSeries, plan: ShellPlan, prepared: Prepared, network: MapNetwork
) -> PlaceRatios | None:
    """What the network changes after the shell model."""
    # Loads torch, which the shell model does without.
    from bids_ihf.dwi.place_change import place_ratios

    return place_ratios(
        harmonized_maps(fitted.fits, plan, fitted.bias),
        tuple(fit.shell.b for fit in fitted.fits[1:]),
        prepared,
        fitted.head,
        fitted.interior,
        network,
    )


def _distance_after(
    fits: tuple[ShellFit, ...], interior: NDArray[np.bool_], target: DiffusionProfile
) -> float:
    """Distance of the result, from which the receive field has been divided out."""
    ones = np.ones(len(interior), dtype=np.float32)
    try:
        return attenuation_distance(measure_profile(fits, interior, ones), target)
    except ValueError:  # the result is written all the same; the table has no number
        return float("nan")


def _interior(prepared: Prepared) -> NDArray[np.bool_]:
    """The brain without its rim, where CSF, skull and motion disturb; all of a thin one."""
    depth = ndimage.distance_transform_edt(prepared.mask, sampling=prepared.grid.zooms)
    interior: NDArray[np.bool_] = depth > MASK_EROSION_MM
    return interior if interior.any() else prepared.mask


def _counted(series: Series, doing: str, on_volume: OnVolume | None) -> Iterator[Array]:
    for number, volume in enumerate(series.volumes(), start=1):
        yield volume
        if on_volume is not None:
            on_volume(doing, number, series.volume_count)


def _lowest_shell_image(fits: tuple[ShellFit, ...], head: NDArray[np.bool_]) -> Array:
    """Mean of the weighted shell with the lowest b-value (X, Y, Z), 0 in the air."""
    image = np.zeros(head.shape, dtype=np.float32)
    image[head] = fits[1].mean
    return image
