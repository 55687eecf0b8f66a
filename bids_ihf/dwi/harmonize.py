"""Harmonize a diffusion series: a few parameters per shell, the same for all its directions.

Differences between scanners are removed in the order of their origin: the source's noise floor is
subtracted from the expected signal, the attenuation of a shell is scaled to the target's by an
exponent (as if the b-value had been another), the signal at b = 0 by a gain curve, and the noise
floor of the target is added. The expected signal comes from the spherical harmonics of the shell;
each volume is multiplied by the ratio of the expected signals after and before, so it stays non-
negative and keeps its noise, and where only gains differ all directions have the same ratio.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from attrs import evolve, frozen
from numpy.typing import NDArray

from bids_ihf.bids.gradient_tables import GradientTable
from bids_ihf.dwi.profile import above_floor
from bids_ihf.dwi.shell_fit import ShellFit
from bids_ihf.targets.diffusion_profile import DiffusionProfile, ShellProfile
from bids_ihf.targets.source_profile import SourceProfile

Array = NDArray[np.float32]
DiffusionSource = SourceProfile[DiffusionProfile]

EXPONENT_BOUNDS = (0.75, 1.35)
"""Bounds of the exponent on attenuation; scanners that work as specified differ by less."""

ANISOTROPY_FACTOR_BOUNDS = (0.8, 1.25)
"""Bounds of the factor on the deviations between directions."""

MAX_RELATIVE_DIRECTION_CHANGE = 0.3
"""Fraction of a direction's deviation from the mean (logarithms) by which it may be changed."""

RATIO_BOUNDS = (0.25, 4.0)
"""Bounds of the ratio that a volume is multiplied by, relative to the gain."""

SUBJECT_LOG_ATTENUATION_SD, SUBJECT_LOG_ANISOTROPY_SD = 0.025, 0.065
"""Standard deviations between subjects of ln attenuation and of ln(anisotropy / attenuation),
rounded from those of 11 simulated subjects in the scanners of one vendor."""

SCANNER_LOG_ATTENUATION_SD, SCANNER_LOG_ANISOTROPY_SD = 0.02, 0.01
"""The same between scanners of one vendor: the diffusivity of ice water differed by less than 2 %
between 35 scanners of three vendors (Malyarenko et al. 2013, J Magn Reson Imaging 37:1238), FA by
1 % and more between two of one model, mostly due to noise (Vollmar et al. 2010, NeuroImage
51:1384).  Simulated scanners differ less."""

VENDOR_ATTENUATION_WEIGHT, VENDOR_ANISOTROPY_WEIGHT = (
    scanner**2 / (scanner**2 + subject**2)
    for scanner, subject in (
        (SCANNER_LOG_ATTENUATION_SD, SUBJECT_LOG_ATTENUATION_SD),
        (SCANNER_LOG_ANISOTROPY_SD, SUBJECT_LOG_ANISOTROPY_SD),
    )
)
"""Scanner weights of a series with its vendor's typical profile: the scanner's fraction of the
variance, which is the expected one if both effects are normally distributed."""


@frozen
class ShellChange:
    """Parameters of one shell.

    ``b`` and ``target_b`` are the b-values of the shell and of the target's nearest shell, s/mm2;
    ``exponent`` is applied to the attenuation, ``measured`` is the one that the series by itself
    needs; ``anisotropy`` is a factor on the deviation of ln attenuation between directions.
    """

    b: float
    target_b: float
    exponent: float
    anisotropy: float
    measured: float


@frozen(eq=False)
class ShellPlan:
    """Parameters of a series: noise floors and levels at b = 0 (tissue, CSF) of source and target,
    each in its own units, and the diffusion-weighted shells."""

    source_floor: float
    target_floor: float
    source_levels: NDArray[np.float64]
    target_levels: NDArray[np.float64]
    shells: tuple[ShellChange, ...]

    @property
    def gain(self) -> float:
        """Target units per source unit, in tissue."""
        return float(self.target_levels[0] / self.source_levels[0])


