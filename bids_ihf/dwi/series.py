"""One diffusion series to its target, volume by volume: never more than a few volumes in memory.

Three passes: the preparation reads every volume and averages those without weighting, the second
pass fits the shells, the third changes the volumes and measures the result.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from attrs import evolve, frozen
from numpy.typing import NDArray

from bids_ihf.dwi.harmonize import PlaceRatios, ShellHarmonizer, harmonize_volumes
from bids_ihf.dwi.matched import matched_ratios, without_change
from bids_ihf.dwi.place_change import MapNetwork, place_ratios
from bids_ihf.dwi.profile import measure_profile
from bids_ihf.dwi.series_fit import FittedSeries, OnVolume, counted_volumes
from bids_ihf.dwi.shared_maps import harmonized_maps
from bids_ihf.dwi.shell_fit import ShellFit, ShellSums
from bids_ihf.dwi.shell_plan import DiffusionSource, ShellPlan, make_plan
from bids_ihf.dwi.tensor import TensorSums
from bids_ihf.errors import BadData
from bids_ihf.preprocessing.prepare import Prepared
from bids_ihf.targets.diffusion_profile import DiffusionProfile, attenuation_distance
from bids_ihf.targets.intensity import background_gain, change_dtype
from bids_ihf.targets.matched_maps import MatchedMaps

Array = NDArray[np.float32]
MatchedPair = tuple[MatchedMaps, MatchedMaps]
"""Harmonics of matched people, of the source's scanner and of the target's."""


class SeriesSink(Protocol):
    """Takes the volumes (X, Y, Z) of a harmonized series and of its change map, in order."""

    def add(self, image: Array, change: Array) -> None:
        """The next volume of each."""


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
        counted_volumes(series, "changing", on_volume),
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


def _lowest_shell_image(fits: tuple[ShellFit, ...], head: NDArray[np.bool_]) -> Array:
    """Mean of the weighted shell with the lowest b-value (X, Y, Z), 0 in the air."""
    image = np.zeros(head.shape, dtype=np.float32)
    image[head] = fits[1].mean
    return image
