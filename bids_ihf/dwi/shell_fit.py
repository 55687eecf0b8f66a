"""One pass over a diffusion series: each shell's mean and its harmonics, in the head."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from attrs import frozen

from bids_ihf.dwi.harmonics import coefficient_count, fitting_matrix, max_order, real_harmonics

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from bids_ihf.bids.gradient_tables import GradientTable
    from bids_ihf.dwi.shells import Shell

    Array = NDArray[np.float32]


@frozen(eq=False)
class ShellFit:
    """What one pass leaves of a shell, at the V voxels of a head.

    coefficients: (C, V) float32 of the harmonics up to ``order``; the first is the mean signal.
    residual: (V,) variance of the signal that the harmonics do not explain; NaN where the shell
        has too few directions to tell.
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
        """Variance over directions (V,) of what the harmonics of order 2 explain."""
        return np.asarray(
            (self.coefficients[1 : coefficient_count(min(self.order, 2))] ** 2).sum(axis=0)
        )

    def along(self, direction: NDArray[np.float64]) -> Array:
        """Expected signal (V,) along a unit vector; no less than a hundredth of the mean."""
        row = real_harmonics(direction[None], self.order)[0].astype(np.float32)
        return np.maximum(row @ self.coefficients, np.float32(0.01) * self.mean)


class _Sums:
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
        """The sums as coefficients and what is left."""
        spare = len(self.basis) - len(self.matrix)
        explained = np.zeros_like(self.squares)
        for row in self.basis:
            explained += (row.astype(np.float32) @ self.coefficients).astype(np.float64) ** 2
        residual = np.full(len(self.squares), np.nan)
        if spare > 0:
            residual = np.maximum(self.squares - explained, 0) / spare
        return ShellFit(self.shell, self.order, self.coefficients, residual.astype(np.float32))


class ShellSums:
    """Running sums of all shells, to which volumes are added in any order.

    Memory goes with the number of shells, not with that of directions.
    """

    def __init__(
        self, gradients: GradientTable, shells: Sequence[Shell], where: NDArray[np.bool_]
    ) -> None:
        self._where = where
        self._sums = [_Sums(shell, gradients, int(where.sum())) for shell in shells]
        self._place = {
            int(volume): (one, row)
            for one in self._sums
            for row, volume in enumerate(one.shell.volumes)
        }

    def add(self, number: int, volume: Array) -> None:
        """One volume (X, Y, Z), by its place in the series."""
        one, row = self._place[number]
        one.add(row, volume[self._where])

    def fits(self) -> tuple[ShellFit, ...]:
        """The fit of every shell, once all volumes are in."""
        return tuple(one.fit() for one in self._sums)


def fit_shells(
    volumes: Iterable[Array],
    gradients: GradientTable,
    shells: Sequence[Shell],
    where: NDArray[np.bool_],
) -> tuple[ShellFit, ...]:
    """Fit every shell in the voxels ``where`` (X, Y, Z), each volume being seen once."""
    sums = ShellSums(gradients, shells, where)
    for number, volume in enumerate(volumes):
        sums.add(number, volume)
    return sums.fits()
