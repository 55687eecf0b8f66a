"""Profiles of the maps that the directions of diffusion series share, among those of a target."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from bids_ihf.network.checkpoint import ModelBundle
from bids_ihf.targets.profile import Profile, merge_profiles

DIFFUSION_MAPS = ("b0", "shell-mean", "shell-energy")
"""Names of the maps, as the network is told them: the mean image without weighting, and of each
shell the mean over its directions and the root of their energy of order 2."""

MapProfiles = Mapping[tuple[str, int], Profile]
"""Profiles of the maps of one series, by name and number of the shell; 0 is b = 0."""

_KEY_PATTERN = re.compile(r"(shell-mean|shell-energy)-b(\d+)")


def map_key(name: str, b: float) -> str:
    """Key of a map's profile in a target: its name, for a shell with the b-value in s/mm2.

    >>> map_key("b0", 0), map_key("shell-mean", 995.0)
    ('b0', 'shell-mean-b995')
    """
    return name if name == DIFFUSION_MAPS[0] else f"{name}-b{b:.0f}"


def is_map_key(key: str) -> bool:
    """Whether a profile is that of a diffusion map.

    >>> is_map_key("T1w"), is_map_key("shell-energy-b1000")
    (False, True)
    """
    return key == DIFFUSION_MAPS[0] or _KEY_PATTERN.fullmatch(key) is not None


def merge_maps(series: Sequence[MapProfiles], b_values: Sequence[float]) -> dict[str, Profile]:
    """Profiles of the maps of several series of one protocol, by their keys in a target.

    ``b_values`` are those of its weighted shells, s/mm2.
    """
    merged = {}
    for name, shell in sorted({key for maps in series for key in maps}):
        key = map_key(name, b_values[shell - 1] if shell else 0.0)
        merged[key] = merge_profiles(
            [maps[name, shell] for maps in series if (name, shell) in maps]
        )
    return merged


def has_maps(profiles: Mapping[str, Profile]) -> bool:
    """Whether a target has the profiles of b0 and of the mean of a shell."""
    return all(nearest_map_key(profiles, name, 0) is not None for name in DIFFUSION_MAPS[:2])


def knows_maps(model: ModelBundle) -> bool:
    """Whether the network was trained on the maps; one whose record tells nothing was not."""
    data = model.record.get("settings", {}).get("data", {})
    return set(DIFFUSION_MAPS) <= set(data.get("modalities", ()))


def serves_series(model: ModelBundle) -> bool:
    """Whether the network is meant for series: trained on the maps, and its record says that it
    brings series nearer to each other (``for_series``), which a loss on maps does not show."""
    settings = model.record.get("settings", {}).get("network", {})
    return knows_maps(model) and settings.get("for_series") is True


def nearest_map_key(profiles: Mapping[str, Profile], name: str, b: float) -> str | None:
    """Key of the profile of a map, for a shell of the one whose b-value (s/mm2) is nearest; None
    without any.

    >>> nearest_map_key({"shell-mean-b1000": None, "shell-mean-b3000": None}, "shell-mean", 1500)
    'shell-mean-b1000'
    """
    if name == DIFFUSION_MAPS[0]:
        return name if name in profiles else None
    matches = [match for key in profiles if (match := _KEY_PATTERN.fullmatch(key))]
    same = [match for match in matches if match[1] == name]
    nearest = min(same, key=lambda match: abs(float(match[2]) - b), default=None)
    return nearest[0] if nearest else None
