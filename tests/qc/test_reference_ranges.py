"""Known scans, what is out of range, usual values and their lights."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from bids_ihf.errors import BadData
from bids_ihf.lab.benchmarks.reference_ranges import chosen
from bids_ihf.qc import out_of_distribution as familiar
from bids_ihf.qc import reference_ranges as ranges
from bids_ihf.qc.reference_ranges import ABNORMAL_SIDE, ReferenceRange, ReferenceRanges
from bids_ihf.targets.intensity import HISTOGRAM_BINS, IntensityScale
from bids_ihf.targets.profile import Profile


def scan(scanner: float, person: int, positions: int = 6, start: int = 0) -> Profile:
    """A profile whose embeddings differ by position, by scanner and a little by person."""
    rng = np.random.default_rng(person)
    place = np.arange(start, start + positions)
    noise = rng.normal(scale=0.05, size=8)
    embeddings = place[:, None] + scanner + noise
    empty = np.zeros((3, HISTOGRAM_BINS))
    return Profile(
        place, np.ones((positions, HISTOGRAM_BINS)), embeddings.astype(np.float32),
        np.zeros(3), empty, IntensityScale(0.0, 1.0),
    )  # fmt: skip


@pytest.fixture(scope="module")
def known() -> familiar.ReferenceDistribution:
    profiles = [scan(scanner, person) for person in range(5) for scanner in (-1.0, 0.0, 1.0)]
    found, scores = familiar.fit_reference_distribution(
        profiles, [str(person) for person in range(5) for _ in "abc"]
    )
    assert max(scores) == pytest.approx(1)
    assert min(scores) > 0
    return found


class TestFamiliar:
    def test_near_and_far(self, known: familiar.ReferenceDistribution) -> None:
        assert known.score(scan(0.0, 77)) < 2
        assert known.score(scan(3.0, 77)) > 10

    def test_a_slab_counts_where_it_is(self, known: familiar.ReferenceDistribution) -> None:
        """Positions differ more than scanners do; a part of a head must not look strange."""
        assert known.score(scan(0.0, 77, positions=2, start=4)) < 2

    def test_nothing_shared(self, known: familiar.ReferenceDistribution) -> None:
        assert np.isnan(known.score(scan(0.0, 77, start=40)))

    def test_own_scans_do_not_count(self) -> None:
        """With one person apart from all others, the loneliest scan is that person's."""
        profiles = [scan(0.0, person) for person in range(4)] + [scan(2.0, 9), scan(2.0, 9)]
        _, scores = familiar.fit_reference_distribution(profiles, ["a", "b", "c", "d", "e", "e"])
        assert int(np.argmax(scores)) in {4, 5}

    def test_one_person_is_too_few(self) -> None:
        with pytest.raises(ValueError, match="two people"):
            familiar.fit_reference_distribution([scan(0.0, 1)], ["a"])

    def test_file(self, known: familiar.ReferenceDistribution, tmp_path: Path) -> None:
        path = tmp_path / "familiar.safetensors"
        reference = familiar.ReferenceScans("hash", {"T1w": known}, {"seed": 1})
        path.write_bytes(familiar.pack_reference(reference))
        found = familiar.read_reference(path)
        assert (found.encoder_hash, found.record) == ("hash", {"seed": 1})
        here = found.modalities["T1w"].score(scan(0.5, 77))
        assert here == pytest.approx(known.score(scan(0.5, 77)), rel=0.02)

    def test_other_files_are_refused(self, tmp_path: Path) -> None:
        with pytest.raises(BadData):
            familiar.read_reference(tmp_path / "none.safetensors")


class TestRanges:
    @pytest.mark.parametrize(
        ("bad", "value", "light"),
        [
            ("high", 0.1, "green"), ("high", 2.0, "green"), ("high", 2.9, "amber"),
            ("high", 3.1, "red"), ("low", 9.0, "green"), ("low", 0.5, "amber"),
            ("low", -0.5, "red"), ("both", 0.5, "amber"), ("both", 9.0, "red"),
        ],
    )  # fmt: skip
    def test_lights(self, bad: ranges.AbnormalSide, value: float, light: str) -> None:
        assert ReferenceRange(1.0, 1.5, 2.0).light(value, bad) == light

    def test_range_of_values(self) -> None:
        found = ranges.reference_range([*range(101), float("nan")])
        assert found == ReferenceRange(5, 50, 95)
        assert ranges.reference_range([1.0, float("nan")]) is None

    def test_file(self, tmp_path: Path) -> None:
        from bids_ihf.bids.sidecars import to_json

        path = tmp_path / "ranges.json"
        content = ReferenceRanges(
            {"T1w": {"snr_after": ReferenceRange(1.0, 2.0, 3.0)}}, {"seed": 1}
        )
        path.write_bytes(to_json(ranges.to_dict(content)))
        assert ranges.read_ranges(path) == content
        path.write_text('{"T1w": {"snr_after": 3}, "record": {}}')
        with pytest.raises(BadData):
            ranges.read_ranges(path)

    def test_judged_measures_are_measured(self) -> None:
        from bids_ihf.bids.scans_table import MEASURE_COLUMNS

        assert set(ABNORMAL_SIDE) <= set(MEASURE_COLUMNS)


class TestChosen:
    SCANS = tuple(
        SimpleNamespace(person=person, vendor=vendor, modality=modality)
        for person in ("a", "b", "c")
        for modality in ("T1w", "T2w")
        for vendor in ("GE", "GE", "Siemens", "random")
    )

    def pick(self, count: int) -> dict[int, bool]:
        scans: Any = self.SCANS
        return chosen(scans, count)

    def test_all(self) -> None:
        assert len(self.pick(99)) == len(self.SCANS)

    def test_makers_take_turns(self) -> None:
        found = self.pick(3)
        assert len(found) == 18
        first = [self.SCANS[number].vendor for number, harmonized in found.items() if harmonized]
        assert first == ["GE", "GE", "Siemens", "Siemens", "random", "random"]


class TestShipped:
    """The files in the package."""

    @staticmethod
    def encoder_hash() -> str:
        from bids_ihf.network.checkpoint import load_encoder

        return load_encoder()[1]

    def test_known_scans_are_of_the_shipped_encoder(self) -> None:
        found = familiar.shipped_reference(self.encoder_hash())
        assert found is not None, "measure anew with 'ihf benchmark POOL --ranges'"
        assert set(found.modalities) >= {"T1w", "T2w"}
        assert familiar.shipped_reference("of another encoder") is None

    def test_ranges_are_those_of_the_shipped_encoder(self) -> None:
        found = ranges.shipped_ranges()
        assert found.record["encoder"] == self.encoder_hash()
        for modality in ("T1w", "T2w"):
            assert set(found.modalities[modality]) == set(ABNORMAL_SIDE)
            for measured in found.modalities[modality].values():
                assert measured.low <= measured.middle <= measured.high
