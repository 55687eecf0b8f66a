"""Harmonize a diffusion series: one set of numbers per shell, the same for all its directions.

What differs between scanners is undone in the order in which it came about.  The source's noise
floor is taken off the expected signal, the attenuation of a shell is brought to the target's by
one exponent (as if the b-value had been another), b 0 by one gain curve, and the target's floor is
put on again.  The expected signal comes from the harmonics of the shell; each volume is multiplied
by the ratio of the expected signals after and before, so it stays non-negative, keeps its noise,
and where only gains differ all directions have one ratio.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from attrs import evolve, frozen

from bids_ihf.dwi.profile import above_floor

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from bids_ihf.bids.gradient_tables import GradientTable
    from bids_ihf.dwi.profile import DiffusionProfile, KnownScanner, ShellProfile
    from bids_ihf.dwi.shell_fit import ShellFit

    Array = NDArray[np.float32]

EXPONENT_BOUNDS = (0.75, 1.35)
"""Bounds of the exponent on attenuation: more is no difference between working scanners."""

ANISOTROPY_FACTOR_BOUNDS = (0.8, 1.25)
"""Bounds of the factor on the directions' deviations."""

MAX_DIRECTION_CHANGE = 0.3
"""Share of a direction's deviation from the mean (logarithms) by which it may change."""

RATIO_BOUNDS = (0.25, 4.0)
"""Bounds of what a volume is multiplied by, beside the gain."""


@frozen
class ShellChange:
    """What is done to one shell.

    b, target_b: its b-value and that of the target's shell, s/mm2.
    exponent: of the attenuation; ``measured`` is the one that the series alone asks for.
    anisotropy: factor on the deviation of the attenuation's logarithm between directions.
    """

    b: float
    target_b: float
    exponent: float
    anisotropy: float
    measured: float


@frozen(eq=False)
class ShellPlan:
    """What is done to a series: noise floors and levels at b 0 of both sides, in their units, and
    the weighted shells."""

    source_floor: float
    target_floor: float
    source_levels: NDArray[np.float64]
    target_levels: NDArray[np.float64]
    shells: tuple[ShellChange, ...]

    @property
    def gain(self) -> float:
        """Target units for one unit of the source, in tissue."""
        return float(self.target_levels[0] / self.source_levels[0])


def make_plan(
    source: DiffusionProfile, target: DiffusionProfile, scanner: KnownScanner | None = None
) -> ShellPlan:
    """Compare the profile of a series with the target's.

    With a known ``scanner``, shells are changed as that scanner and the target differ, and by the
    scanner's share of what the series deviates from it; so most of what is a person's own stays.
    The directions' deviations are then scaled too: anisotropy differs more between people than
    between scanners, so a single series cannot tell by how much.
    """
    seen = np.isfinite(source.levels) & np.isfinite(target.levels)
    seen[0] = True
    ours, theirs = np.asarray(source.levels)[seen], np.asarray(target.levels)[seen]
    changes = [_change(shell, target, scanner) for shell in source.shells]
    return ShellPlan(source.floor, target.floor, ours, theirs, tuple(changes))


def _change(
    shell: ShellProfile, target: DiffusionProfile, scanner: KnownScanner | None
) -> ShellChange:
    wanted = target.at(shell.b)
    measured = _log_ratio(wanted, shell)
    exponent, factor = measured, 0.0
    if scanner is not None:
        typical = scanner.profile.at(shell.b)
        known = _log_ratio(wanted, typical)
        exponent = known + scanner.attenuation * (measured - known)
        # Anisotropy over attenuation: an exponent changes both alike.
        known_factor = np.log(wanted.anisotropy / typical.anisotropy) - known
        own_factor = np.log(wanted.anisotropy / shell.anisotropy) - measured
        factor = known_factor + scanner.anisotropy * (own_factor - known_factor)
        factor = float(np.nan_to_num(factor))
    return ShellChange(
        shell.b,
        target.nearest(shell.b).b,
        exponent=float(np.clip(np.exp(exponent), *EXPONENT_BOUNDS)),
        anisotropy=float(np.clip(np.exp(factor), *ANISOTROPY_FACTOR_BOUNDS)),
        measured=float(np.exp(measured)),
    )


def _log_ratio(wanted: ShellProfile, own: ShellProfile) -> float:
    """Logarithm of the exponent that leads from one shell's attenuation to another's."""
    ratios = np.array([wanted.fibrous / own.fibrous, wanted.other / own.other])
    return float(np.nanmean(np.log(ratios)))


