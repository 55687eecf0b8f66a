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

RANGES_FILE = "ranges.json"
RANGE_PERCENTILES = {"low": 5.0, "middle": 50.0, "high": 95.0}
"""Ends and middle of the range that counts as usual."""

TrafficLight = Literal["green", "amber", "red"]
AbnormalSide = Literal["low", "high", "both"]

ABNORMAL_SIDE: dict[str, AbnormalSide] = {
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
class ReferenceRange:
    """Usual values of a measure: percentiles 5, 50 and 95 on simulated scans."""

    low: float
    middle: float
    high: float

    def light(self, value: float, bad: AbnormalSide) -> TrafficLight:
        """Green within the range, or beyond it on a good side; red farther beyond than the range
        is wide; amber between."""
        below = self.low - value if bad != "high" else 0.0
        above = value - self.high if bad != "low" else 0.0
        beyond = max(below, above)
        if beyond <= 0:
            return "green"
        return "amber" if beyond <= self.high - self.low else "red"


@frozen
class ReferenceRanges:
    """Ranges by modality and measure, and how they were measured."""

    modalities: Mapping[str, Mapping[str, ReferenceRange]]
    record: Mapping[str, Any] = field(factory=dict)

    def of(self, modality: str, measure: str) -> ReferenceRange | None:
        """The range of a measure; None where it was not measured."""
        return self.modalities.get(modality, {}).get(measure)


def reference_range(values: Sequence[float]) -> ReferenceRange | None:
    """The range of measured values; None where fewer than two are finite."""
    known = [value for value in values if np.isfinite(value)]
    if len(known) < 2:
        return None
    return ReferenceRange(
        *(float(np.percentile(known, share)) for share in RANGE_PERCENTILES.values())
    )


def to_dict(ranges: ReferenceRanges) -> dict[str, Any]:
    """The content of a file, four significant digits each."""
    modalities = {
        modality: {
            measure: {end: float(f"{getattr(found, end):.4g}") for end in RANGE_PERCENTILES}
            for measure, found in measures.items()
        }
        for modality, measures in ranges.modalities.items()
    }
    return {"percentiles": RANGE_PERCENTILES, **modalities, "record": dict(ranges.record)}


def read_ranges(path: Path) -> ReferenceRanges:
    """Read a file of ranges.

    Raises
    ------
    BadData
        It cannot be read or is no such file.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        modalities = {
            modality: {measure: ReferenceRange(**ends) for measure, ends in measures.items()}
            for modality, measures in content.items()
            if modality not in {"percentiles", "record"}
        }
        return ReferenceRanges(modalities, content["record"])
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise BadData(f"{path}: no ranges of measures ({error}); install anew.") from error


@lru_cache(maxsize=1)
def shipped_ranges() -> ReferenceRanges:
    """The ranges that come with the package; none where it has no such file.

    Raises
    ------
    BadData
        The file cannot be used.
    """
    from importlib import resources
    from pathlib import Path

    path = Path(str(resources.files("bids_ihf") / "data" / RANGES_FILE))
    return read_ranges(path) if path.is_file() else ReferenceRanges({})
