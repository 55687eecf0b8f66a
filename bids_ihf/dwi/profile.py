"""What a scanner's diffusion series look like, shell by shell, in a few numbers.

They are measured in brain tissue alone: voxels of free fluid are told from tissue by their
attenuation, and tissue is split in halves, the fibrous one with more anisotropy and the rest.
Ventricles and sulci of any size thus change no number, and every selection is by ranks or
relative to the scan's own median, so a scanner's gain or b-values cannot move it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from attrs import frozen

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from bids_ihf.dwi.shell_fit import ShellFit

    Array = NDArray[np.float32]
    Mask = NDArray[np.bool_]

TISSUE_CONTRAST_B_VALUE = 1000.0
"""The shell nearest to this b-value (s/mm2) tells fluid, fibrous and other tissue apart."""

TISSUE_ATTENUATION_BOUNDS = (0.4, 1.5)
"""Attenuation of tissue, relative to its own median."""

MIN_CSF_ATTENUATION = 2.6
"""Attenuation from which on a voxel is free fluid, relative to tissue's."""

MIN_CSF_FLOOR_B_VALUE = 1800.0
"""b-value (s/mm2) from which on free fluid shows nothing but the noise floor."""

CSF_FLOOR_PERCENTILE = 25.0
"""Percentile of fluid's voxels at which the floor is read: others hold some tissue."""

MIN_SIGNAL_TO_FLOOR = 3.0
"""Least signal of tissue at b 0, over the noise floor."""

MIN_TISSUE_VOXELS = 50
"""Voxels that a number needs."""

B_VALUE_TOLERANCE = 0.1
"""Share by which the b-values of shells may differ that are merged."""

SUBJECT_LOG_ATTENUATION_SD, SUBJECT_LOG_ANISOTROPY_SD = 0.025, 0.065
"""Standard deviations between people of the logarithms of attenuation, and of anisotropy over
attenuation, rounded from those of 11 simulated people in the scanners of one vendor."""

SCANNER_LOG_ATTENUATION_SD, SCANNER_LOG_ANISOTROPY_SD = 0.02, 0.01
"""The same between scanners of one vendor: the diffusivity of ice water differed by less than 2 %
between 35 scanners of three vendors (Malyarenko et al. 2013, J Magn Reson Imaging 37:1238); FA by
1 % and more between two of one model, mostly by noise (Vollmar et al. 2010, NeuroImage 51:1384).
Simulated ones differ less."""

RAYLEIGH_MEAN_PER_SD = float(np.sqrt(np.pi / 2))
"""Mean magnitude of noise alone in one channel, over its standard deviation."""


@frozen
class ShellProfile:
    """One weighted shell: ``b`` in s/mm2; median attenuation -ln(S / S0) / b of tissue's two
    halves, mm2/s; ``anisotropy``, the standard deviation of -ln(S / S0) over directions, per b, in
    the fibrous half (mm2/s, NaN where directions are too few)."""

    b: float
    fibrous: float
    other: float
    anisotropy: float


@frozen(eq=False)
class DiffusionProfile:
    """Signal at b 0 of tissue and of fluid (NaN where too little is seen), mean magnitude of noise
    alone, in the scanner's units; then the weighted shells by b."""

    levels: tuple[float, float]
    floor: float
    shells: tuple[ShellProfile, ...]

    def nearest(self, b: float) -> ShellProfile:
        """The shell whose b-value is nearest."""
        return min(self.shells, key=lambda shell: abs(shell.b - b))

    def at(self, b: float) -> ShellProfile:
        """What the nearest shell says of tissue, carried to ``b`` along the profile's own decay.

        Attenuation per b falls as b rises; between shells it is linear in b, beyond them constant.
        """
        known = [shell.b for shell in self.shells]

        def read(name: str) -> float:
            values = np.array([getattr(shell, name) for shell in self.shells])
            finite = np.isfinite(values)
            if not finite.any():
                return float("nan")
            return float(np.interp(b, np.asarray(known)[finite], values[finite]))

        return ShellProfile(b, read("fibrous"), read("other"), read("anisotropy"))