def make_plan(
    series: DiffusionProfile,
    target: DiffusionProfile,
    source: DiffusionSource | None = None,
) -> ShellPlan:
    """Compare the profile of a series with the target's.

    With a profile of the ``source`` scanner, shells are changed by the difference between that
    scanner and the target, and by the scanner weight times the deviation of the series from it, so
    that most of what is particular to the subject is preserved.  Only then is anisotropy scaled,
    too: it varies more between subjects than between scanners, so that a single series cannot
    provide a factor.
    """
    measured = np.isfinite(series.levels) & np.isfinite(target.levels)
    measured[0] = True
    return ShellPlan(
        source_floor=series.floor,
        target_floor=target.floor,
        source_levels=np.asarray(series.levels)[measured],
        target_levels=np.asarray(target.levels)[measured],
        shells=tuple(_shell_change(shell, target, source) for shell in series.shells),
    )


def _shell_change(
    shell: ShellProfile, target: DiffusionProfile, source: DiffusionSource | None
) -> ShellChange:
    target_shell = target.at(shell.b)
    measured = _log_exponent(shell, target_shell)
    exponent, factor = measured, 0.0
    if source is not None:
        typical = source.profile.at(shell.b)
        typical_exponent = _log_exponent(typical, target_shell)
        weight = source.scanner_weight(VENDOR_ATTENUATION_WEIGHT)
        exponent = typical_exponent + weight * (measured - typical_exponent)
        # Anisotropy relative to attenuation, since an exponent changes both alike.
        typical_factor = np.log(target_shell.anisotropy / typical.anisotropy) - typical_exponent
        shell_factor = np.log(target_shell.anisotropy / shell.anisotropy) - measured
        weight = source.scanner_weight(VENDOR_ANISOTROPY_WEIGHT)
        factor = typical_factor + weight * (shell_factor - typical_factor)
        factor = float(np.nan_to_num(factor))
    return ShellChange(
        shell.b,
        target.nearest(shell.b).b,
        exponent=float(np.clip(np.exp(exponent), *EXPONENT_BOUNDS)),
        anisotropy=float(np.clip(np.exp(factor), *ANISOTROPY_FACTOR_BOUNDS)),
        measured=float(np.exp(measured)),
    )


def _log_exponent(shell: ShellProfile, target: ShellProfile) -> float:
    """Logarithm of the exponent that brings the attenuation of a shell to another's."""
    ratios = np.array([target.fibrous / shell.fibrous, target.other / shell.other])
    return float(np.nanmean(np.log(ratios)))


def gain_curve(levels: Array, plan: ShellPlan) -> Array:
    """Gain at signals of any shape: linear between the levels of the plan, constant beyond; the
    gain of tissue where the levels of source and target differ in order."""
    order = np.argsort(plan.source_levels)
    x, y = plan.source_levels[order], plan.target_levels[order]
    if (np.diff(x) <= 0).any() or (np.diff(y) <= 0).any():
        return np.full_like(levels, plan.gain)
    return np.interp(levels, x, y / x).astype(np.float32)


