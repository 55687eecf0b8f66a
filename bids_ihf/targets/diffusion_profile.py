"""The profile of a scanner's diffusion series, shell by shell, and how files hold it."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import attrs
import numpy as np
from attrs import frozen

from bids_ihf.io.paths import packaged_file
from bids_ihf.targets.profile import finite_median

VENDOR_PROFILES_FILE = "diffusion.json"
"""File in the package's ``data`` folder with the profiles of the built-in vendors."""

B_VALUE_TOLERANCE = 0.1
"""Relative difference up to which the b-values of two series' shells count as equal."""

SIGNIFICANT_DIGITS = 6
"""Digits of the numbers in files."""


@frozen
class ShellProfile:
    """One diffusion-weighted shell of b-value ``b``, s/mm2.

    ``fibrous`` and ``other`` are the median attenuation -ln(S / S0) / b (mm2/s) of the more
    anisotropic half of brain tissue and of the other half; ``anisotropy`` is the former's standard
    deviation over directions, NaN where directions are too few.
    """

    b: float
    fibrous: float
    other: float
    anisotropy: float


@frozen(eq=False)
class DiffusionProfile:
    """Profile of one diffusion series, or the median of several of one protocol.

    ``levels`` are the signals at b = 0 of brain tissue and of CSF (NaN if too little CSF), and
    ``floor`` is the mean magnitude of noise alone, in scanner units; ``shells`` are sorted by
    b-value; ``scan_count`` is the number of series.
    """

    levels: tuple[float, float]
    floor: float
    shells: tuple[ShellProfile, ...]
    scan_count: int = 1

    def nearest(self, b: float) -> ShellProfile:
        """The shell whose b-value is nearest."""
        return min(self.shells, key=lambda shell: abs(shell.b - b))

    def at(self, b: float) -> ShellProfile:
        """The profile of a shell at ``b`` (s/mm2): linear in b between the shells, constant
        beyond."""

        def interpolate(name: str) -> float:
            points = [(shell.b, getattr(shell, name)) for shell in self.shells]
            finite = np.array([point for point in points if np.isfinite(point[1])])
            return float(np.interp(b, *finite.T)) if finite.size else float("nan")

        return ShellProfile(
            b, interpolate("fibrous"), interpolate("other"), interpolate("anisotropy")
        )


def merge_diffusion_profiles(profiles: Sequence[DiffusionProfile]) -> DiffusionProfile:
    """One profile from several subjects' series of one protocol: medians of all numbers.

    Raises
    ------
    ValueError
        The series have different shells.
    """
    first = [shell.b for shell in profiles[0].shells]
    for profile in profiles[1:]:
        bvals = [shell.b for shell in profile.shells]
        if len(bvals) != len(first) or not np.allclose(bvals, first, rtol=B_VALUE_TOLERANCE):
            texts = (" ".join(f"{b:.0f}" for b in values) for values in (first, bvals))
            raise ValueError("one series has shells at {} s/mm2, another at {}".format(*texts))
    tissue, csf = (finite_median(c) for c in zip(*(p.levels for p in profiles), strict=True))
    return DiffusionProfile(
        levels=(tissue, csf),
        floor=finite_median([profile.floor for profile in profiles]),
        shells=tuple(
            ShellProfile(*map(finite_median, zip(*map(attrs.astuple, shells), strict=True)))
            for shells in zip(*(profile.shells for profile in profiles), strict=True)
        ),
        scan_count=sum(profile.scan_count for profile in profiles),
    )


def attenuation_distance(profile: DiffusionProfile, target: DiffusionProfile) -> float:
    """Root mean square of the log ratios of the tissues' attenuations, over all shells."""
    logs = [
        np.log(getattr(target.at(shell.b), name) / getattr(shell, name))
        for shell in profile.shells
        for name in ("fibrous", "other")
    ]
    return float(np.sqrt(np.nanmean(np.square(logs))))


def to_content(profile: DiffusionProfile) -> dict[str, Any]:
    """A profile as JSON content, SIGNIFICANT_DIGITS each; NaN is null."""

    def plain(value: float) -> float | None:
        return float(f"{value:.{SIGNIFICANT_DIGITS}g}") if math.isfinite(value) else None

    return {
        "levels": [plain(level) for level in profile.levels],
        "floor": plain(profile.floor),
        "shells": [
            {name: plain(value) for name, value in attrs.asdict(shell).items()}
            for shell in profile.shells
        ],
    }


def from_content(content: Mapping[str, Any], scan_count: int = 1) -> DiffusionProfile:
    """The profile that `to_content` wrote.

    Raises
    ------
    ValueError
        An entry is missing or of another type.
    """

    def number(value: float | None) -> float:
        return math.nan if value is None else float(value)

    try:
        tissue, csf = (number(level) for level in content["levels"])
        shells = tuple(
            ShellProfile(**{name: number(value) for name, value in shell.items()})
            for shell in content["shells"]
        )
        profile = DiffusionProfile((tissue, csf), number(content["floor"]), shells, scan_count)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ValueError("the diffusion profile is damaged") from error
    if not shells or not math.isfinite(tissue):
        raise ValueError("the diffusion profile has no shell")
    return profile


@lru_cache(maxsize=1)
def vendor_diffusion_profiles() -> dict[str, DiffusionProfile]:
    """The typical profiles of the built-in vendors, by name."""
    content = json.loads(packaged_file(VENDOR_PROFILES_FILE).read_text(encoding="utf-8"))
    return {vendor: from_content(profile) for vendor, profile in content["targets"].items()}


def diffusion_hash(profile: DiffusionProfile | None) -> str:
    """SHA-256 of a profile's content; empty for None."""
    return "" if profile is None else _json_hash(to_content(profile))


def vendor_diffusion_hash() -> str:
    """SHA-256 of the built-in vendors' profiles."""
    return _json_hash({n: to_content(p) for n, p in vendor_diffusion_profiles().items()})


def _json_hash(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
