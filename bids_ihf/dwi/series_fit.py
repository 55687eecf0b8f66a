"""A diffusion series with its shells fitted and measured, in one pass over its volumes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
from attrs import evolve, frozen
from numpy.typing import NDArray
from scipy import ndimage

from bids_ihf.bids.gradient_tables import GradientTable
from bids_ihf.dwi.mean_b0 import SeriesFiles
from bids_ihf.dwi.profile import RAYLEIGH_MEAN_PER_SD, measure_profile
from bids_ihf.dwi.shared_maps import SharedMaps, shared_maps
from bids_ihf.dwi.shell_fit import ShellFit, fit_shells
from bids_ihf.dwi.shells import find_shells
from bids_ihf.errors import BadData
from bids_ihf.io.series import Series
from bids_ihf.preprocessing.head import head_weight
from bids_ihf.preprocessing.prepare import Prepared
from bids_ihf.targets.diffusion_profile import DiffusionProfile

Array = NDArray[np.float32]

OnVolume = Callable[[str, int, int], None]
"""Called with what is done (``fitting``, ``changing``), volumes done, and volumes in all."""

USUAL_LEVELS = (0.1, 1e7)
"""Range of the 99th percentile of the mean b0 in which a series is computed in its units; others
are scaled by a power of two to about 1000, since the shell model has absolute floors."""

MASK_EROSION_MM = 4.0
"""Distance to the edge of the brain mask of the voxels in which a series is measured."""


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
    def noise_sd(self) -> float | None:
        """Standard deviation of the noise in the units of the series; None where it is not known.

        The smallest of what the harmonics leave of each shell, since edges move between volumes,
        too, and of what the noise floor means for one channel.
        """
        residuals = [
            float(np.sqrt(np.median(fit.residual[self.interior]))) / self.unit_factor
            for fit in self.fits
            # The directions of a weighted shell differ by more than noise.
            if fit.order > 0 or not fit.shell.weighted
        ]
        estimates = [*residuals, self.profile.floor / RAYLEIGH_MEAN_PER_SD or math.nan]
        return min(filter(math.isfinite, estimates), default=None)

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
    volumes = counted_volumes(series, "fitting", on_volume)
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


def _interior(prepared: Prepared) -> NDArray[np.bool_]:
    """The brain without its rim, where CSF, skull and motion disturb; all of a thin one."""
    depth = ndimage.distance_transform_edt(prepared.mask, sampling=prepared.grid.zooms)
    interior: NDArray[np.bool_] = depth > MASK_EROSION_MM
    return interior if interior.any() else prepared.mask


def counted_volumes(series: Series, doing: str, on_volume: OnVolume | None) -> Iterator[Array]:
    """The volumes of a series; ``on_volume`` is called after each."""
    for number, volume in enumerate(series.volumes(), start=1):
        yield volume
        if on_volume is not None:
            on_volume(doing, number, series.volume_count)