@frozen(eq=False)
class ShellHarmonizer:
    """Ratios by which volumes are multiplied, at the V voxels of the fits.

    ``bias`` (V,) is the receive field, which is divided out.  ``mean_ratios`` (V,) are those of
    the mean image of each shell, b = 0 first; see :func:`make_harmonizer`.
    """

    fits: tuple[ShellFit, ...]
    plan: ShellPlan
    bias: Array
    mean_ratios: tuple[Array, ...] = ()

    def ratio(self, shell: int, direction: NDArray[np.float64]) -> Array:
        """Ratio (V,) for a volume of a shell (0 is b = 0) along a direction (3,).

        It deviates from the ratio of the mean by at most MAX_RELATIVE_DIRECTION_CHANGE of the
        direction's own deviation: at the noise floor that is noise, which must not be amplified.
        """
        mean_ratio = self.mean_ratios[shell]
        fit = self.fits[shell]
        if fit.order == 0:
            return mean_ratio
        signal = fit.along(direction)
        change = np.log(self.target_signal(shell, signal) / np.maximum(signal, 1e-6) / mean_ratio)
        deviation = np.abs(np.log(signal / np.maximum(fit.mean, 1e-6)))
        bound = np.float32(MAX_RELATIVE_DIRECTION_CHANGE) * deviation
        return np.asarray(mean_ratio * np.exp(np.clip(change, -bound, bound)))

    def mean_ratio(self, shell: int) -> Array:
        """Ratio (V,) for the mean image of a shell, within RATIO_BOUNDS of the gain."""
        mean = np.maximum(self.fits[shell].mean, 1e-6)
        _, gain = self._unweighted()
        low, high = (np.float32(bound) * gain / self.bias for bound in RATIO_BOUNDS)
        return np.clip(self.target_signal(shell, mean) / mean, low, high).astype(np.float32)

    def target_signal(self, shell: int, signal: Array) -> Array:
        """The expected signal (V,) of a shell, harmonized."""
        b0, gain = self._unweighted()
        if shell == 0:
            return self._with_target_floor(b0 * gain, signal)
        change = self.plan.shells[shell - 1]
        base = np.maximum(b0 * self.bias, 1e-6)
        free, free_mean = (
            np.maximum(above_floor(image, self.plan.source_floor), 1e-6)
            for image in (signal, self.fits[shell].mean)
        )
        log_mean, deviation = np.log(free_mean / base), np.log(free / free_mean)
        log_ratio = change.exponent * (np.minimum(log_mean, 0) + change.anisotropy * deviation)
        log_ratio += np.maximum(log_mean, 0)
        return self._with_target_floor(b0 * gain * np.exp(log_ratio), signal)

    def _unweighted(self) -> tuple[Array, Array]:
        """Signal (V,) at b = 0 without floor and bias, and the gain at that signal."""
        b0 = above_floor(self.fits[0].mean, self.plan.source_floor) / self.bias
        return b0, gain_curve(b0, self.plan)

    def _with_target_floor(self, free: Array, signal: Array) -> Array:
        """A floor-free signal with the target's floor; where the source ``signal`` lay below its
        own floor, as far below the target's."""
        target_floor = np.float32(self.plan.target_floor)
        source_floor = self.plan.source_floor
        if source_floor > 0:
            removed = np.square(signal) - np.square(above_floor(signal, source_floor))
            floor = np.maximum(removed, 0) * np.square(target_floor / source_floor)
            return np.sqrt(np.square(free) + floor)
        return np.hypot(free, target_floor)


def make_harmonizer(fits: tuple[ShellFit, ...], plan: ShellPlan, bias: Array) -> ShellHarmonizer:
    """The harmonizer of a series, with the ratios of its shells' means."""
    harmonizer = ShellHarmonizer(fits, plan, bias)
    ratios = tuple(harmonizer.mean_ratio(shell) for shell in range(len(fits)))
    return evolve(harmonizer, mean_ratios=ratios)


def harmonize_volumes(
    volumes: Iterator[Array],
    gradients: GradientTable,
    harmonizer: ShellHarmonizer,
    head: NDArray[np.bool_],
    weight: Array,
    background_gain: float,
) -> Iterator[tuple[Array, Array]]:
    """Each volume (X, Y, Z) before and after.

    ``head`` (X, Y, Z) marks the voxels of the fits; ``weight`` (X, Y, Z) is 1 in the head and
    falls to 0 in the background, which is multiplied by ``background_gain`` only.
    """
    shell_of = {
        int(volume): index
        for index, fit in enumerate(harmonizer.fits)
        for volume in fit.shell.volumes
    }
    head_weight = weight[head]
    for index, volume in enumerate(volumes):
        ratio = np.full(volume.shape, background_gain, dtype=np.float32)
        head_ratio = harmonizer.ratio(shell_of[index], gradients.bvecs[index])
        ratio[head] = head_weight * head_ratio + (1 - head_weight) * np.float32(background_gain)
        yield volume, volume * ratio