def gain_curve(levels: Array, plan: ShellPlan) -> Array:
    """Gain at signals of any shape: that of the nearest levels, linear between them.

    One gain for all where the levels of both sides are in another order.
    """
    order = np.argsort(plan.source_levels)
    x, y = plan.source_levels[order], plan.target_levels[order]
    if (np.diff(x) <= 0).any() or (np.diff(y) <= 0).any():
        return np.full_like(levels, plan.gain)
    return np.interp(levels, x, y / x).astype(np.float32)


@frozen(eq=False)
class ShellHarmonizer:
    """Ratios by which volumes are multiplied, at the V voxels of the fits.

    ``bias`` (V,) is the receive field, which is divided out.  ``means`` are the ratios (V,) for
    the mean image of each shell, b 0 first; see :func:`make_changer`.
    """

    fits: tuple[ShellFit, ...]
    plan: ShellPlan
    bias: Array
    means: tuple[Array, ...] = ()

    def ratio(self, shell: int, direction: NDArray[np.float64]) -> Array:
        """Ratio (V,) for a volume of a shell (0 is b 0) along a direction.

        A direction's ratio may leave that of the mean by at most DEVIATION of what the direction
        itself deviates: at the noise floor a deviation is noise, which must not grow.
        """
        common = self.means[shell]
        fit = self.fits[shell]
        if fit.order == 0:
            return common
        expected = fit.along(direction)
        own = np.log(self.wanted(shell, expected) / np.maximum(expected, 1e-6) / common)
        reach = np.float32(MAX_DIRECTION_CHANGE) * np.abs(
            np.log(expected / np.maximum(fit.mean, 1e-6))
        )
        return np.asarray(common * np.exp(np.clip(own, -reach, reach)))

    def mean_ratio(self, shell: int) -> Array:
        """Ratio (V,) for the mean image of a shell, no more than RATIOS from the gain."""
        mean = np.maximum(self.fits[shell].mean, 1e-6)
        _, gain = self._unweighted()
        low, high = (np.float32(bound) * gain / self.bias for bound in RATIO_BOUNDS)
        return np.clip(self.wanted(shell, mean) / mean, low, high).astype(np.float32)

    def wanted(self, shell: int, expected: Array) -> Array:
        """What a shell's expected signal (V,) becomes."""
        source, gain = self._unweighted()
        if shell == 0:
            return self._onto_floor(source * gain, expected)
        change = self.plan.shells[shell - 1]
        base = np.maximum(source * self.bias, 1e-6)
        free, mean = (
            np.maximum(above_floor(signal, self.plan.source_floor), 1e-6)
            for signal in (expected, self.fits[shell].mean)
        )
        log_mean, deviation = np.log(mean / base), np.log(free / mean)
        log_ratio = change.exponent * (np.minimum(log_mean, 0) + change.anisotropy * deviation)
        log_ratio += np.maximum(log_mean, 0)
        return self._onto_floor(source * gain * np.exp(log_ratio), expected)

    def _unweighted(self) -> tuple[Array, Array]:
        """Signal (V,) at b 0 without floor and bias, and the gain there."""
        source = above_floor(self.fits[0].mean, self.plan.source_floor) / self.bias
        return source, gain_curve(source, self.plan)

    def _onto_floor(self, signal: Array, measured: Array) -> Array:
        """Signal on the target's floor; where ``measured`` lay below its own floor, as far below
        the target's."""
        floor = np.float32(self.plan.target_floor)
        own = self.plan.source_floor
        if own > 0:
            taken = np.square(measured) - np.square(above_floor(measured, own))
            return np.sqrt(np.square(signal) + np.maximum(taken, 0) * np.square(floor / own))
        return np.hypot(signal, floor)


def make_harmonizer(fits: tuple[ShellFit, ...], plan: ShellPlan, bias: Array) -> ShellHarmonizer:
    """The changer of a series, the ratios of its shells' means computed."""
    changer = ShellHarmonizer(fits, plan, bias)
    return evolve(changer, means=tuple(changer.mean_ratio(k) for k in range(len(fits))))


def harmonize_volumes(
    volumes: Iterator[Array],
    gradients: GradientTable,
    changer: ShellHarmonizer,
    where: NDArray[np.bool_],
    weight: Array,
    air_gain: float,
) -> Iterator[tuple[Array, Array]]:
    """Each volume (X, Y, Z) before and after.

    ``where`` marks the voxels of the fits, ``weight`` (X, Y, Z) is 1 in the head and falls to 0
    in the air, which is multiplied by ``air_gain`` alone.
    """
    shell_of = {
        int(volume): number
        for number, fit in enumerate(changer.fits)
        for volume in fit.shell.volumes
    }
    for number, volume in enumerate(volumes):
        ratio = np.full(volume.shape, air_gain, dtype=np.float32)
        found = changer.ratio(shell_of[number], gradients.bvecs[number])
        share = weight[where]
        ratio[where] = share * found + (1 - share) * np.float32(air_gain)
        yield volume, volume * ratio
