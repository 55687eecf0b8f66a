"""Linear read-out: how well rows of features are assigned to their class on groups left out.

Linear discriminant analysis with equal priors; the pooled covariance is shrunk towards a multiple
of the identity (Ledoit & Wolf 2004, J Multivar Anal 88:365), since there are often more features
than rows.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

PERMUTATION_COUNT = 100
PERMUTATION_PERCENTILE = 95.0
"""Percentile (%) of the accuracies under permuted labels that is reported."""

MIN_FEATURE_SD = 1e-9
"""Features that vary less over the training rows are left out."""


@frozen
class ReadOut:
    """Accuracy of a linear classifier on groups left out of its training.

    Attributes
    ----------
    accuracy
        Fraction of the rows that are assigned to their class.
    chance
        Accuracy of always naming the most frequent class.
    permuted
        PERMUTATION_PERCENTILE of the accuracies under permuted labels; NaN without permutations.
    classes
        Number of classes.
    """

    accuracy: float
    chance: float
    permuted: float
    classes: int


def read_out(
    features: NDArray[np.floating],
    labels: NDArray[Any],
    groups: NDArray[Any],
    *,
    people: NDArray[Any] | None = None,
    seed: int = 0,
    permutations: int = PERMUTATION_COUNT,
    standardize: bool = True,
) -> ReadOut:
    """Leave-one-group-out accuracy of linear discriminants.

    Parameters
    ----------
    features
        (N, F).
    labels, groups
        Class and group of each row, (N,), of any type that can be sorted.
    people
        Person of each row, (N,), where a group left out holds several; the groups by default.
    seed, permutations
        In each permutation the labels of a person exchange their names, so that rows of one label
        and person stay together; people with one label each exchange it with each other.
    standardize
        Scale each feature to unit variance over the training rows.

    Raises
    ------
    ValueError
        Fewer than two labels or groups, the lengths differ, or a value is not finite.
    """
    from sklearn.feature_selection import VarianceThreshold
    from sklearn.model_selection import LeaveOneGroupOut
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    data = np.asarray(features, dtype=np.float64)
    names, classes = np.unique(np.asarray(labels), return_inverse=True)
    group_names, group_of = np.unique(np.asarray(groups), return_inverse=True)
    if data.ndim != 2 or not len(data) == len(classes) == len(group_of):
        raise ValueError("features, labels and groups differ in length")
    if len(names) < 2 or len(group_names) < 2:
        raise ValueError("a read-out needs at least two labels and two groups")
    if not np.isfinite(data).all():
        raise ValueError("a feature is not finite")
    folds = []
    for train, test in LeaveOneGroupOut().split(data, classes, group_of):
        scaler = make_pipeline(
            VarianceThreshold(MIN_FEATURE_SD**2), StandardScaler(with_std=standardize)
        )
        folds.append(
            (train, test, scaler.fit_transform(data[train]), scaler.transform(data[test]))
        )

    def accuracy(classes: NDArray[np.intp]) -> float:
        correct = [
            nearest_class(train_rows, classes[train], test_rows) == classes[test]
            for train, test, train_rows, test_rows in folds
        ]
        return float(np.concatenate(correct).mean())

    rng = np.random.default_rng(seed)
    person_of = group_of if people is None else np.unique(people, return_inverse=True)[1]
    permuted = [accuracy(_permuted(classes, person_of, rng)) for _ in range(permutations)]
    return ReadOut(
        accuracy=accuracy(classes),
        chance=float(np.bincount(classes).max() / len(classes)),
        permuted=float(np.percentile(permuted, PERMUTATION_PERCENTILE)) if permuted else np.nan,
        classes=len(names),
    )


def nearest_class(
    train: NDArray[np.float64], classes: NDArray[np.intp], test: NDArray[np.float64]
) -> NDArray[np.intp]:
    """Class (M,) of the test rows (M, F) whose mean over the training rows (N, F) is nearest.

    The distance is Mahalanobis' with the pooled within-class covariance, shrunk after Ledoit and
    Wolf; Euclidean where rows of a class do not differ.
    """
    from sklearn.covariance import ledoit_wolf

    present, index = np.unique(classes, return_inverse=True)
    means = np.stack([train[index == number].mean(axis=0) for number in range(len(present))])
    residuals = train - means[index]
    covariance = np.eye(train.shape[1])
    if np.abs(residuals).max() > MIN_FEATURE_SD:
        covariance = ledoit_wolf(residuals, assume_centered=True)[0]
    weights = np.linalg.solve(covariance, means.T)
    score = test @ weights - 0.5 * np.einsum("kf,fk->k", means, weights)
    return np.asarray(present[score.argmax(axis=1)])


def _permuted(
    classes: NDArray[np.intp], person_of: NDArray[np.intp], rng: np.random.Generator
) -> NDArray[np.intp]:
    """The labels of every person permuted among themselves, and those of people with one."""
    permuted, only_labels = classes.copy(), {}
    for person in np.unique(person_of):
        rows = person_of == person
        present, index = np.unique(classes[rows], return_inverse=True)
        if len(present) > 1:
            permuted[rows] = rng.permutation(present)[index]
        else:
            only_labels[person] = present[0]
    for person, label in zip(only_labels, rng.permutation([*only_labels.values()]), strict=True):
        permuted[person_of == person] = label
    return permuted
