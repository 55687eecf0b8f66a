"""Diffusion-weighted signal of an anatomy, without what the scanner does to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bids_ihf.lab.simulation.microstructure import (
    ISOTROPIC_DIFFUSIVITY_MM2_PER_S,
    NEURAL_TISSUES,
)
from bids_ihf.lab.simulation.noddi import (
    LEGENDRE_ORDERS,
    neurite_signal,
    stick_series,
    watson_moment,
)
from bids_ihf.lab.simulation.tissues import tissue

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bids_ihf.lab.simulation.anatomy import Anatomy
    from bids_ihf.lab.simulation.epi_scanner import EpiScanner
    from bids_ihf.lab.simulation.microstructure import Microstructure

    Array = NDArray[np.float32]
    Voxels = NDArray[np.intp]

MIN_TISSUE_FRACTION = 0.01
"""Smallest fraction of a voxel at which a tissue contributes."""


def spin_echo_signal(scanner: EpiScanner, name: str, texture: float = 0.0) -> float:
    """Signal of a tissue at b 0: density (1 - exp(-TR / T1)) exp(-TE / T2), fat suppressed.

    ``texture`` is that of `tissues.Tissue`, in standard deviations.
    """
    relaxation = tissue(name).relaxation(scanner.field_strength, texture)
    recovery = 1 - np.exp(-scanner.repetition_time / relaxation.t1)
    signal = relaxation.density * recovery * np.exp(-scanner.echo_time / relaxation.t2)
    return float(signal * (scanner.fat if name == "fat" else 1.0))


class DiffusionSignal:
    """The signal of all tissues; what does not depend on the gradient is computed once.

    ``b_factor`` (X, Y, Z) is the effective over the nominal b-value.
    """

    def __init__(
        self, anatomy: Anatomy, micro: Microstructure, scanner: EpiScanner, b_factor: Array
    ) -> None:
        self._shape = anatomy.shape
        self._tissues: list[_NeuralTissue | _IsotropicTissue] = []
        for name in (*NEURAL_TISSUES, *ISOTROPIC_DIFFUSIVITY_MM2_PER_S):
            fraction = anatomy.fraction(name).ravel()
            voxels = np.flatnonzero(fraction > MIN_TISSUE_FRACTION)
            if not voxels.size:
                continue
            signal = fraction[voxels] * np.float32(spin_echo_signal(scanner, name))
            factor = b_factor.ravel()[voxels]
            if name in NEURAL_TISSUES:
                self._tissues.append(_NeuralTissue(voxels, signal, factor, micro, name))
            else:
                diffusivity = ISOTROPIC_DIFFUSIVITY_MM2_PER_S[name]
                self._tissues.append(_IsotropicTissue(voxels, signal, factor, diffusivity))

    def __call__(self, b: float, direction: NDArray[np.float64]) -> Array:
        """Signal (X, Y, Z) at nominal ``b`` (s/mm2) for a unit gradient direction (3,), RAS."""
        signal = np.zeros(int(np.prod(self._shape)), dtype=np.float32)
        for one_tissue in self._tissues:
            signal[one_tissue.voxels] += one_tissue.signal(b, direction)
        return signal.reshape(self._shape)


class _IsotropicTissue:
    """Tissue with the same diffusivity in all directions."""

    def __init__(
        self, voxels: Voxels, b0_signal: Array, b_factor: Array, diffusivity: float
    ) -> None:
        self.voxels, self._b0_signal = voxels, b0_signal
        self._decay = diffusivity * b_factor
        self._by_b_value: dict[float, Array] = {}

    def signal(self, b: float, _direction: NDArray[np.float64]) -> Array:
        if b not in self._by_b_value:
            self._by_b_value[b] = self._b0_signal * np.exp(-b * self._decay)
        return self._by_b_value[b]


class _NeuralTissue:
    """Nervous tissue; the stick coefficients of a b-value are computed once."""

    def __init__(
        self, voxels: Voxels, b0_signal: Array, b_factor: Array, micro: Microstructure, name: str
    ) -> None:
        odi = micro.odi[name].ravel()[voxels]
        self.voxels, self._b0_signal, self._b_factor = voxels, b0_signal, b_factor
        self._ndi = micro.ndi[name].ravel()[voxels]
        self._moments = tuple(watson_moment(order, odi) for order in LEGENDRE_ORDERS)
        self._axis = micro.axis.reshape(3, -1)[:, voxels]
        self._by_b_value: dict[float, Array] = {}

    def signal(self, b: float, direction: NDArray[np.float64]) -> Array:
        if b == 0:
            return self._b0_signal
        effective = np.float32(b) * self._b_factor
        if b not in self._by_b_value:
            self._by_b_value[b] = stick_series(effective, self._moments)
        cosine_squared = (direction.astype(np.float32) @ self._axis) ** 2
        return self._b0_signal * neurite_signal(
            effective, cosine_squared, self._ndi, self._moments[1], self._by_b_value[b]
        )
