"""Median over subjects and its bootstrap interval."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from attrs import frozen

from bids_ihf.lab.benchmarks.tables import group_rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bids_ihf.lab.benchmarks.tables import Row

BOOTSTRAP_SAMPLES = 2000
CONFIDENCE_LEVEL = 95
"""Coverage of the interval, %."""


@frozen
class Summary:
    """Median over subjects and its bootstrap interval."""

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.median:.4g} [{self.low:.4g}, {self.high:.4g}]"


def summarize(
    rows: Sequence[Row], metrics: Sequence[str], *, seed: int = 0
) -> dict[str, dict[str, Summary]]:
    """Summary of each metric, by method.

    Subjects are the units that are resampled, not images or slices: a subject's rows are averaged
    first.
    """
    return {
        method: {metric: _summary(selected, metric, seed) for metric in metrics}
        for (method,), selected in group_rows(rows, ["method"]).items()
    }


def _summary(rows: Sequence[Row], metric: str, seed: int) -> Summary:
    values = np.array(
        [
            np.mean([float(row[metric]) for row in subject])
            for subject in group_rows(rows, ["subject"]).values()
        ]
    )
    generator = np.random.default_rng(seed)
    draws = generator.integers(len(values), size=(BOOTSTRAP_SAMPLES, len(values)))
    medians = np.median(values[draws], axis=1)
    tail = (100 - CONFIDENCE_LEVEL) / 2
    # Not interpolated: a PSNR may be infinite.
    low, high = np.percentile(medians, (tail, 100 - tail), method="nearest")
    return Summary(float(np.median(values)), float(low), float(high))