@frozen(eq=False)
class KnownScanner:
    """What other people's series tell of the scanner of a series.

    What a series deviates from ``profile`` is in part its scanner's and in part the person's.
    ``attenuation`` and ``anisotropy`` (over attenuation) are the scanner's share, 0 to 1: the
    expected one, if both are normally distributed, that is the scanner's variance over the sum of
    the two.
    """

    profile: DiffusionProfile
    attenuation: float = 0.0
    anisotropy: float = 0.0
    name: str = ""

    @classmethod
    def of_vendor(cls, profile: DiffusionProfile, name: str = "") -> KnownScanner:
        """A scanner of a vendor whose typical profile is known."""
        attenuation = SCANNER_LOG_ATTENUATION_SD**2 / (
            SCANNER_LOG_ATTENUATION_SD**2 + SUBJECT_LOG_ATTENUATION_SD**2
        )
        anisotropy = SCANNER_LOG_ANISOTROPY_SD**2 / (
            SCANNER_LOG_ANISOTROPY_SD**2 + SUBJECT_LOG_ANISOTROPY_SD**2
        )
        return cls(profile, attenuation, anisotropy, name)

    @classmethod
    def of_people(cls, profile: DiffusionProfile, people: int, name: str = "") -> KnownScanner:
        """The very scanner, known from so many people's series: the person is one more."""
        share = 1 / (people + 1)
        return cls(profile, share, share, name)


@frozen(eq=False)
class Tissues:
    """Masks (V,) over the voxels of the fits."""

    fibrous: Mask
    other: Mask
    fluid: Mask


def above_floor(signal: Array, floor: float) -> Array:
    """Signal without the noise floor: the root of the difference of squares (Gudbjartsson & Patz
    1995, Magn Reson Med 34:910), no less than a tenth of what was measured."""
    power = np.square(signal) - np.float32(floor * floor)
    return np.asarray(np.sqrt(np.maximum(power, np.square(np.float32(0.1) * signal))))


def attenuation(fit: ShellFit, b0: Array, floor: float) -> Array:
    """-ln(S / S0) / b (V,) of a shell's mean, mm2/s."""
    ratio = above_floor(fit.mean, floor) / np.maximum(above_floor(b0, floor), 1e-6)
    return np.asarray(-np.log(np.clip(ratio, 1e-4, 1.0)) / fit.shell.b)


def find_tissues(fits: Sequence[ShellFit], brain: Mask) -> Tissues:
    """Fluid, and tissue's fibrous and other half, from the shell nearest to TYPICAL.

    ``brain`` (V,) marks the fits' voxels that lie well inside the brain.

    Raises
    ------
    ValueError
        There is too little tissue.
    """
    b0, typical = fits[0].mean, typical_shell(fits)
    values = attenuation(typical, b0, 0.0)
    lit = brain & (b0 > 0) & (typical.mean > 0) & (values > 0)
    if lit.sum() < MIN_TISSUE_VOXELS:
        raise ValueError("the brain shows too little signal")
    middle = float(np.median(values[lit]))
    for _ in range(8):
        tissue = (
            lit
            & (values > TISSUE_ATTENUATION_BOUNDS[0] * middle)
            & (values < TISSUE_ATTENUATION_BOUNDS[1] * middle)
        )
        middle = float(np.median(values[tissue])) if tissue.any() else middle
    if tissue.sum() < MIN_TISSUE_VOXELS:
        raise ValueError("the brain shows too little tissue")
    spread = typical.variance / np.maximum(np.square(typical.mean), 1e-12)
    fibrous = tissue & (spread > np.median(spread[tissue]))
    if not fibrous.any():  # too few directions to tell anisotropy
        fibrous = tissue
    return Tissues(fibrous, tissue & ~fibrous, lit & (values > MIN_CSF_ATTENUATION * middle))


def typical_shell(fits: Sequence[ShellFit]) -> ShellFit:
    """The weighted shell nearest to TYPICAL."""
    return min(fits[1:], key=lambda fit: abs(fit.shell.b - TISSUE_CONTRAST_B_VALUE))


