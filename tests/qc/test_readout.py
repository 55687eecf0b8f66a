"""The linear read-out: what it finds where it is known what there is to find."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from sklearn.covariance import ledoit_wolf
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from bids_ihf.qc.readout import nearest_class, read_out

if TYPE_CHECKING:
    from numpy.typing import NDArray

FEATURE_COUNT = 60


def crossed(
    scanner_effect: float, subject_effect: float, seed: int = 0
) -> tuple[NDArray[np.float64], NDArray[np.intp], NDArray[np.intp]]:
    """Features of 6 subjects, each by 4 scanners: the effect of either, and noise of 1."""
    rng = np.random.default_rng(seed)
    scanner, subject = (index.ravel() for index in np.mgrid[:4, :6])
    data = rng.normal(size=(24, FEATURE_COUNT))
    data += scanner_effect * rng.normal(size=(4, FEATURE_COUNT))[scanner]
    data += subject_effect * rng.normal(size=(6, FEATURE_COUNT))[subject]
    return data, scanner, subject


def test_scanners_are_told_apart_and_subjects_are_not() -> None:
    data, scanner, subject = crossed(3, 0)
    by_scanner, by_subject = read_out(data, scanner, subject), read_out(data, subject, scanner)
    assert by_scanner.accuracy == 1
    assert by_scanner.chance == 0.25
    assert by_scanner.classes == 4
    assert by_scanner.permuted < 0.6
    assert by_subject.chance == pytest.approx(1 / 6)
    assert by_subject.accuracy <= by_subject.permuted


def test_subjects_are_told_apart_where_they_differ() -> None:
    data, scanner, subject = crossed(1, 3)
    assert read_out(data, subject, scanner, permutations=0).accuracy > 0.95
    assert read_out(data, scanner, subject, permutations=0).accuracy < 0.9


def test_people_with_one_scanner_each_exchange_it() -> None:
    """Of 40 people in ten groups, chance names 60 % or so, not the 80 % of whole groups."""
    rng = np.random.default_rng(0)
    person, scanner = np.arange(40), np.arange(40) // 20
    data = rng.normal(size=(40, FEATURE_COUNT)) + np.outer(scanner, np.full(FEATURE_COUNT, 1.5))
    result = read_out(data, scanner, person % 10, people=person)
    assert result.accuracy > 0.9
    assert 0.5 < result.permuted < 0.75


def test_what_marks_a_single_row_is_no_clue() -> None:
    """A feature that marks the pair of scanner and subject helps no one who is left out."""
    _, scanner, subject = crossed(0, 0)
    result = read_out(np.eye(24) * 10, scanner, subject)
    assert result.accuracy <= result.permuted


def test_permutations_are_drawn_alike() -> None:
    data, scanner, subject = crossed(0.3, 0)
    first, again = (read_out(data, scanner, subject, seed=4) for _ in range(2))
    assert first == again


def test_names_and_order_of_rows_do_not_matter() -> None:
    data, scanner, subject = crossed(0.5, 1)
    order = np.random.default_rng(1).permutation(len(data))
    names = np.array(["GE", "Philips", "Siemens", "UIH"])[scanner]
    plain = read_out(data, scanner, subject, permutations=0)
    other = read_out(data[order], names[order], subject[order], permutations=0)
    assert other.accuracy == plain.accuracy
    assert np.isnan(other.permuted)


def test_scale_of_a_feature_counts_only_unless_standardized() -> None:
    data, scanner, subject = crossed(1, 0)
    scaled = data * np.where(np.arange(FEATURE_COUNT) < 3, 1e-3, 1.0)
    plain, same = (read_out(rows, scanner, subject, permutations=0) for rows in (data, scaled))
    assert same.accuracy == plain.accuracy
    # Noise a thousand times as large as all that differs between scanners drowns it.
    noisy = np.hstack([data, 1e3 * np.random.default_rng(2).normal(size=(24, 3))])
    results = [
        read_out(noisy, scanner, subject, permutations=0, standardize=standardize).accuracy
        for standardize in (True, False)
    ]
    assert results[0] > 0.9 > results[1]


def test_a_class_is_nearest_by_the_covariance_within_classes() -> None:
    """Rows vary along the diagonal: a row far along it belongs to the class on its line."""
    rng = np.random.default_rng(0)
    classes = np.repeat([0, 1], 500)
    diagonal, across = rng.normal(0, [5, 0.1], (1000, 2)).T
    train = np.column_stack([diagonal + across + classes, diagonal - across])
    test = np.array([[3.0, 3.0], [4.0, 3.0], [-6.0, -6.0], [-5.0, -6.0]])
    np.testing.assert_array_equal(nearest_class(train, classes, test), [0, 1, 0, 1])


def test_discriminants_agree_with_those_of_scikit_learn() -> None:
    rng = np.random.default_rng(2)
    classes = np.repeat([0, 1, 2], 20)
    train = rng.normal(size=(60, 5)) + np.eye(3, 5)[classes]
    test = rng.normal(size=(200, 5))
    residuals = train - np.stack([train[classes == k].mean(axis=0) for k in range(3)])[classes]
    shrunk = ledoit_wolf(residuals, assume_centered=True)[0]

    class Pooled:
        """The covariance of all classes together, which LDA would otherwise take of each."""

        covariance_ = shrunk

        def fit(self, rows: NDArray[np.float64]) -> Pooled:
            return self

    reference = LinearDiscriminantAnalysis(
        solver="lsqr", covariance_estimator=Pooled(), priors=[1 / 3] * 3
    ).fit(train, classes)
    np.testing.assert_array_equal(nearest_class(train, classes, test), reference.predict(test))


def test_one_row_a_class_falls_back_to_the_nearest() -> None:
    train = np.eye(3)
    np.testing.assert_array_equal(nearest_class(train, np.arange(3), train + 0.1), np.arange(3))


def test_a_class_without_training_rows_is_never_named() -> None:
    classes = np.repeat([0, 2], 10)
    train = np.random.default_rng(0).normal(size=(20, 3)) + 9 * classes[:, None]
    np.testing.assert_array_equal(nearest_class(train, classes, train), classes)


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
