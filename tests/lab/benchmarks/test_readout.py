"""The linear read-out: what it finds where it is known what there is to find."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from sklearn.covariance import ledoit_wolf_shrinkage
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from bids_ihf.lab.benchmarks.metrics.discriminants import discriminate, shrinkage
from bids_ihf.lab.benchmarks.metrics.readout import (
    read_out,
    scanner_and_person_readout,
    variance_shares,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

FEATURES = 60


def crossed(
    of_scanner: float, of_person: float, seed: int = 0, scanners: int = 4, people: int = 6
) -> tuple[NDArray[np.float64], NDArray[np.intp], NDArray[np.intp]]:
    """Statistics of every person by every scanner: what either adds, and noise of 1."""
    rng = np.random.default_rng(seed)
    scanner, person = (a.ravel() for a in np.mgrid[:scanners, :people])
    data = rng.normal(size=(scanners * people, FEATURES))
    data += of_scanner * rng.normal(size=(scanners, FEATURES))[scanner]
    data += of_person * rng.normal(size=(people, FEATURES))[person]
    return data, scanner, person


def test_scanners_are_told_apart_and_people_are_not() -> None:
    found = scanner_and_person_readout(*crossed(3, 0))
    assert found.scanner.accuracy == 1
    assert found.scanner.chance == 0.25
    assert found.scanner.classes == 4
    assert found.scanner.permuted < 0.6
    assert found.person.chance == pytest.approx(1 / 6)
    assert found.person.accuracy <= found.person.permuted


def test_people_are_told_apart_where_they_differ() -> None:
    found = scanner_and_person_readout(*crossed(1, 3))
    assert found.person.accuracy > 0.95
    assert found.scanner.accuracy < 0.9


def test_what_is_constant_in_a_group_is_no_clue() -> None:
    """A feature that marks the pair of scanner and person helps no one who is left out."""
    _, scanner, person = crossed(0, 0)
    marks = np.eye(24)[np.arange(24)] * 10
    found = read_out(marks, scanner, person)
    assert found.accuracy <= found.permuted


def test_variance_is_shared_out() -> None:
    data, scanner, person = crossed(3, 1)
    found = variance_shares(data * np.linspace(0.1, 9, FEATURES) + 5, scanner, person)
    assert found.scanner + found.person + found.rest == pytest.approx(1)
    # Drawn as 9 : 1 : 1; deviations of four scanners hold three quarters of their variance.
    assert 0.65 < found.scanner < 0.85
    assert 0.06 < found.person < 0.2
    alike = variance_shares(np.ones((24, 2)) * person[:, None], scanner, person)
    assert (alike.scanner, alike.person) == pytest.approx((0, 1))
    with pytest.raises(ValueError, match="equally often"):
        variance_shares(data[1:], scanner[1:], person[1:])


def test_permutations_are_drawn_alike() -> None:
    data, scanner, person = crossed(0.3, 0)
    first, again = (read_out(data, scanner, person, seed=4) for _ in range(2))
    assert first == again


def test_names_and_order_of_rows_do_not_matter() -> None:
    data, scanner, person = crossed(0.5, 1)
    order = np.random.default_rng(1).permutation(len(data))
    names = np.array(["GE", "Philips", "Siemens", "UIH"])[scanner]
    plain = read_out(data, scanner, person, permutations=0)
    other = read_out(data[order], names[order], person[order], permutations=0)
    assert other.accuracy == plain.accuracy
    assert np.isnan(other.permuted)


def test_shrinkage_is_ledoit_and_wolfs() -> None:
    rows = np.random.default_rng(0).normal(size=(30, 80)) * np.linspace(0.1, 3, 80)
    expected = ledoit_wolf_shrinkage(rows, assume_centered=True)
    assert shrinkage(rows, 80) == pytest.approx(expected)
    turned = rows @ np.linalg.svd(rows, full_matrices=False)[2].T
    assert shrinkage(turned, 80) == pytest.approx(expected)


def test_discriminants_agree_with_scikit_learn() -> None:
    rng = np.random.default_rng(2)
    labels = np.repeat([0, 1, 2], 20)
    train = rng.normal(size=(60, 5)) + np.eye(3, 5)[labels]
    test = rng.normal(size=(200, 5))
    residuals = train - np.stack([train[labels == k].mean(axis=0) for k in range(3)])[labels]
    covariance = residuals.T @ residuals / 60
    amount = shrinkage(residuals, 5)
    shrunk = (1 - amount) * covariance + amount * np.trace(covariance) / 5 * np.eye(5)

    class Known:
        covariance_ = shrunk

        def fit(self, rows: NDArray[np.float64]) -> Known:
            return self

    theirs = LinearDiscriminantAnalysis(
        solver="lsqr", covariance_estimator=Known(), priors=[1 / 3] * 3
    ).fit(train, labels)
    np.testing.assert_array_equal(discriminate(train, labels, test, 3, 5), theirs.predict(test))


def test_one_row_a_class_falls_back_to_the_nearest() -> None:
    train = np.eye(3)
    found = discriminate(train, np.arange(3), train + 0.1, 3, 3)
    np.testing.assert_array_equal(found, np.arange(3))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda d, s, p: (d[:-1], s, p), "length"),
        (lambda d, s, p: (d, s * 0, p), "two labels"),
        (lambda d, s, p: (d, s, p * 0), "two labels and two groups"),
        (lambda d, s, p: (d * np.nan, s, p), "finite"),
    ],
)
def test_what_cannot_be_read_out(change: object, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        read_out(*change(*crossed(1, 1)))  # type: ignore[operator]
