"""Fit the mean and the spherical harmonics of each shell, in one pass over a diffusion series."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from bids_ihf.bids.gradient_tables import GradientTable
from bids_ihf.dwi.harmonics import coefficient_count, fitting_matrix, max_order, real_harmonics
from bids_ihf.dwi.shells import Shell

Array = NDArray[np.float32]

MIN_RELATIVE_SIGNAL = 0.01
"""Smallest expected signal of a direction, relative to the mean."""


@frozen(eq=False)
class ShellFit:
    """Fit of one shell at V voxels.

    ``coefficients`` (C, V) are those of `real_harmonics` up to ``order``; the first is the mean
    signal.  ``residual`` (V,) is the residual variance, NaN where directions are too few.
    """

    shell: Shell
    order: int
    coefficients: Array
    residual: Array

    @property
    def mean(self) -> Array:
        """Mean over directions (V,)."""
        return self.coefficients[0]

    @property
    def variance(self) -> Array:
        """Variance over directions (V,) that the harmonics of order 2 explain."""
        second_order = self.coefficients[1 : coefficient_count(min(self.order, 2))]
        return np.asarray((second_order**2).sum(axis=0))

    def along(self, direction: NDArray[np.float64]) -> Array:
        """Expected signal (V,) along a unit vector (3,), at least MIN_RELATIVE_SIGNAL of the
        mean."""
        row = real_harmonics(direction[None], self.order)[0].astype(np.float32)
        return np.maximum(row @ self.coefficients, np.float32(MIN_RELATIVE_SIGNAL) * self.mean)


class _RunningFit:
    """Running sums of one shell."""

    def __init__(self, shell: Shell, gradients: GradientTable, voxels: int) -> None:
        directions = gradients.bvecs[shell.volumes]
        self.shell = shell
        self.order = max_order(len(directions)) if shell.weighted else 0
        self.matrix = fitting_matrix(directions, self.order)
        self.basis = real_harmonics(directions, self.order)
        self.coefficients = np.zeros((len(self.matrix), voxels), dtype=np.float32)
        self.squares = np.zeros(voxels, dtype=np.float64)

    def add(self, row: int, values: Array) -> None:
        for column, weight in enumerate(self.matrix[:, row]):
            self.coefficients[column] += np.float32(weight) * values
        self.squares += np.square(values, dtype=np.float64)

    def fit(self) -> ShellFit:
        degrees_of_freedom = len(self.basis) - len(self.matrix)
        explained = np.zeros_like(self.squares)
        for row in self.basis:
            explained += (row.astype(np.float32) @ self.coefficients).astype(np.float64) ** 2
        residual = np.full(len(self.squares), np.nan)
        if degrees_of_freedom > 0:
            residual = np.maximum(self.squares - explained, 0) / degrees_of_freedom
        return ShellFit(self.shell, self.order, self.coefficients, residual.astype(np.float32))


class ShellSums:
    """Running sums of all shells at the voxels of a mask (X, Y, Z), to which volumes are added in
    any order.

    Memory depends on the number of shells, not on that of directions.
    """

    def __init__(
        self, gradients: GradientTable, shells: Sequence[Shell], mask: NDArray[np.bool_]
    ) -> None:
        self._mask = mask
        self._running = [_RunningFit(shell, gradients, int(mask.sum())) for shell in shells]
        self._row_of = {
            int(volume): (running, row)
            for running in self._running
            for row, volume in enumerate(running.shell.volumes)
        }

    def add(self, index: int, volume: Array) -> None:
        """Add a volume (X, Y, Z) by its index in the series."""
        running, row = self._row_of[index]
        running.add(row, volume[self._mask])

    def fits(self) -> tuple[ShellFit, ...]:
        """The fit of every shell, once all volumes are added."""
        return tuple(running.fit() for running in self._running)


def fit_shells(
    volumes: Iterable[Array],
    gradients: GradientTable,
    shells: Sequence[Shell],
    mask: NDArray[np.bool_],
) -> tuple[ShellFit, ...]:
    """Fit every shell at the voxels of a mask (X, Y, Z), reading each volume once."""
    sums = ShellSums(gradients, shells, mask)
    for index, volume in enumerate(volumes):
        sums.add(index, volume)
    return sums.fits()
