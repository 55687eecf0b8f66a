"""How the shells of a diffusion series are changed: its profile compared with the target's."""

from __future__ import annotations

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from bids_ihf.targets.diffusion_profile import DiffusionProfile, ShellProfile
from bids_ihf.targets.source_profile import SourceProfile

DiffusionSource = SourceProfile[DiffusionProfile]

EXPONENT_BOUNDS = (0.75, 1.35)
"""Bounds of the exponent on attenuation; scanners that work as specified differ by less."""

ANISOTROPY_FACTOR_BOUNDS = (0.8, 1.25)
"""Bounds of the factor on the deviations between directions."""

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

EXPONENT_WARNING = (
    "The attenuation of a shell differs from the target's by more than scanners do (out-of-range "
    "score {:.2f}, limit 1); inspect the result before using this series."
)


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


def relative_exponent(plan: ShellPlan) -> float:
    """The largest exponent that a shell asks for: 0 is none, 1 the limit of what is applied."""
    low, high = np.log(EXPONENT_BOUNDS)
    logs = [float(np.log(shell.measured)) for shell in plan.shells]
    return max((log / (high if log > 0 else low) for log in logs), default=0.0)


def exponent_warning(plan: ShellPlan) -> str | None:
    """A sentence where a shell asks for more than the limit of what is applied."""
    score = relative_exponent(plan)
    return EXPONENT_WARNING.format(score) if score >= 1 else None


def shell_warnings(plan: ShellPlan) -> list[str]:
    """A sentence on each shell that differs from the target's by more than scanners do."""
    return [
        f"at b = {shell.b:.0f} s/mm2 the attenuation differs from the target's by more than "
        f"scanners do (an exponent of {shell.measured:.2f} would be needed, {shell.exponent:.2f} "
        "is applied); inspect the result."
        for shell in plan.shells
        if not EXPONENT_BOUNDS[0] < shell.measured < EXPONENT_BOUNDS[1]
    ]
