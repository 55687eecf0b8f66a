"""Diffusion profiles on disk: those of the vendors, and those in target files."""

from __future__ import annotations

import hashlib
import json
import math
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import attrs

from bids_ihf.dwi.profile import DiffusionProfile, KnownScanner, ShellProfile, merge_profiles
from bids_ihf.errors import BadData
from bids_ihf.targets.target import DIFFUSION_KEY, is_builtin

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bids_ihf.targets.target import Target

VENDOR_PROFILES_FILE = "diffusion.json"
KEY, COUNT = DIFFUSION_KEY, "dwi_scans"
"""Where a target's record holds its diffusion profile, and of how many series."""

SIGNIFICANT_DIGITS = 6


def pack_profile(profile: DiffusionProfile) -> dict[str, Any]:
    """A profile as plain numbers, six digits each; what is not known is null."""
    return {
        "levels": [_plain(level) for level in profile.levels],
        "floor": _plain(profile.floor),
        "shells": [
            {name: _plain(value) for name, value in attrs.asdict(shell).items()}
            for shell in profile.shells
        ],
    }


def unpack_profile(content: Mapping[str, Any]) -> DiffusionProfile:
    """The profile that `pack_profile` wrote.

    Raises
    ------
    BadData
        A part is missing or of another kind.
    """
    try:
        tissue, fluid = (_number(level) for level in content["levels"])
        shells = tuple(
            ShellProfile(**{name: _number(value) for name, value in shell.items()})
            for shell in content["shells"]
        )
        profile = DiffusionProfile((tissue, fluid), _number(content["floor"]), shells)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BadData(
            "The target's diffusion profile is damaged; build the target again."
        ) from error
    if not shells or not math.isfinite(profile.levels[0]):
        raise BadData("The target's diffusion profile has no shell; build the target again.")
    return profile


def record_of(profiles: Sequence[DiffusionProfile]) -> dict[str, Any]:
    """What a target's record says of diffusion, from the profiles of one scanner's series.

    Raises
    ------
    BadData
        The series have different shells.
    """
    if not profiles:
        return {}
    try:
        merged = merge_profiles(profiles)
    except ValueError as error:
        raise BadData(
            f"The diffusion series are of different protocols ({error}); select those of one."
        ) from error
    return {KEY: pack_profile(merged), COUNT: len(profiles)}


def content_of(target: Target) -> Mapping[str, Any] | None:
    """What a target knows of diffusion: its own record, or the built-in vendor's of its name."""
    own = target.record.get(KEY)
    if own is not None:
        return dict(own)
    # A vendor's own file carries no record of its people; any other has one.
    return builtin().get(target.name) if is_builtin(target) else None


def builtin() -> dict[str, Any]:
    """The vendors' profiles by name."""
    text = (files("bids_ihf") / "data" / VENDOR_PROFILES_FILE).read_text(encoding="utf-8")
    return dict(json.loads(text)["targets"])


def diffusion_hash_of(target: Target) -> str:
    """SHA-256 of a target's diffusion profile; empty where it has none."""
    content = content_of(target)
    return "" if content is None else _hash(content)


def builtin_hash() -> str:
    """SHA-256 of all that is known of the vendors' scanners."""
    return _hash(builtin())


def _hash(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def profile_of_target(target: Target) -> DiffusionProfile:
    """The diffusion profile of a target.

    Raises
    ------
    BadData
        It has none, or a damaged one.
    """
    content = content_of(target)
    if content is None:
        raise BadData(
            f"{target.name}: this target knows no diffusion; name a vendor, or a target built "
            "from diffusion series."
        )
    return unpack_profile(content)


def scanner_of_vendor(vendor: str) -> KnownScanner | None:
    """What is known of a vendor's scanners; None of another vendor's."""
    content = builtin().get(vendor)
    return None if content is None else KnownScanner.of_vendor(unpack_profile(content), vendor)


def scanner_of_target(target: Target) -> KnownScanner:
    """The scanner whose series a target was built from.

    Raises
    ------
    BadData
        It was built from no diffusion series.
    """
    profile = profile_of_target(target)
    if is_builtin(target):
        return KnownScanner.of_vendor(profile, target.name)
    return KnownScanner.of_people(profile, int(target.record.get(COUNT, 1)), target.name)


def _plain(value: float) -> float | None:
    return float(f"{value:.{SIGNIFICANT_DIGITS}g}") if math.isfinite(value) else None


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)
