"""Ranges of the measures on simulated scans, and where one image stands among them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from attrs import asdict, field, frozen

from bids_ihf.errors import BadData
from bids_ihf.io.paths import packaged_file

RANGES_FILE = "ranges.json"
"""File of the ranges in the package's ``data`` folder."""

RANGE_PERCENTILES = {"low": 5.0, "middle": 50.0, "high": 95.0}
"""Percentiles that make a range, as the file names them."""

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
"""The measures with a traffic light, and on which side of the range values are abnormal."""


@frozen
class ReferenceRange:
    """Percentiles 5, 50 and 95 of a measure on simulated scans."""

    low: float
    middle: float
    high: float

    def light(self, value: float, abnormal: AbnormalSide) -> TrafficLight:
        """Green within the range or beyond on the normal side, red if beyond by more than the
        width of the range, amber between.

        >>> measure = ReferenceRange(1.0, 1.5, 2.0)
        >>> [measure.light(value, "high") for value in (0.0, 2.5, 3.5)]
        ['green', 'amber', 'red']
        """
        below = self.low - value if abnormal != "high" else 0.0
        above = value - self.high if abnormal != "low" else 0.0
        excess = max(below, above)
        if excess <= 0:
            return "green"
        return "amber" if excess <= self.high - self.low else "red"


@frozen
class ReferenceRanges:
    """Ranges by modality and measure, and how they were measured."""

    modalities: Mapping[str, Mapping[str, ReferenceRange]]
    record: Mapping[str, Any] = field(factory=dict)

    def of(self, modality: str, measure: str) -> ReferenceRange | None:
        """The range of a measure; None if there is none."""
        return self.modalities.get(modality, {}).get(measure)


def to_dict(ranges: ReferenceRanges) -> dict[str, Any]:
    """The content of a file of ranges, four significant digits each."""
    modalities = {
        modality: {
            measure: {name: float(f"{value:.4g}") for name, value in asdict(limits).items()}
            for measure, limits in measures.items()
        }
        for modality, measures in ranges.modalities.items()
    }
    return {"percentiles": RANGE_PERCENTILES, **modalities, "record": dict(ranges.record)}


def read_ranges(path: Path) -> ReferenceRanges:
    """Read a file of ranges.

    Raises
    ------
    BadData
        It cannot be read or has other content.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        modalities = {
            modality: {measure: ReferenceRange(**limits) for measure, limits in measures.items()}
            for modality, measures in content.items()
            if modality not in {"percentiles", "record"}
        }
        return ReferenceRanges(modalities, content["record"])
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise BadData(
            f"{path}: no readable reference ranges ({error}); reinstall the package."
        ) from error


@lru_cache(maxsize=1)
def shipped_ranges() -> ReferenceRanges:
    """The ranges that come with the package; empty if there is no such file.

    Raises
    ------
    BadData
        The file cannot be used.
    """
    path = packaged_file(RANGES_FILE)
    return read_ranges(path) if path.is_file() else ReferenceRanges({})
