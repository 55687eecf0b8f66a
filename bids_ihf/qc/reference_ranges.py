"""What the measures of an image are on simulated scans, and where one image stands among these."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from attrs import field, frozen

from bids_ihf.errors import BadData

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

FILE = "ranges.json"
PERCENTILES = {"low": 5.0, "middle": 50.0, "high": 95.0}
"""Ends and middle of the range that counts as usual."""

Light = Literal["green", "amber", "red"]
Side = Literal["low", "high", "both"]

BAD_SIDE: dict[str, Side] = {
    "distance_after": "high",
    "wasserstein_grey_after": "high",
    "wasserstein_white_after": "high",
    "wasserstein_csf_after": "high",
    "change_share": "high",
    "snr_after": "low",
    "cnr_after": "low",
    "contrast_after": "both",
    "out_of_range_score": "high",
}
"""The measures that have a light, and which side of the usual range is a bad sign."""


@frozen
class Range:
    """Usual values of a measure: percentiles 5, 50 and 95 on simulated scans."""

    low: float
    middle: float
    high: float

    def light(self, value: float, bad: Side) -> Light:
        """Green within the range, or beyond it on a good side; red farther beyond than the range
        is wide; amber between."""
        below = self.low - value if bad != "high" else 0.0
        above = value - self.high if bad != "low" else 0.0
        beyond = max(below, above)
        if beyond <= 0:
            return "green"
        return "amber" if beyond <= self.high - self.low else "red"


@frozen
class Ranges:
    """Ranges by modality and measure, and how they were measured."""

    modalities: Mapping[str, Mapping[str, Range]]
    record: Mapping[str, Any] = field(factory=dict)

    def of(self, modality: str, measure: str) -> Range | None:
        """The range of a measure; None where it was not measured."""
        return self.modalities.get(modality, {}).get(measure)


def range_of(values: Sequence[float]) -> Range | None:
    """The range of measured values; None where fewer than two are finite."""
    known = [value for value in values if np.isfinite(value)]
    if len(known) < 2:
        return None
    return Range(*(float(np.percentile(known, share)) for share in PERCENTILES.values()))


def to_dict(ranges: Ranges) -> dict[str, Any]:
    """The content of a file, four significant digits each."""
    modalities = {
        modality: {
            measure: {end: float(f"{getattr(found, end):.4g}") for end in PERCENTILES}
            for measure, found in measures.items()
        }
        for modality, measures in ranges.modalities.items()
    }
    return {"percentiles": PERCENTILES, **modalities, "record": dict(ranges.record)}


def read_ranges(path: Path) -> Ranges:
    """Read a file of ranges.

    Raises
    ------
    BadData
        It cannot be read or is no such file.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        modalities = {
            modality: {measure: Range(**ends) for measure, ends in measures.items()}
            for modality, measures in content.items()
            if modality not in {"percentiles", "record"}
        }
        return Ranges(modalities, content["record"])
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise BadData(f"{path}: no ranges of measures ({error}); install anew.") from error


@lru_cache(maxsize=1)
def shipped_ranges() -> Ranges:
    """The ranges that come with the package; none where it has no such file.

    Raises
    ------
    BadData
        The file cannot be used.
    """
    from importlib import resources
    from pathlib import Path

    path = Path(str(resources.files("bids_ihf") / "data" / FILE))
    return read_ranges(path) if path.is_file() else Ranges({})
