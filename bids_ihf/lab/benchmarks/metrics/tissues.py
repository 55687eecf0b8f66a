"""Grey matter, white matter and CSF by intensity alone, against the known ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from attrs import frozen

from bids_ihf.lab.benchmarks.metrics.similarity import target_range, to_unit_range

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bids_ihf.lab.simulation.protocol import Modality

TISSUES = ("grey", "white", "csf")
"""Order of the known shares; deep grey matter is grey."""

GREY, WHITE, CSF = range(3)

FROM_DARK: dict[str, tuple[int, int, int]] = {"T1w": (CSF, GREY, WHITE), "T2w": (WHITE, GREY, CSF)}
"""Tissues from dark to bright."""

SEEDS: dict[str, tuple[int, int, int]] = {"T1w": (5, 40, 80), "T2w": (20, 65, 97)}
"""Percentiles of the brain where the classes start, from dark to bright."""

BINS = 256
STEPS = 60
"""Rounds of expectation and maximization."""


@frozen
class Comparison:
    """One measure before and after harmonization."""

    before: float
    after: float


def tissue_dice(
    before: NDArray[np.floating],
    after: NDArray[np.floating],
    truth_shares: NDArray[np.floating],
    mask: NDArray[np.bool_],
    modality: Modality,
) -> dict[str, Comparison]:
    """Dice (1945) of grey matter, white matter and CSF by intensity alone with the known labels.

    The label of a voxel is the tissue with the greatest share (3, X, Y, Z) in it.
    """
    truth = truth_shares[:, mask].argmax(axis=0)
    old, new = (classify(image[mask], modality) for image in (before, after))
    return {
        name: Comparison(
            _dice(old == tissue, truth == tissue), _dice(new == tissue, truth == tissue)
        )
        for tissue, name in enumerate(TISSUES)
    }


def _dice(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    total = int(one.sum()) + int(other.sum())
    return 2 * int((one & other).sum()) / total if total else float("nan")


def classify(values: NDArray[np.floating], modality: Modality) -> NDArray[np.intp]:
    """Tissue (N,), an index of TISSUES, of brain intensities (N,).

    A mixture of three normal distributions, fitted to the histogram between the 0.1 and 99.9
    percentiles by expectation and maximization (Dempster et al. 1977); the tissues are told by
    their order from dark to bright.

    Raises
    ------
    ValueError
        The intensities are all alike.
    """
    low, high = target_range(values, np.ones(values.shape, dtype=bool))
    level = to_unit_range(values, low, high)
    counts, ends = np.histogram(level, bins=BINS, range=(0, 1))
    centre = (ends[1:] + ends[:-1]) / 2
    mean = np.percentile(level, SEEDS[modality])
    spread, part = np.full(3, 0.1), np.full(3, 1 / 3)
    for _ in range(STEPS):
        density = part * np.exp(-0.5 * ((centre[:, None] - mean) / spread) ** 2) / spread + 1e-300
        weight = counts[:, None] * density / density.sum(axis=1, keepdims=True)
        total = weight.sum(axis=0) + 1e-9
        mean = (weight * centre[:, None]).sum(axis=0) / total
        variance = (weight * (centre[:, None] - mean) ** 2).sum(axis=0) / total
        spread, part = np.maximum(np.sqrt(variance), 1 / BINS), total / total.sum()
    return np.array(FROM_DARK[modality])[np.digitize(level, _borders(centre, mean, density))]


def _borders(
    centre: NDArray[np.float64], mean: NDArray[np.floating], density: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Two intensities between the means, each where the brighter of two classes takes over."""
    found = []
    for dark in (0, 1):
        between = (centre >= mean[dark]) & (centre <= mean[dark + 1])
        brighter = centre[between & (density[:, dark + 1] > density[:, dark])]
        found.append(float(brighter[0]) if len(brighter) else float(mean[dark + 1]))
    return np.array([found[0], max(found)])
