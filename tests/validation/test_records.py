"""Agreement of records: which images count, repeats, and ComBat fitted to other people."""

from __future__ import annotations

import numpy as np
import pytest
from attrs import evolve

from bids_ihf.validation.outcomes import IHF_HARMONY, UNTOUCHED
from bids_ihf.validation.records import (
    COMBAT,
    HARMONY_COMBAT,
    VolumeRecord,
    combat_records,
    for_target,
    structure_agreements,
)
from bids_ihf.validation.scans import Scan
from tests.validation.test_volume_files import scan


def person_scans(count: int) -> list[Scan]:
    """Two scanners for each person, the first one twice."""
    scans = []
    for number in range(count):
        for session, scanner, repeat in (("a", "GE", 0), ("b", "Siemens", 0), ("c", "GE", 1)):
            name = f"sub-{number:02d}_ses-{session}_T1w"
            scans.append(Scan(scan(name).image, scanner, None, repeat))
    return scans


def records(count: int, gap: float, method: str = UNTOUCHED) -> list[VolumeRecord]:
    """Grey and white matter of people who differ, Siemens larger by a gap (%)."""
    target = None if method == UNTOUCHED else "GE"
    rng = np.random.default_rng(0)
    size = 600 * (1 + 0.1 * rng.normal(size=count))
    noise = rng.normal(0, 2, 3 * count)
    return [
        VolumeRecord(one, method, target, "segmentation", structure, value)
        for index, one in enumerate(person_scans(count))
        for structure, factor in (("grey matter", 1.0), ("white matter", 0.7))
        for value in [
            factor * size[index // 3] * (1 + gap / 100 * (one.scanner == "Siemens")) + noise[index]
        ]
    ]


def test_agreement_before_and_after() -> None:
    table = structure_agreements(for_target(records(8, 6) + records(8, 1, IHF_HARMONY), "GE"))
    grey = {row.method: row for row in table if row.structure == "grey matter"}
    before, after = grey[UNTOUCHED], grey[IHF_HARMONY]
    assert before.agreement.difference.value == pytest.approx(6, abs=0.5)
    assert after.agreement.difference.value == pytest.approx(1, abs=0.3)
    assert after.change.value == pytest.approx(-5, abs=0.5)
    assert (before.verdict, after.verdict) == ("", "helped")
    assert after.agreement.absolute.value > before.agreement.absolute.value
    assert before.repeat.value < 1  # noise alone, with no gap between scanners
    assert (before.images, before.agreement.people) == (24, 8)
    # Siemens images, a third of all, shrank from +6 to +1 %.
    assert after.shift.value == pytest.approx(100 * (1.01 / 1.06 - 1) / 3, abs=0.05)


def test_other_targets_do_not_count() -> None:
    assert for_target(records(2, 1, IHF_HARMONY), "Siemens") == []


def test_an_image_without_volumes_after_counts_in_no_change() -> None:
    after = [r for r in records(8, 1, IHF_HARMONY) if r.scan.person != "00"]
    table = structure_agreements(records(8, 6) + after)
    grey = next(row for row in table if row.method == IHF_HARMONY)
    assert grey.agreement.people == 7
    assert np.isfinite(grey.change.high)


def test_combat_of_people_left_out_brings_scanners_together() -> None:
    both = records(12, 6) + records(12, 3, IHF_HARMONY)
    table = structure_agreements(both + combat_records(both, {}))
    grey = {row.method: row for row in table if row.structure == "grey matter"}
    assert set(grey) == {UNTOUCHED, IHF_HARMONY, COMBAT, HARMONY_COMBAT}
    assert grey[COMBAT].agreement.difference.value < 3
    assert grey[COMBAT].verdict == grey[HARMONY_COMBAT].verdict == "helped"


def test_a_person_has_no_part_in_the_fit_that_adjusts_them() -> None:
    """With the fit of other people, volumes are adjusted by a straight line."""
    name = next(one.name for one in person_scans(6) if one.person == "03")
    adjusted = []
    for factor in (1, 2, 3):
        rows = [
            evolve(r, volume_ml=r.volume_ml * (factor if r.scan.person == "03" else 1))
            for r in records(6, 6)
        ]
        found = {(r.scan.name, r.structure): r.volume_ml for r in combat_records(rows, {})}
        adjusted.append(found[name, "grey matter"])
    assert adjusted[2] - adjusted[1] == pytest.approx(adjusted[1] - adjusted[0], rel=1e-9)
    assert adjusted[1] > adjusted[0] + 100


def test_too_few_people_for_combat() -> None:
    with pytest.raises(ValueError, match="3 images"):
        combat_records(records(3, 6), {})


def test_a_structure_that_nobody_has_costs_no_other(caplog: pytest.LogCaptureFixture) -> None:
    rows = records(12, 6)
    empty = [
        evolve(r, structure="5th ventricle", volume_ml=0.0)
        for r in rows
        if r.structure == "white matter"
    ]
    found = combat_records(rows + empty, {})
    alone = {(r.scan.name, r.structure): r.volume_ml for r in combat_records(rows, {})}
    for record in found:
        if record.structure == "5th ventricle":
            assert np.isnan(record.volume_ml)
        else:
            assert record.volume_ml == alone[record.scan.name, record.structure]
    assert "5th ventricle (segmentation)" in caplog.text
