"""Change the volumes of a diffusion series: a few parameters per shell, for all its directions.

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
from attrs import field, frozen
from numpy.typing import NDArray

from bids_ihf.bids.gradient_tables import GradientTable
from bids_ihf.dwi.profile import above_floor
from bids_ihf.dwi.shell_fit import MIN_RELATIVE_SIGNAL, ShellFit
from bids_ihf.dwi.shell_plan import ShellPlan

Array = NDArray[np.float32]

MAX_RELATIVE_DIRECTION_CHANGE = 0.3
"""Fraction of a direction's deviation from the mean (logarithms) by which it may be changed."""

RATIO_BOUNDS = (0.25, 4.0)
"""Bounds of the ratio that a volume is multiplied by, relative to the gain."""


def gain_curve(levels: Array, plan: ShellPlan) -> Array:
    """Gain at signals of any shape: linear between the levels of the plan, constant beyond; the
    gain of tissue where the levels of source and target differ in order."""
    order = np.argsort(plan.source_levels)
    x, y = plan.source_levels[order], plan.target_levels[order]
    if (np.diff(x) <= 0).any() or (np.diff(y) <= 0).any():
        return np.full_like(levels, plan.gain)
    return np.interp(levels, x, y / x).astype(np.float32)


@frozen(eq=False)
class PlaceRatios:
    """Ratios (V,), after the shell model, of the mean of each shell, b = 0 first, and of the
    deviations of directions from it in each weighted shell."""

    means: tuple[Array, ...]
    deviations: tuple[Array, ...]


@frozen(eq=False)
class ShellHarmonizer:
    """Ratios by which volumes are multiplied, at the V voxels of the fits.

    ``bias`` (V,) is the receive field, which is divided out; ``place`` changes the result of the
    shell model from place to place.  ``mean_ratios`` (V,) are those of the mean image of each
    shell by the shell model, b = 0 first, within RATIO_BOUNDS of the gain.
    """

    fits: tuple[ShellFit, ...]
    plan: ShellPlan
    bias: Array
    place: PlaceRatios | None = None
    mean_ratios: tuple[Array, ...] = field(init=False)

    @mean_ratios.default
    def _mean_ratios(self) -> tuple[Array, ...]:
        _, gain = self._unweighted()
        low, high = (np.float32(bound) * gain / self.bias for bound in RATIO_BOUNDS)
        means = [np.maximum(fit.mean, 1e-6) for fit in self.fits]
        return tuple(
            np.clip(self.target_signal(shell, mean) / mean, low, high).astype(np.float32)
            for shell, mean in enumerate(means)
        )

    def ratio(self, shell: int, direction: NDArray[np.float64]) -> Array:
        """Ratio (V,) for a volume of a shell (0 is b = 0) along a direction (3,)."""
        ratio = self.shell_ratio(shell, direction)
        return ratio if self.place is None else ratio * self._place_ratio(shell, direction, ratio)

    def _place_ratio(self, shell: int, direction: NDArray[np.float64], ratio: Array) -> Array:
        """What the place changes of a volume that the shell model multiplies by a ratio (V,).

        All deviations of a shell are scaled alike, so the principal direction stays; as in
        `shell_ratio` a direction is not changed by more than a fraction of its own deviation, so
        no value becomes negative.  The mean stays below b = 0.
        """
        assert self.place is not None  # noqa: S101 - asked for only then
        mean_place = self.place.means[shell]
        if shell == 0:
            return mean_place
        b0, level = (
            np.maximum(self.fits[number].mean, 1e-6) * self.mean_ratios[number]
            for number in (0, shell)
        )
        # Where noise has lifted the mean above b = 0 already, no further.
        mean_place = np.minimum(mean_place, self.place.means[0] * np.maximum(b0 / level, 1))
        if self.fits[shell].order == 0:
            return mean_place
        expected = np.maximum(self.fits[shell].along(direction), 1e-6) * ratio
        deviation = (expected - level) * self.place.deviations[shell - 1]
        least = np.minimum(np.float32(MIN_RELATIVE_SIGNAL) * level, expected)
        placed = np.maximum(mean_place * level + deviation, least)
        change = np.log(placed / (expected * mean_place))
        bound = np.float32(MAX_RELATIVE_DIRECTION_CHANGE) * np.abs(np.log(expected / level))
        return np.asarray(mean_place * np.exp(np.clip(change, -bound, bound)))

    def shell_ratio(self, shell: int, direction: NDArray[np.float64]) -> Array:
        """The ratio by the shell model alone.

        It deviates from the ratio of the mean by at most MAX_RELATIVE_DIRECTION_CHANGE of the
        direction's own deviation: at the noise floor that is noise, which must not be amplified.
        """
        mean_ratio = self.mean_ratios[shell]
        fit = self.fits[shell]
        if fit.order == 0:
            return mean_ratio
        signal = np.maximum(fit.along(direction), 1e-6)
        change = np.log(self.target_signal(shell, signal) / signal / mean_ratio)
        deviation = np.abs(np.log(signal / np.maximum(fit.mean, 1e-6)))
        bound = np.float32(MAX_RELATIVE_DIRECTION_CHANGE) * deviation
        return np.asarray(mean_ratio * np.exp(np.clip(change, -bound, bound)))

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
