"""Reference ranges of an image's measures, and flags of values outside them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from attrs import frozen

from bids_ihf.bids.harmonized_images import HarmonizedImage
from bids_ihf.preprocessing.prepare import MIN_COVERAGE_TRUSTED, MIN_SIMILARITY_TRUSTED
from bids_ihf.qc.flags import MAX_ROUND_TRIP_ERROR, USUAL_BRAIN_VOLUME_ML
from bids_ihf.qc.out_of_distribution import MAX_OUT_OF_RANGE_SCORE
from bids_ihf.qc.reference_ranges import (
    ABNORMAL_SIDE,
    AbnormalSide,
    ReferenceRange,
    TrafficLight,
    shipped_ranges,
)
from bids_ihf.reports.templates import format_number

FLAG_LABELS: dict[TrafficLight, str] = {
    "red": "far outside range",
    "amber": "outside range",
    "green": "within range",
}
"""The worst first."""
FIXED_RANGES: Mapping[str, tuple[float, float, AbnormalSide]] = {
    "round_trip_max_error": (0.0, MAX_ROUND_TRIP_ERROR, "high"),
    "mask_volume_ml": (*USUAL_BRAIN_VOLUME_ML, "both"),
    "alignment_similarity": (MIN_SIMILARITY_TRUSTED, 1.0, "low"),
    "alignment_coverage": (MIN_COVERAGE_TRUSTED, 1.0, "low"),
    "out_of_range_score": (0.0, MAX_OUT_OF_RANGE_SCORE, "high"),
}
"""Ranges that were set (see `bids_ihf.qc.flags` and docs/brain.md) and not measured."""


@frozen
class ReferenceFlag:
    """The reference range of a measure in words, and how the value of an image compares."""

    reference: str
    colour: TrafficLight
    label: str


def reference_flag(image: HarmonizedImage, column: str) -> ReferenceFlag | None:
    """Compare a measure with its reference range; None if either is unknown."""
    expected: ReferenceRange | None
    if column in FIXED_RANGES:
        low, high, abnormal = FIXED_RANGES[column]
        expected = ReferenceRange(low, (low + high) / 2, high)
    elif column in ABNORMAL_SIDE:
        expected, abnormal = shipped_ranges().of(image.modality, column), ABNORMAL_SIDE[column]
    else:
        return None
    value = image.number(column)
    if expected is None or value is None:
        return None
    lower, upper = format_number(expected.low), format_number(expected.high)
    texts = {"low": f"≥ {lower}", "high": f"≤ {upper}", "both": f"{lower} to {upper}"}
    # The sidecar warns of a score outside the range, so it is never amber.
    out_of_range = column == "out_of_range_score" and value > expected.high
    colour = "red" if out_of_range else expected.light(value, abnormal)
    return ReferenceFlag(texts[abnormal], colour, FLAG_LABELS[colour])


def lacks_reference_ranges(image: HarmonizedImage) -> bool:
    """Whether no range was measured for anatomical images of this modality."""
    return image.suffix != "dwi" and image.modality not in shipped_ranges().modalities


def flag_summary(image: HarmonizedImage) -> tuple[TrafficLight, str] | None:
    """Return the worst flag of an image, and how many are red and amber in words."""
    flags = [reference_flag(image, column) for column in {**FIXED_RANGES, **ABNORMAL_SIDE}]
    counts = Counter(flag.colour for flag in flags if flag)
    if not counts:
        return None
    worst = next(colour for colour in FLAG_LABELS if counts[colour])
    outside = [f"{counts[c]} {FLAG_LABELS[c]}" for c in ("red", "amber") if counts[c]]
    return worst, ", ".join(outside) or FLAG_LABELS["green"]
