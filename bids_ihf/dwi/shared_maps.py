"""The maps that the directions of a series share: b0, and the mean and the energy of each shell.

These are the images of a series that the network sees.  They do not change with the table of
directions nor with the orientation of the head (rotation-invariant features, Mirzaalian et al.
2016, NeuroImage 135:311).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from attrs import evolve, frozen
from numpy.typing import NDArray

from bids_ihf.dwi.harmonics import coefficient_count, real_harmonics
from bids_ihf.dwi.harmonize import ShellHarmonizer
from bids_ihf.dwi.shell_fit import ShellFit
from bids_ihf.dwi.shell_plan import ShellPlan

Array = NDArray[np.float32]

PROBE_DIRECTION = np.array([0.0, 0.0, 1.0])
"""Direction along which all energy of a shell is put to see how a change scales it."""


@frozen(eq=False)
class SharedMaps:
    """Maps at V voxels.

    Attributes
    ----------
    b0
        Mean signal (V,) without weighting.
    means
        Mean signal (V,) over directions of each weighted shell, by ascending b-value.
    energies
        Root of the energy of order 2 (V,): the standard deviation of the signal over directions,
        as far as harmonics of order 2 explain it.  The root has the units of the signal, so that a
        ratio of two is the factor on the harmonics; the energy itself would show little but the
        most coherent fibres.  None for a shell of too few directions.
    """

    b0: Array
    means: tuple[Array, ...]
    energies: tuple[Array | None, ...]


def shared_maps(fits: Sequence[ShellFit], bias: Array) -> SharedMaps:
    """The maps of fitted shells, b = 0 first, divided by the receive field ``bias`` (V,)."""
    return SharedMaps(
        fits[0].mean / bias,
        tuple(fit.mean / bias for fit in fits[1:]),
        tuple(
            np.asarray(np.sqrt(fit.variance) / bias, dtype=np.float32) if fit.order >= 2 else None
            for fit in fits[1:]
        ),
    )


def harmonized_maps(fits: Sequence[ShellFit], plan: ShellPlan, bias: Array) -> SharedMaps:
    """The maps that the series will have once the shell model has changed it.

    ``bias`` (V,) is the receive field, as of `ShellHarmonizer`.
    """
    probes = tuple(_probe(fit) if fit.order >= 2 else fit for fit in fits)
    harmonizer = ShellHarmonizer(probes, plan, bias)
    means = [ratio * fit.mean for ratio, fit in zip(harmonizer.mean_ratios, probes, strict=True)]
    energies = tuple(
        np.abs(
            harmonizer.ratio(shell, PROBE_DIRECTION) * probes[shell].along(PROBE_DIRECTION)
            - means[shell]
        )
        if probes[shell].order >= 2
        else None
        for shell in range(1, len(probes))
    )
    return SharedMaps(means[0], tuple(means[1:]), energies)


def _probe(fit: ShellFit) -> ShellFit:
    """A fit of the same mean whose signal along `PROBE_DIRECTION` is one standard deviation above
    it."""
    row = real_harmonics(PROBE_DIRECTION[None], 2)[0].astype(np.float32)
    row[0] = 0
    coefficients = np.empty((coefficient_count(2), fit.mean.size), dtype=np.float32)
    np.multiply.outer(row / float(row @ row), np.sqrt(fit.variance), out=coefficients)
    coefficients[0] = fit.mean
    return evolve(fit, order=2, coefficients=coefficients)
