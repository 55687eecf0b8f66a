"""RISH: rotation-invariant features of the harmonics scaled from one scanner to another.

After Mirzaalian et al. 2016 (NeuroImage 135:311) and Cetin Karayumak et al. 2019 (NeuroImage
184:180), written anew over dipy's harmonics: the energy of each order, averaged over matched
people in a common space, gives a map of scale factors by which a person's coefficients are
multiplied.  The common space here is the box of the brain, since these people share a
field of view; the published method registers them nonlinearly.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from attrs import frozen

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from bids_ihf.dwi.shells import Shell
    from bids_ihf.lab.benchmarks.dwi.travelers import DiffusionSubject, Scan

    Array = NDArray[np.float32]
    Mask = NDArray[np.bool_]

ORDER, SMOOTH = 4, 0.0005
"""Of the harmonics; with 24 directions more smoothing would shrink order 2 by some per cent."""

SIDES = (28, 34, 10)
"""Cells of the common space over the box of a brain: about 6 mm, 5 mm in a slab."""

SPREAD = 1.0
"""Standard deviation (cells) of the smoothing of the features in the common space."""

SCALES = (0.5, 2.0)


def coefficients(scan: Scan, shell: Shell, mask: Mask) -> Array:
    """Harmonics (C, V) of a shell's signal over the mean b 0, by dipy."""
    from dipy.core.sphere import Sphere
    from dipy.reconst.shm import sf_to_sh

    b0 = np.maximum(scan.volumes[scan.shells[0].volumes][:, mask].mean(axis=0), 1e-3)
    ratio = scan.volumes[shell.volumes][:, mask] / b0
    sphere = Sphere(xyz=scan.gradients.bvecs[shell.volumes])
    found = sf_to_sh(
        ratio.T, sphere, sh_order_max=ORDER, basis_type="descoteaux07", legacy=False, smooth=SMOOTH
    )
    return np.asarray(found.T, dtype=np.float32)


def _orders() -> NDArray[np.int64]:
    return np.concatenate([np.full(2 * n + 1, n) for n in range(0, ORDER + 1, 2)])


def energies(found: Array) -> Array:
    """Root of the energy (orders, V) of each order."""
    orders = _orders()
    rows = [np.sqrt((found[orders == n] ** 2).sum(axis=0)) for n in range(0, ORDER + 1, 2)]
    return np.stack(rows)


def cells(person: DiffusionSubject) -> NDArray[np.float64]:
    """Places (3, V) of a brain's voxels in the common space."""
    places = np.argwhere(person.brain).astype(np.float64)
    low, high = places.min(axis=0), places.max(axis=0)
    return np.asarray(((places - low) / (high - low) * (np.asarray(SIDES) - 1)).T)


@frozen(eq=False)
class Features:
    """Smoothed sums of a scanner's features (shells, orders, *SIDES)."""

    sums: NDArray[np.float64]

    def __add__(self, other: Features) -> Features:
        return Features(self.sums + other.sums)


def features(scan: Scan, person: DiffusionSubject) -> Features:
    """The features of one series in the common space."""
    from scipy.ndimage import gaussian_filter

    index = np.rint(cells(person)).astype(np.intp)
    flat = np.ravel_multi_index(tuple(index), SIDES)
    out = []
    for shell in scan.shells[1:]:
        rows = energies(coefficients(scan, shell, person.brain))
        grids = [np.bincount(flat, row, int(np.prod(SIDES))).reshape(SIDES) for row in rows]
        out.append([gaussian_filter(grid, SPREAD) for grid in grids])
    return Features(np.asarray(out))


def total(parts: Sequence[Features]) -> Features:
    """The features of several people together."""
    result = parts[0]
    for part in parts[1:]:
        result = result + part
    return result


def scaled(
    scan: Scan,
    person: DiffusionSubject,
    source: Features,
    target: Features,
    gains: Mapping[int, float],
) -> Array:
    """The series (N, X, Y, Z) with its harmonics scaled; volumes of shell 0 by ``gains[0]``.

    Outside the brain nothing is changed but the units.
    """
    from scipy.ndimage import map_coordinates

    ratio = np.clip(target.sums / np.maximum(source.sums, 1e-9), *SCALES)
    places, orders = cells(person), _orders()
    out = scan.volumes * np.float32(gains[0])
    b0 = out[scan.shells[0].volumes][:, person.brain].mean(axis=0)
    for number, shell in enumerate(scan.shells[1:]):
        found = coefficients(scan, shell, person.brain)
        for row, n in enumerate(range(0, ORDER + 1, 2)):
            grid = ratio[number, row]
            found[orders == n] *= map_coordinates(grid, places, order=1, mode="nearest")
        for volume in shell.volumes:
            direction = scan.gradients.bvecs[volume]
            out[volume][person.brain] = np.maximum(_along(found, direction) * b0, 0)
    return np.asarray(out, dtype=np.float32)


def _along(found: Array, direction: NDArray[np.float64]) -> Array:
    from dipy.core.geometry import cart2sphere
    from dipy.reconst.shm import real_sh_descoteaux

    _, theta, phi = cart2sphere(*direction)
    row = real_sh_descoteaux(ORDER, np.atleast_1d(theta), np.atleast_1d(phi), legacy=False)[0][0]
    return np.asarray(row.astype(np.float32) @ found)
