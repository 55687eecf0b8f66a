"""Agreement: published values, identities, and what gaps and few people do."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from bids_ihf.validation import agreement
from bids_ihf.validation.agreement import Estimate

SHROUT_FLEISS = np.array(
    [[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]],
    dtype=np.float64,
)
"""Six people rated by four judges (Shrout and Fleiss 1979, Table 2)."""


def test_icc_of_shrout_and_fleiss() -> None:
    """Table 4 of the paper; the intervals are those that R's psych::ICC prints for these data."""
    absolute = agreement.intraclass_correlation(SHROUT_FLEISS, absolute=True)
    consistent = agreement.intraclass_correlation(SHROUT_FLEISS, absolute=False)
    assert absolute.value == pytest.approx(0.29, abs=0.005)
    assert (absolute.low, absolute.high) == pytest.approx((0.019, 0.76), abs=0.005)
    assert consistent.value == pytest.approx(0.71, abs=0.005)
    assert (consistent.low, consistent.high) == pytest.approx((0.342, 0.95), abs=0.005)


def test_a_constant_difference_lowers_agreement_and_not_consistency() -> None:
    people = np.array([500.0, 560, 610, 720])
    measured = np.stack([people, people + 60], axis=1)
    assert agreement.intraclass_correlation(measured, absolute=False).value == pytest.approx(1)
    assert agreement.intraclass_correlation(measured, absolute=True).value < 0.9
    same = agreement.intraclass_correlation(np.stack([people, people], axis=1), absolute=True)
    assert same == Estimate(1, 1, 1)


@pytest.mark.parametrize("absolute", [True, False])
def test_the_interval_of_icc_covers_the_truth(*, absolute: bool) -> None:
    """Of 300 draws with an ICC of 0.8, nearly 95 % of the intervals hold it."""
    rng, covered = np.random.default_rng(3), 0
    for _ in range(300):
        people, noise = rng.normal(size=(15, 1)), rng.normal(size=(15, 3))
        estimate = agreement.intraclass_correlation(2 * people + noise, absolute=absolute)
        covered += estimate.low <= 0.8 <= estimate.high
    assert 0.91 < covered / 300 < 0.99


def test_differences_and_variation_of_known_volumes() -> None:
    measured = np.array([[95.0, 105.0, np.nan], [100.0, 100.0, 100.0], [50.0, np.nan, np.nan]])
    differences = agreement.person_differences(measured)
    assert differences[:2] == pytest.approx([10, 0])
    assert np.isnan(differences[2])
    variation = agreement.person_variation(measured)
    assert variation[:2] == pytest.approx([100 * np.sqrt(50) / 100, 0])
    assert np.isnan(variation[2])


def test_the_largest_table_without_gaps() -> None:
    gap = np.nan
    measured = np.array([[1, 2, gap], [2, 3, gap], [4, 5, gap], [6, 6, 7], [1.0, gap, gap]])
    people, scanners = agreement.complete_block(measured)
    assert (people.tolist(), scanners.tolist()) == ([0, 1, 2, 3], [0, 1])
    assert agreement.complete_block(measured[3:])[0].size == 0
    found = agreement.measure_agreement(measured)
    assert (found.people, found.icc_people, found.icc_scanners) == (4, 4, 2)


def test_one_person_has_differences_but_no_icc() -> None:
    found = agreement.measure_agreement(np.array([[95.0, 105.0]]))
    assert found.difference.value == pytest.approx(10)
    assert np.isnan([found.difference.low, found.absolute.value]).all()


def test_verdict_depends_on_the_interval() -> None:
    before = np.array([[90.0, 110], [95, 116], [100, 120], [85, 103]])
    middle = before.mean(axis=1, keepdims=True)
    better, worse = middle + 0.5 * (before - middle), middle + 1.5 * (before - middle)
    verdicts = [
        agreement.change_verdict(agreement.difference_change(before, after))
        for after in (better, worse, before)
    ]
    assert verdicts == ["helped", "harmed", "no clear difference"]
    few = agreement.difference_change(before[:1], better[:1])
    assert few.value < 0
    assert agreement.change_verdict(few) == "no clear difference"


def test_mean_with_interval_is_that_of_student() -> None:
    """With 4 values: t of 3 degrees of freedom is 3.182."""
    values = np.array([1.0, 2, 3, 4, np.nan])
    estimate = agreement.mean_with_interval(values)
    assert estimate.value == 2.5
    assert estimate.high - 2.5 == pytest.approx(3.182 * np.std([1, 2, 3, 4], ddof=1) / 2, rel=1e-3)


def test_the_largest_table_is_that_of_all_sets_of_scanners() -> None:
    rng = np.random.default_rng(0)
    for _ in range(40):
        measured = np.where(rng.random((9, 6)) < 0.6, 1.0, np.nan)
        people, scanners = agreement.complete_block(measured)
        sizes = [0]
        for count in range(2, 7):
            for chosen in combinations(range(6), count):
                on_all = int(np.isfinite(measured[:, chosen]).all(axis=1).sum())
                sizes.append(count * on_all if on_all >= 2 else 0)
        assert people.size * scanners.size == max(sizes)
        assert np.isfinite(measured[np.ix_(people, scanners)]).all()


def test_many_scanners_take_no_longer() -> None:
    measured = np.full((60, 60), np.nan)
    for person in range(60):
        measured[person, [person, (person + 1) % 60, 0]] = 1.0
    people, scanners = agreement.complete_block(measured)
    assert people.size * scanners.size == 4  # neighbors share two scanners
