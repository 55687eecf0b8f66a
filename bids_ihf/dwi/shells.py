"""The shells of equal diffusion weighting that a gradient table holds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from attrs import frozen

from bids_ihf.bids.gradient_tables import MAX_B0_S_PER_MM2

if TYPE_CHECKING:
    from numpy.typing import NDArray


MAX_SHELL_WIDTH = 100.0
"""Most (s/mm2) by which b-values of a shell differ, whatever the shell ..."""

MAX_RELATIVE_SHELL_WIDTH = 0.1
"""... and the share of its smallest b-value, where that is more."""


@frozen(eq=False)
class Shell:
    """Volumes (indices into the series) of one diffusion weighting ``b``, their mean, s/mm2."""

    b: float
    volumes: NDArray[np.intp]

    @property
    def weighted(self) -> bool:
        """False for the shell of the volumes without diffusion weighting."""
        return self.b > MAX_B0_S_PER_MM2

    @property
    def label(self) -> str:
        """``b0``, or the b-value rounded to 50, such as ``b1000``."""
        return f"b{50 * round(self.b / 50)}" if self.weighted else "b0"


def find_shells(bvals: NDArray[np.float64]) -> tuple[Shell, ...]:
    """Shells in the order of their b-values; the first is b0 where there is one.

    Volumes up to UNWEIGHTED are one shell.  The others are taken in the order of their b-values;
    a new shell begins where one lies above the first of its shell by more than the tolerance.

    >>> [shell.label for shell in find_shells(np.array([5, 995, 1005, 2000, 0, 1990.0]))]
    ['b0', 'b1000', 'b2000']
    """
    groups: list[list[int]] = []
    for index in np.argsort(bvals, kind="stable"):
        value = bvals[index]
        if groups:
            first = bvals[groups[-1][0]]
            both_low = value <= MAX_B0_S_PER_MM2
            near = first > MAX_B0_S_PER_MM2 and value - first <= max(
                MAX_SHELL_WIDTH, MAX_RELATIVE_SHELL_WIDTH * first
            )
            if both_low or near:
                groups[-1].append(int(index))
                continue
        groups.append([int(index)])
    return tuple(
        Shell(float(np.mean(bvals[group])), np.sort(np.asarray(group, dtype=np.intp)))
        for group in groups
    )
