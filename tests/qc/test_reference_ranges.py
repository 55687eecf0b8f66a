"""Reference ranges of the measures and their traffic lights."""

from __future__ import annotations

from pathlib import Path

import pytest

from bids_ihf.bids.scans_table import MEASURE_COLUMNS
from bids_ihf.bids.sidecars import to_json
from bids_ihf.errors import BadData
from bids_ihf.lab.benchmarks.reference_ranges import reference_range
from bids_ihf.network.checkpoint import load_encoder
from bids_ihf.qc.reference_ranges import (
    ABNORMAL_SIDE,
    AbnormalSide,
    ReferenceRange,
    ReferenceRanges,
    read_ranges,
    shipped_ranges,
    to_dict,
)


@pytest.mark.parametrize(
    ("abnormal", "value", "light"),
    [
        ("high", 0.1, "green"), ("high", 2.0, "green"), ("high", 2.9, "amber"),
        ("high", 3.1, "red"), ("low", 9.0, "green"), ("low", 0.5, "amber"),
        ("low", -0.5, "red"), ("both", 0.5, "amber"), ("both", 9.0, "red"),
    ],
)  # fmt: skip
def test_lights(abnormal: AbnormalSide, value: float, light: str) -> None:
    assert ReferenceRange(1.0, 1.5, 2.0).light(value, abnormal) == light


def test_range_of_values() -> None:
    assert reference_range([*range(101), float("nan")]) == ReferenceRange(5, 50, 95)
    assert reference_range([1.0, float("nan")]) is None


def test_file(tmp_path: Path) -> None:
    path = tmp_path / "ranges.json"
    content = ReferenceRanges({"T1w": {"snr_after": ReferenceRange(1.0, 2.0, 3.0)}}, {"seed": 1})
    path.write_bytes(to_json(to_dict(content)))
    assert read_ranges(path) == content
    path.write_text('{"T1w": {"snr_after": 3}, "record": {}}')
    with pytest.raises(BadData):
        read_ranges(path)


def test_measures_with_a_light_are_in_the_scans_table() -> None:
    assert set(ABNORMAL_SIDE) <= set(MEASURE_COLUMNS)


def test_shipped_ranges_are_those_of_the_shipped_encoder() -> None:
    ranges = shipped_ranges()
    assert ranges.record["encoder"] == load_encoder()[1]
    for modality in ("T1w", "T2w"):
        assert set(ranges.modalities[modality]) == set(ABNORMAL_SIDE)
        for limits in ranges.modalities[modality].values():
            assert limits.low <= limits.middle <= limits.high
