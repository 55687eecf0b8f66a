"""Measure the profile of a diffusion series.

It is measured in brain tissue only: voxels of CSF are separated from tissue by their attenuation,
and tissue is split into a more anisotropic half and the rest.  The size of ventricles and sulci
therefore has no influence, and as all selections are by rank or relative to the scan's median,
neither has a scanner's gain or a deviation of its b-values.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from bids_ihf.dwi.shell_fit import ShellFit
from bids_ihf.targets.diffusion_profile import DiffusionProfile, ShellProfile

Array = NDArray[np.float32]
Mask = NDArray[np.bool_]

TISSUE_CONTRAST_B_S_PER_MM2 = 1000.0
"""The shell nearest to this b-value (s/mm2) separates CSF, anisotropic and other tissue."""

TISSUE_ATTENUATION_BOUNDS = (0.4, 1.5)
"""Attenuation of tissue, relative to its median."""

MIN_CSF_ATTENUATION = 2.6
"""Smallest attenuation of CSF, relative to the median of tissue."""

MIN_CSF_FLOOR_B_S_PER_MM2 = 1800.0
"""b-value (s/mm2) above which the signal of CSF is the noise floor alone."""

CSF_FLOOR_PERCENTILE = 25.0
"""Percentile of CSF voxels that is taken for the floor: brighter ones contain some tissue."""

MIN_SIGNAL_TO_FLOOR = 3.0
"""Smallest signal of tissue at b = 0, relative to the noise floor."""

MIN_REGION_VOXELS = 50
"""Voxels that a median needs."""

TISSUE_ITERATIONS = 8
"""Iterations of the selection of tissue about its own median."""

RAYLEIGH_MEAN_PER_SD = float(np.sqrt(np.pi / 2))
"""Mean magnitude of noise alone (Rayleigh distribution), per standard deviation of one channel."""


@frozen(eq=False)
class Tissues:
    """Masks (V,) over the voxels of the fits."""

    fibrous: Mask
    other: Mask
    csf: Mask


def measure_profile(fits: Sequence[ShellFit], brain: Mask, bias: Array) -> DiffusionProfile:
    """The profile of one series, from the fit of each shell at V voxels, b = 0 first.

    ``brain`` (V,) marks voxels well inside the brain; ``bias`` (V,) is the multiplicative bias.

    Raises
    ------
    ValueError
        There is too little tissue, or its signal is too close to the noise floor.
    """
    tissues = find_tissues(fits, brain)
    floor = noise_floor(fits, tissues)
    if _median(fits[0].mean, tissues.fibrous) < MIN_SIGNAL_TO_FLOOR * floor:
        raise ValueError("the b=0 signal is too close to the noise floor")
    b0 = above_floor(fits[0].mean, floor) / bias
    levels = _median(b0, tissues.fibrous | tissues.other), _median(b0, tissues.csf)
    shells = [_shell_profile(fit, fits[0].mean, floor, tissues) for fit in fits[1:]]
    return DiffusionProfile(levels, floor, tuple(shells))


def above_floor(signal: Array, floor: float) -> Array:
    """Signal without the noise floor: sqrt(S^2 - floor^2), at least a tenth of the signal
    (Gudbjartsson & Patz 1995, Magn Reson Med 34:910).

    >>> above_floor(np.array([5.0, 3.0], np.float32), 3.0).round(1)
    array([4. , 0.3], dtype=float32)
    """
    power = np.square(signal) - np.float32(floor * floor)
    return np.asarray(np.sqrt(np.maximum(power, np.square(np.float32(0.1) * signal))))


def attenuation(fit: ShellFit, b0: Array, floor: float) -> Array:
    """-ln(S / S0) / b (V,) of a shell's mean, mm2/s."""
    ratio = above_floor(fit.mean, floor) / np.maximum(above_floor(b0, floor), 1e-6)
    return np.asarray(-np.log(np.clip(ratio, 1e-4, 1.0)) / fit.shell.b)


def find_tissues(fits: Sequence[ShellFit], brain: Mask) -> Tissues:
    """CSF and the two halves of tissue, from the shell nearest to TISSUE_CONTRAST_B_S_PER_MM2.

    Raises
    ------
    ValueError
        There is too little tissue.
    """
    b0, shell = fits[0].mean, tissue_contrast_shell(fits)
    values = attenuation(shell, b0, 0.0)
    usable = brain & (b0 > 0) & (shell.mean > 0) & (values > 0)
    if usable.sum() < MIN_REGION_VOXELS:
        raise ValueError("the brain contains too little signal")
    low, high = TISSUE_ATTENUATION_BOUNDS
    median = float(np.median(values[usable]))
    for _ in range(TISSUE_ITERATIONS):
        tissue = usable & (values > low * median) & (values < high * median)
        median = float(np.median(values[tissue])) if tissue.any() else median
    if tissue.sum() < MIN_REGION_VOXELS:
        raise ValueError("the brain contains too little tissue")
    spread = shell.variance / np.maximum(np.square(shell.mean), 1e-12)
    fibrous = tissue & (spread > np.median(spread[tissue]))
    if fibrous.sum() < MIN_REGION_VOXELS:  # too few directions or voxels to tell halves apart
        fibrous = tissue
    return Tissues(fibrous, tissue & ~fibrous, usable & (values > MIN_CSF_ATTENUATION * median))


def tissue_contrast_shell(fits: Sequence[ShellFit]) -> ShellFit:
    """The weighted shell nearest to TISSUE_CONTRAST_B_S_PER_MM2."""
    return min(fits[1:], key=lambda fit: abs(fit.shell.b - TISSUE_CONTRAST_B_S_PER_MM2))


def noise_floor(fits: Sequence[ShellFit], tissues: Tissues) -> float:
    """Mean magnitude of noise alone, in scanner units; 0 where it cannot be measured.

    From CSF in the highest shell where that is strong enough to suppress its signal; otherwise
    from the residuals of the harmonics in tissue, assuming Rician noise.
    """
    highest = fits[-1]
    if highest.shell.b >= MIN_CSF_FLOOR_B_S_PER_MM2 and tissues.csf.sum() >= MIN_REGION_VOXELS:
        return float(np.percentile(highest.mean[tissues.csf], CSF_FLOOR_PERCENTILE))
    residual = tissue_contrast_shell(fits).residual[tissues.fibrous]
    residual = residual[np.isfinite(residual)]
    return RAYLEIGH_MEAN_PER_SD * float(np.sqrt(np.median(residual))) if residual.size else 0.0


def _shell_profile(fit: ShellFit, b0: Array, floor: float, tissues: Tissues) -> ShellProfile:
    values = attenuation(fit, b0, floor)
    anisotropy = float("nan")
    if fit.order >= 2:
        # The derivative of the logarithm of the floor-free signal, times the signal's deviation.
        mean, variance = fit.mean[tissues.fibrous], fit.variance[tissues.fibrous]
        relative = np.sqrt(variance) * mean / np.square(above_floor(mean, floor))
        anisotropy = float(np.median(relative)) / fit.shell.b
    return ShellProfile(
        b=fit.shell.b,
        fibrous=_median(values, tissues.fibrous),
        other=_median(values, tissues.other),
        anisotropy=anisotropy,
    )


def _median(values: Array, region: Mask) -> float:
    return float(np.median(values[region])) if region.sum() >= MIN_REGION_VOXELS else float("nan")