def noise_floor(fits: Sequence[ShellFit], tissues: Tissues) -> float:
    """Mean magnitude of noise alone, in the scan's units; 0 where nothing tells it.

    From free fluid where a shell is strong enough to leave nothing else of it; else from what the
    harmonics do not explain in tissue, as if the noise were Rician.
    """
    highest = fits[-1]
    if highest.shell.b >= MIN_CSF_FLOOR_B_VALUE and tissues.fluid.sum() >= MIN_TISSUE_VOXELS:
        return float(np.percentile(highest.mean[tissues.fluid], CSF_FLOOR_PERCENTILE))
    left = typical_shell(fits).residual[tissues.fibrous]
    left = left[np.isfinite(left)]
    return RAYLEIGH_MEAN_PER_SD * float(np.sqrt(np.median(left))) if left.size else 0.0


def measure_profile(fits: Sequence[ShellFit], brain: Mask, bias: Array) -> DiffusionProfile:
    """The profile of one series; the first fit is b 0; ``bias`` (V,) is multiplicative.

    Raises
    ------
    ValueError
        There is too little tissue, or it drowns in noise.
    """
    tissues = find_tissues(fits, brain)
    floor = noise_floor(fits, tissues)
    if _median(fits[0].mean, tissues.fibrous) < MIN_SIGNAL_TO_FLOOR * floor:
        raise ValueError("the brain hardly stands out of the noise")
    b0 = above_floor(fits[0].mean, floor) / bias
    levels = _median(b0, tissues.fibrous | tissues.other), _median(b0, tissues.fluid)
    shells = [_shell_profile(fit, fits[0].mean, floor, tissues) for fit in fits[1:]]
    return DiffusionProfile(levels, floor, tuple(shells))


def _shell_profile(fit: ShellFit, b0: Array, floor: float, tissues: Tissues) -> ShellProfile:
    values = attenuation(fit, b0, floor)
    spread = float("nan")
    if fit.order >= 2:
        where = tissues.fibrous
        # The derivative of the logarithm of the floor-free signal, times the signal's deviation.
        free = above_floor(fit.mean[where], floor)
        relative = np.sqrt(fit.variance[where]) * fit.mean[where] / np.square(free)
        spread = float(np.median(relative)) / fit.shell.b
    fibrous, other = _median(values, tissues.fibrous), _median(values, tissues.other)
    return ShellProfile(fit.shell.b, fibrous, other, spread)


def _median(values: Array, where: Mask) -> float:
    return float(np.median(values[where])) if where.sum() >= MIN_TISSUE_VOXELS else float("nan")


def merge_profiles(profiles: Sequence[DiffusionProfile]) -> DiffusionProfile:
    """One profile from several people's series of one protocol: medians of all numbers.

    Raises
    ------
    ValueError
        The series have different shells.
    """
    first = [shell.b for shell in profiles[0].shells]
    for profile in profiles[1:]:
        own = [shell.b for shell in profile.shells]
        if len(own) != len(first) or not np.allclose(own, first, rtol=B_VALUE_TOLERANCE):
            there, here = (" ".join(f"{b:.0f}" for b in values) for values in (first, own))
            raise ValueError(f"one series has shells at {there} s/mm2, another at {here}")
    levels = np.array([profile.levels for profile in profiles])
    shells = [
        ShellProfile(*(_middle([getattr(one, name) for one in group]) for name in SHELL_FIELDS))
        for group in zip(*(profile.shells for profile in profiles), strict=True)
    ]
    tissue, fluid = (_middle(column.tolist()) for column in levels.T)
    floor = _middle([profile.floor for profile in profiles])
    return DiffusionProfile((tissue, fluid), floor, tuple(shells))


SHELL_FIELDS = ("b", "fibrous", "other", "anisotropy")


def _middle(values: Sequence[float]) -> float:
    known = [value for value in values if np.isfinite(value)]
    return float(np.median(known)) if known else float("nan")
