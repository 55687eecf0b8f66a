"""The shells of equal diffusion weighting in a gradient table."""

from __future__ import annotations

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from bids_ihf.bids.gradient_tables import MAX_B0_S_PER_MM2

MAX_SHELL_WIDTH_S_PER_MM2, MAX_RELATIVE_SHELL_WIDTH = 100.0, 0.1
"""Largest range of b-values in a shell: s/mm2, or relative to the lowest if that is more."""


@frozen(eq=False)
class Shell:
    """Volumes (indices into the series) of one diffusion weighting ``b``, their mean, s/mm2."""

    b: float
    volumes: NDArray[np.intp]

    @property
    def weighted(self) -> bool:
        """Whether the volumes are diffusion-weighted."""
        return self.b > MAX_B0_S_PER_MM2

    @property
    def label(self) -> str:
        """``b0``, or the b-value rounded to 50, such as ``b1000``."""
        return f"b{50 * round(self.b / 50)}" if self.weighted else "b0"


def find_shells(bvals: NDArray[np.float64]) -> tuple[Shell, ...]:
    """Shells by ascending b-value; the first is b0 if there is one.

    Volumes up to MAX_B0_S_PER_MM2 form one shell.  The others are sorted by b-value, and a new
    shell begins where one exceeds the lowest of its shell by more than the largest width.

    >>> [shell.label for shell in find_shells(np.array([5, 995, 1005, 2000, 0, 1990.0]))]
    ['b0', 'b1000', 'b2000']
    """
    groups: list[list[int]] = []
    for index in np.argsort(bvals, kind="stable"):
        value = bvals[index]
        lowest = bvals[groups[-1][0]] if groups else -np.inf
        width = max(MAX_SHELL_WIDTH_S_PER_MM2, MAX_RELATIVE_SHELL_WIDTH * lowest)
        same_weighted = lowest > MAX_B0_S_PER_MM2 and value - lowest <= width
        if groups and (value <= MAX_B0_S_PER_MM2 or same_weighted):
            groups[-1].append(int(index))
        else:
            groups.append([int(index)])
    return tuple(
        Shell(float(np.mean(bvals[group])), np.sort(np.asarray(group, dtype=np.intp)))
        for group in groups
    )
