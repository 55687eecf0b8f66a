"""The measures of one image as a table, each beside what is usual on simulated scans."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from attrs import frozen

from bids_ihf.preprocessing.prepare import MIN_COVERAGE_TRUSTED, MIN_SIMILARITY_TRUSTED
from bids_ihf.qc.flags import MAX_ROUND_TRIP_ERROR, USUAL_BRAIN_VOLUME_ML
from bids_ihf.qc.out_of_distribution import MAX_OUT_OF_RANGE_SCORE
from bids_ihf.qc.reference_ranges import ABNORMAL_SIDE, ReferenceRange, shipped_ranges
from bids_ihf.reports import markup

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bids_ihf.bids.harmonized_images import HarmonizedImage
    from bids_ihf.qc.reference_ranges import AbnormalSide, TrafficLight

WORDS: dict[TrafficLight, str] = {"green": "usual", "amber": "unusual", "red": "far off"}
FIXED: dict[str, tuple[ReferenceRange, AbnormalSide]] = {
    "round_trip_max_error": (ReferenceRange(0.0, 0.0, MAX_ROUND_TRIP_ERROR), "high"),
    "mask_volume_ml": (
        ReferenceRange(
            USUAL_BRAIN_VOLUME_ML[0], sum(USUAL_BRAIN_VOLUME_ML) / 2, USUAL_BRAIN_VOLUME_ML[1]
        ),
        "both",
    ),
    "alignment_similarity": (
        ReferenceRange(MIN_SIMILARITY_TRUSTED, (1 + MIN_SIMILARITY_TRUSTED) / 2, 1.0),
        "low",
    ),
    "alignment_coverage": (
        ReferenceRange(MIN_COVERAGE_TRUSTED, (1 + MIN_COVERAGE_TRUSTED) / 2, 1.0),
        "low",
    ),
}
"""Limits that were not measured here but set: see `checks` and docs/brain.md."""


@frozen
class Line:
    """A line of the table: words, the columns before and after, unit."""

    words: str
    before: str | None
    after: str | None
    unit: str = ""


LINES = (
    Line("Distance to the target, encoder statistics", "distance_before", "distance_after"),
    Line(
        "Distance to the target, grey matter", "wasserstein_grey_before", "wasserstein_grey_after"
    ),
    Line(
        "Distance to the target, white matter",
        "wasserstein_white_before",
        "wasserstein_white_after",
    ),
    Line("Distance to the target, fluid", "wasserstein_csf_before", "wasserstein_csf_after"),
    Line("Size of the change, share of the brain's range", None, "change_share"),
    Line("Size of the change, RMS in its units", None, "change_rms"),
    Line("SNR of white matter", "snr_before", "snr_after"),
    Line("CNR of white and grey matter", "cnr_before", "cnr_after"),
    Line("Grey over white matter", "contrast_before", "contrast_after"),
    Line("Grey matter seen", "grey_ml_before", "grey_ml_after", "ml"),
    Line("White matter seen", "white_ml_before", "white_ml_after", "ml"),
    Line("Fluid seen", "csf_ml_before", "csf_ml_after", "ml"),
    Line("Fractional anisotropy, median", "fa_before", "fa_after"),
    Line("Brain mask", "mask_volume_ml", None, "ml"),
    Line("Alignment to the template, likeness", "alignment_similarity", None),
    Line("Share of the template's brain seen", "alignment_coverage", None),
    Line("Out-of-range score", "out_of_range_score", None),
    Line("Round-trip error", None, "round_trip_max_error"),
)
HEAD = ("Measure", "Before", "After", "Usual", "")


def measures_table(image: HarmonizedImage) -> str:
    """Return the table of what is known of an image."""
    return markup.table(HEAD, list(_rows(image)))


def _rows(image: HarmonizedImage) -> Iterator[tuple[markup.Cell, ...]]:
    for line in LINES:
        columns = [column for column in (line.before, line.after) if column]
        if all(image.number(column) is None for column in columns):
            continue
        judged = line.after or line.before or ""
        usual, light = judge(image, judged)
        words = f"{line.words} ({line.unit})" if line.unit else line.words
        yield words, _value(image, line.before), _value(image, line.after), usual, _light(light)


def _value(image: HarmonizedImage, column: str | None) -> markup.Cell:
    value = image.number(column) if column else None
    if column is None or value is None:
        return "" if column is None else "n/a"
    return markup.number(column, short(value))


def short(value: float) -> str:
    """Four significant digits, without an exponent where a person would write none."""
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def judge(image: HarmonizedImage, column: str) -> tuple[str, TrafficLight | None]:
    """Return what is usual of a measure, in words, and the light of this image's value; nothing
    where it is not known."""
    found: ReferenceRange | None
    if column in FIXED:
        found, bad = FIXED[column]
    elif column == "out_of_range_score":
        found, bad = ReferenceRange(0.0, 0.5, MAX_OUT_OF_RANGE_SCORE), "high"
    elif column in ABNORMAL_SIDE:
        found, bad = shipped_ranges().of(image.suffix, column), ABNORMAL_SIDE[column]
    else:
        return "", None
    value = image.number(column)
    if found is None or value is None:
        return "", None
    words = {
        "low": f"from {short(found.low)}",
        "high": f"up to {short(found.high)}",
        "both": f"{short(found.low)} to {short(found.high)}",
    }
    if column == "out_of_range_score" and value > MAX_OUT_OF_RANGE_SCORE:
        return words[bad], "red"
    return words[bad], found.light(value, bad)


def verdict(image: HarmonizedImage) -> markup.Cell:
    """Return how many lights of an image are red and amber, in the worst one's colour."""
    judged = [line.after or line.before or "" for line in LINES]
    lights = Counter(light for column in judged if (light := judge(image, column)[1]))
    if not lights:
        return "n/a"
    bad = [f"{lights[light]} {WORDS[light]}" for light in ("red", "amber") if lights[light]]
    worst = next(light for light in ("red", "amber", "green") if lights[light])
    words = ", ".join(bad) or WORDS["green"]
    return markup.Markup(f'<span class="light {worst}">{words}</span>')


def _light(light: TrafficLight | None) -> markup.Cell:
    if light is None:
        return ""
    return markup.Markup(f'<span class="light {light}">{WORDS[light]}</span>')
