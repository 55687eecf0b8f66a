"""The measures of one image beside their reference ranges."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from attrs import frozen

from bids_ihf.preprocessing.prepare import MIN_COVERAGE_TRUSTED, MIN_SIMILARITY_TRUSTED
from bids_ihf.qc.flags import MAX_ROUND_TRIP_ERROR, USUAL_BRAIN_VOLUME_ML
from bids_ihf.qc.out_of_distribution import MAX_OUT_OF_RANGE_SCORE
from bids_ihf.qc.reference_ranges import ABNORMAL_SIDE, ReferenceRange, shipped_ranges
from bids_ihf.reports.templates import format_number

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bids_ihf.bids.harmonized_images import HarmonizedImage
    from bids_ihf.qc.reference_ranges import AbnormalSide, TrafficLight

FLAG_LABELS: dict[TrafficLight, str] = {
    "red": "far outside range",
    "amber": "outside range",
    "green": "within range",
}
"""The worst first."""


def _between(low: float, high: float) -> ReferenceRange:
    return ReferenceRange(low, (low + high) / 2, high)


FIXED_RANGES: Mapping[str, tuple[ReferenceRange, AbnormalSide]] = {
    "round_trip_max_error": (ReferenceRange(0.0, 0.0, MAX_ROUND_TRIP_ERROR), "high"),
    "mask_volume_ml": (_between(*USUAL_BRAIN_VOLUME_ML), "both"),
    "alignment_similarity": (_between(MIN_SIMILARITY_TRUSTED, 1.0), "low"),
    "alignment_coverage": (_between(MIN_COVERAGE_TRUSTED, 1.0), "low"),
    "out_of_range_score": (_between(0.0, MAX_OUT_OF_RANGE_SCORE), "high"),
}
"""Ranges that were set (see `bids_ihf.qc.flags` and docs/brain.md) and not measured."""


@frozen
class MeasureLine:
    """A line of the table: its label and the columns before and after harmonization."""

    label: str
    before: str | None
    after: str | None

    @property
    def judged(self) -> str:
        """The column that is compared with the reference range."""
        return self.after or self.before or ""


def _before_and_after(label: str, column: str) -> MeasureLine:
    return MeasureLine(label, f"{column}_before", f"{column}_after")


MEASURE_LINES = (
    _before_and_after("Distance to target, encoder embedding", "distance"),
    _before_and_after("Distance to target, grey matter intensities", "wasserstein_grey"),
    _before_and_after("Distance to target, white matter intensities", "wasserstein_white"),
    _before_and_after("Distance to target, CSF intensities", "wasserstein_csf"),
    MeasureLine("RMS change, relative to the brain's intensity range", None, "change_share"),
    MeasureLine("RMS change, image units", None, "change_rms"),
    _before_and_after("White matter SNR", "snr"),
    _before_and_after("Grey-white matter CNR", "cnr"),
    _before_and_after("Grey-to-white-matter contrast", "contrast"),
    _before_and_after("Grey matter volume in sampled slices (mL)", "grey_ml"),
    _before_and_after("White matter volume in sampled slices (mL)", "white_ml"),
    _before_and_after("CSF volume in sampled slices (mL)", "csf_ml"),
    _before_and_after("Median fractional anisotropy", "fa"),
    MeasureLine("Brain mask volume (mL)", "mask_volume_ml", None),
    MeasureLine("Similarity to the template", "alignment_similarity", None),
    MeasureLine("Fraction of the template brain covered", "alignment_coverage", None),
    MeasureLine("Out-of-range score", "out_of_range_score", None),
    MeasureLine("Round-trip error", None, "round_trip_max_error"),
)


@frozen
class MeasureRow:
    """A measured line: values, reference range in words, and flag, each None where unknown."""

    line: MeasureLine
    before: float | None
    after: float | None
    reference: str | None
    flag: TrafficLight | None

    @property
    def flag_label(self) -> str:
        """The flag in words."""
        return FLAG_LABELS[self.flag] if self.flag else ""


def measure_rows(image: HarmonizedImage) -> list[MeasureRow]:
    """Return the lines of which the image has any value."""
    rows = []
    for line in MEASURE_LINES:
        before, after = (image.number(column or "") for column in (line.before, line.after))
        if before is not None or after is not None:
            rows.append(MeasureRow(line, before, after, *_compare(image, line.judged)))
    return rows


def _compare(image: HarmonizedImage, column: str) -> tuple[str | None, TrafficLight | None]:
    """Return the reference range of a measure in words, and the flag of this image's value."""
    expected: ReferenceRange | None
    if column in FIXED_RANGES:
        expected, side = FIXED_RANGES[column]
    elif column in ABNORMAL_SIDE:
        expected, side = shipped_ranges().of(image.suffix, column), ABNORMAL_SIDE[column]
    else:
        return None, None
    value = image.number(column)
    if expected is None or value is None:
        return None, None
    low, high = format_number(expected.low), format_number(expected.high)
    reference = {"low": f"≥ {low}", "high": f"≤ {high}", "both": f"{low} to {high}"}[side]
    if column == "out_of_range_score" and value > expected.high:
        return reference, "red"  # the sidecar warns of such an image
    return reference, expected.light(value, side)


def flag_summary(image: HarmonizedImage) -> tuple[TrafficLight, str] | None:
    """Return the worst flag of an image, and how many are red and amber in words."""
    flags = Counter(row.flag for row in measure_rows(image) if row.flag)
    if not flags:
        return None
    worst = next(flag for flag in FLAG_LABELS if flags[flag])
    abnormal = [f"{flags[f]} {FLAG_LABELS[f]}" for f in FLAG_LABELS if f != "green" and flags[f]]
    return worst, ", ".join(abnormal) or FLAG_LABELS["green"]
