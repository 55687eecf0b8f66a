"""A linear read-out of the encoder's statistics: what they tell apart, scanners or people.

Linear discriminants on standardized features, tested on groups that none of the training rows
belong to.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from attrs import frozen

from bids_ihf.lab.benchmarks.metrics.discriminants import discriminate

if TYPE_CHECKING:
    from numpy.typing import NDArray

PERMUTATIONS = 100
LEVEL = 95.0
"""Percentile of the permutations' accuracies, %."""


@frozen
class ReadOut:
    """Share of left-out rows named rightly; what guessing gives; what 95 % of permutations stay
    below; and how many classes there are."""

    accuracy: float
    chance: float
    permuted: float
    classes: int


@frozen
class ScannerAndPerson:
    """Telling scanners apart on people left out, and people on scanners left out."""

    scanner: ReadOut
    person: ReadOut


@frozen
class VarianceShares:
    """Shares of the variance of standardized statistics: of scanners, of people, of neither."""

    scanner: float
    person: float
    rest: float


def variance_shares(
    embeddings: NDArray[np.floating], scanners: NDArray[Any], people: NDArray[Any]
) -> VarianceShares:
    """Two-way analysis of variance of statistics (N, E), every person scanned by every scanner.

    Sums of squares over all features, each standardized.

    Raises
    ------
    ValueError
        Not everybody was scanned by every scanner equally often.
    """
    _, scanner = np.unique(np.asarray(scanners), return_inverse=True)
    _, person = np.unique(np.asarray(people), return_inverse=True)
    cells = np.zeros((scanner.max() + 1, person.max() + 1))
    np.add.at(cells, (scanner, person), 1)
    if cells.min() != cells.max():
        raise ValueError("not everybody was scanned by every scanner equally often")
    data = np.asarray(embeddings, dtype=np.float64)
    spread = data.std(axis=0)
    varied = (data[:, spread > 1e-9] - data[:, spread > 1e-9].mean(axis=0)) / spread[spread > 1e-9]
    shares = [
        sum(
            float((side == k).sum() * np.square(varied[side == k].mean(axis=0)).sum())
            for k in range(side.max() + 1)
        )
        / varied.size
        for side in (scanner, person)
    ]
    return VarianceShares(shares[0], shares[1], 1 - shares[0] - shares[1])


def scanner_and_person_readout(
    embeddings: NDArray[np.floating],
    scanners: NDArray[Any],
    people: NDArray[Any],
    *,
    seed: int = 0,
    permutations: int = PERMUTATIONS,
) -> ScannerAndPerson:
    """How well statistics (N, E) tell scanners (N,) apart, and how well people (N,).

    Raises
    ------
    ValueError
        Fewer than two scanners or people, or the lengths differ.
    """
    return ScannerAndPerson(
        scanner=read_out(embeddings, scanners, people, seed=seed, permutations=permutations),
        person=read_out(embeddings, people, scanners, seed=seed, permutations=permutations),
    )


def read_out(
    embeddings: NDArray[np.floating],
    labels: NDArray[Any],
    groups: NDArray[Any],
    *,
    seed: int = 0,
    permutations: int = PERMUTATIONS,
    standardize: bool = True,
) -> ReadOut:
    """Accuracy of a linear classifier, each group left out in turn.

    Parameters
    ----------
    embeddings
        (N, E).
    labels, groups
        (N,) of any type that can be sorted.
    seed, permutations
        In each permutation every group's labels change names among themselves, so that its rows
        stay together.
    standardize
        Bring features to one scale; not those whose scales mean something.

    Raises
    ------
    ValueError
        Fewer than two labels or groups, the lengths differ, or a value is not finite.
    """
    data = np.asarray(embeddings, dtype=np.float64)
    names, truth = np.unique(np.asarray(labels), return_inverse=True)
    teams, team = np.unique(np.asarray(groups), return_inverse=True)
    if data.ndim != 2 or not len(data) == len(truth) == len(team):
        raise ValueError("embeddings, labels and groups differ in length")
    if len(names) < 2 or len(teams) < 2:
        raise ValueError("a read-out needs two labels and two groups at least")
    if not np.isfinite(data).all():
        raise ValueError("an embedding is not finite")
    folds = [
        (_reduce(data[team != k], data[team == k], standardize=standardize), team == k)
        for k in range(len(teams))
    ]
    rng = np.random.default_rng(seed)
    chosen = [_accuracy(folds, truth, len(names))]
    chosen += [
        _accuracy(folds, _renamed(truth, team, rng), len(names)) for _ in range(permutations)
    ]
    permuted = float(np.percentile(chosen[1:], LEVEL)) if permutations else float("nan")
    return ReadOut(chosen[0], float(np.bincount(truth).max() / len(truth)), permuted, len(names))


def _renamed(
    truth: NDArray[np.intp], team: NDArray[np.intp], rng: np.random.Generator
) -> NDArray[np.intp]:
    """The labels of every group permuted among themselves."""
    found = truth.copy()
    for one in np.unique(team):
        rows = team == one
        there, place = np.unique(truth[rows], return_inverse=True)
        found[rows] = rng.permutation(there)[place]
    return found


@frozen(eq=False)
class _Fold:
    """Standardized rows to train on (N, R) and to test on (M, R), turned so that R is small;
    ``size`` is the number of features."""

    train: NDArray[np.float64]
    test: NDArray[np.float64]
    size: int


def _reduce(train: NDArray[np.float64], test: NDArray[np.float64], *, standardize: bool) -> _Fold:
    """Standardize by the training rows and turn to their principal axes, which loses nothing."""
    spread = train.std(axis=0)
    varied = spread > 1e-9
    if not standardize:
        spread = np.ones_like(spread)
    ours, theirs = (
        (rows[:, varied] - train[:, varied].mean(axis=0)) / spread[varied]
        for rows in (train, test)
    )
    axes = np.linalg.svd(ours, full_matrices=False)[2]
    return _Fold(ours @ axes.T, theirs @ axes.T, int(varied.sum()))


def _accuracy(
    folds: list[tuple[_Fold, NDArray[np.bool_]]], truth: NDArray[np.intp], classes: int
) -> float:
    right = [
        discriminate(fold.train, truth[~left_out], fold.test, classes, fold.size)
        == truth[left_out]
        for fold, left_out in folds
    ]
    return float(np.concatenate(right).mean())
