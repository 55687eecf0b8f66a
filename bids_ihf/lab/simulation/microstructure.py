"""What water does in the tissues of a simulated person: neurites, their dispersion, free water.

Nervous tissue follows the NODDI model (Zhang et al. 2012, NeuroImage 61:1000) with its fixed
diffusivities: sticks spread about one axis by a Watson distribution, hindered water between them
by the tortuosity model; the fluid that shares a voxel with them is free.  Other tissues of the
head diffuse equally in all directions.  So NDI and ODI are known, and FA and MD are those of the
mixture's diffusion tensor.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from attrs import frozen

from bids_ihf.lab.simulation import smooth_fields
from bids_ihf.lab.simulation.tissues import TISSUE_INDEX

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from bids_ihf.lab.simulation.anatomy import Anatomy

    Array = NDArray[np.float32]

NEURITE_DIFFUSIVITY_MM2_PER_S = 1.7e-3
"""Diffusivity along a neurite, mm2/s."""

FREE_DIFFUSIVITY_MM2_PER_S = 3.0e-3
"""Diffusivity of free water at body temperature, mm2/s."""

NEURAL_TISSUES = ("white", "grey", "deep_grey", "lesion")
ISOTROPIC_DIFFUSIVITY_MM2_PER_S = {
    "csf": FREE_DIFFUSIVITY_MM2_PER_S,
    "vitreous": FREE_DIFFUSIVITY_MM2_PER_S,
    "fat": 0.05e-3,
    "muscle": 1.6e-3,
    "skin": 1.2e-3,
}
"""Apparent diffusivities, mm2/s, rounded from the literature; air and bone give no signal."""

TYPICAL_NDI_ODI = {"white": (0.52, 0.17), "grey": (0.40, 0.70), "deep_grey": (0.43, 0.50)}
"""Neurite density and orientation dispersion indices of the tissues, in the range of Zhang 2012;
densities at its lower end, so that the mean attenuation at b 1000 to 2500 comes near that of real
brains (0.74 to 0.80e-3 mm2/s at b 1000 in four real series)."""

SUBJECT_NDI_SD, SUBJECT_ODI_SD = 0.012, 0.010
"""Standard deviations of a person's own offsets; 0.012 is about 1.5 % of mean diffusivity."""

LESION_NDI_ODI = (0.40, 0.35)
LEGENDRE_ORDERS = (0, 2, 4, 6, 8, 10)
"""Of the Legendre series; at b 3000 what is left out stays below a thousandth of the signal."""


@frozen(eq=False)
class Microstructure:
    """Maps (X, Y, Z) of nervous tissue; ``axis`` (3, X, Y, Z) is the unit axis of the fibres."""

    ndi: dict[str, Array]
    odi: dict[str, Array]
    axis: Array


def random_microstructure(
    anatomy: Anatomy, seed: int, pose: NDArray[np.float64]
) -> Microstructure:
    """Draw a person's microstructure; ``seed`` is the person, the same in every scanner.

    The fibre axes are a smooth field, three parts common to all people and one part the
    person's; so are density and dispersion.  ``pose`` (4, 4) leads from the person's world to the
    scanner's, RAS mm, and turns the axes with the head.
    """
    to_person = np.linalg.inv(pose) @ anatomy.affine
    field = _Fields(anatomy, to_person, seed)
    axis = np.stack([3 * field.common(k, 1.2) + field.own(k, 1.2) for k in range(3)])
    axis /= np.maximum(np.sqrt((axis**2).sum(axis=0)), 1e-6)
    axis = np.einsum("ij,jxyz->ixyz", pose[:3, :3].astype(np.float32), axis)
    rng = np.random.default_rng([seed, 5])
    shifts = rng.normal(0, 1, 2) * (SUBJECT_NDI_SD, SUBJECT_ODI_SD)
    texture = np.clip(anatomy.texture.cpu().numpy(), -3, 3)
    ndi, odi = {}, {}
    for number, (name, (density, spread)) in enumerate(TYPICAL_NDI_ODI.items(), start=3):
        scale = 1.0 if name == "white" else 0.5
        ndi[name] = density + shifts[0] + scale * (
            0.05 * field.common(number, 1.0) + 0.02 * field.own(number, 1.0)
        ) - 0.02 * texture  # fmt: skip
        odi[name] = spread + shifts[1] + scale * (
            0.08 * field.common(number + 3, 1.0) + 0.03 * field.own(number + 3, 1.0)
        )  # fmt: skip
    ndi["lesion"], odi["lesion"] = (np.full_like(ndi["white"], value) for value in LESION_NDI_ODI)
    return Microstructure(
        {name: np.clip(values, 0.05, 0.95) for name, values in ndi.items()},
        {name: np.clip(values, 0.03, 0.97) for name, values in odi.items()},
        axis.astype(np.float32),
    )


class _Fields:
    """Smooth fields over a person's head, by number; oblique grids are sampled as they lie."""

    def __init__(self, anatomy: Anatomy, to_person: NDArray[np.float64], seed: int) -> None:
        shape = anatomy.shape
        index = np.indices(shape, dtype=np.float32).reshape(3, -1)
        world = to_person[:3, :3] @ index + to_person[:3, 3:]
        middle = to_person @ np.append(_brain_centre(anatomy), 1)
        self._points = ((world - middle[:3, None]) / smooth_fields.COORDINATE_UNIT_MM).astype(
            np.float32
        )
        self._shape, self._seed = shape, seed

    def common(self, number: int, cycles: float) -> Array:
        """One that all people share."""
        return self._waves(np.random.default_rng([number, 71]), cycles)

    def own(self, number: int, cycles: float) -> Array:
        """One of the person."""
        return self._waves(np.random.default_rng([self._seed, number, 72]), cycles)

    def _waves(self, rng: np.random.Generator, cycles: float, terms: int = 10) -> Array:
        """Unit variance; at most ``cycles`` periods in 90 mm."""
        waves = rng.uniform(-1, 1, (terms, 3)) * 2 * np.pi * cycles
        phases = rng.uniform(0, 2 * np.pi, terms)
        out = np.zeros(self._points.shape[1], dtype=np.float32)
        for wave, phase in zip(waves.astype(np.float32), phases.astype(np.float32), strict=True):
            out += np.cos(wave @ self._points + phase)
        return out.reshape(self._shape) * np.float32(np.sqrt(2 / terms))


def _brain_centre(anatomy: Anatomy) -> NDArray[np.float64]:
    return np.argwhere(anatomy.brain.cpu().numpy()).mean(axis=0)


def _concentration(odi: NDArray[np.floating]) -> NDArray[np.float64]:
    """Watson's kappa of an orientation dispersion index, Eq. 14 of Zhang 2012."""
    return np.asarray(1 / np.tan(np.pi / 2 * np.asarray(odi, dtype=np.float64)))


@lru_cache(maxsize=1)
def _nodes() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Gauss-Legendre nodes and weights on 0 to 1, enough for all kernels here."""
    x, weight = np.polynomial.legendre.leggauss(96)
    return (x + 1) / 2, weight / 2


def _stick(order: int, decay: NDArray[np.float64]) -> NDArray[np.float64]:
    """Zonal coefficient of a stick's signal exp(-decay cos^2), decay = b times diffusivity."""
    x, weight = _nodes()
    wave = np.polynomial.legendre.Legendre.basis(order)(x)
    return np.asarray(np.exp(-np.multiply.outer(decay, x * x)) @ (weight * wave))


@lru_cache(maxsize=1)
def _watson_table() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Dispersion indices (97,) and the Watson distribution's zonal moments (97, orders)."""
    x, weight = _nodes()
    odi = np.linspace(0.02, 0.98, 97)
    density = np.exp(np.multiply.outer(_concentration(odi), x * x - 1))
    density /= (density @ weight)[:, None]
    waves = [np.polynomial.legendre.Legendre.basis(order)(x) * weight for order in LEGENDRE_ORDERS]
    return odi, density @ np.stack(waves, axis=1)


def watson_moment(order: int, odi: Array) -> Array:
    """Mean of the Legendre polynomial of ``order`` over a Watson distribution."""
    known, table = _watson_table()
    column = table[:, LEGENDRE_ORDERS.index(order)]
    return np.interp(odi, known, column).astype(np.float32)


def stick_series(b: Array, moments: Sequence[Array]) -> Array:
    """Signal of dispersed sticks as a polynomial in the squared cosine between gradient and axis.

    Coefficients (len(ORDERS), N), lowest power first, for b-values (N,) in s/mm2 and the Watson
    ``moments`` of ORDERS, by the convolution theorem of zonal functions.
    """
    known = np.linspace(0, max(float(b.max()), 1.0) * NEURITE_DIFFUSIVITY_MM2_PER_S, 129)
    out = np.zeros((len(LEGENDRE_ORDERS), len(b)), dtype=np.float32)
    for order, moment in zip(LEGENDRE_ORDERS, moments, strict=True):
        kernel = np.interp(b * NEURITE_DIFFUSIVITY_MM2_PER_S, known, _stick(order, known)) * (
            2 * order + 1
        )
        powers = np.polynomial.legendre.leg2poly(np.eye(order + 1)[order])[::2]
        out[: len(powers)] += np.multiply.outer(powers, kernel * moment).astype(np.float32)
    return out


def neurite_signal(b: Array, square: Array, ndi: Array, second: Array, sticks: Array) -> Array:
    """Signal (N,), 1 without weighting, of nervous tissue without free water.

    ``square`` is the squared cosine between gradient and axis, ``second`` the moment of order 2,
    ``sticks`` are the coefficients of `stick_series`.  Between the sticks there is a tensor with
    the mean of the orientations and the tortuosity of the density (Eqs. 4-8 of Zhang 2012).
    """
    inside = sticks[-1] * square
    for row in sticks[-2:0:-1]:
        inside += row
        inside *= square
    inside += sticks[0]
    across, along = hindered_diffusivities(ndi, second)
    between = np.exp(-b * (across + (along - across) * square))
    return np.asarray(ndi * inside + (1 - ndi) * between, dtype=np.float32)


def hindered_diffusivities(ndi: Array, second: Array) -> tuple[Array, Array]:
    """Diffusivities across and along the axis between neurites; ``second`` is the moment of order
    2."""
    aligned = (1 + 2 * second) / 3  # mean squared cosine
    along = NEURITE_DIFFUSIVITY_MM2_PER_S * (1 - ndi * (1 - aligned))
    across = NEURITE_DIFFUSIVITY_MM2_PER_S * (1 - ndi * (1 + aligned) / 2)
    return across.astype(np.float32), along.astype(np.float32)


@frozen(eq=False)
class DiffusionTruth:
    """Maps (X, Y, Z) of a person: what an ideal measurement would find.

    NDI and ODI are means over nervous tissue, weighed by its share of the voxel; ``fluid`` is the
    share of free water.  FA and MD (mm2/s) are of the whole voxel's diffusion tensor, with all
    water counted alike.
    """

    fa: Array
    md: Array
    ndi: Array
    odi: Array
    fluid: Array


def diffusion_truth(anatomy: Anatomy, micro: Microstructure) -> DiffusionTruth:
    """The maps of a person."""
    shares = {name: anatomy.fractions[TISSUE_INDEX[name]].cpu().numpy() for name in NEURAL_TISSUES}
    neural = np.maximum(sum(shares.values()), 1e-6)
    across, along = np.zeros(anatomy.shape), np.zeros(anatomy.shape)
    total = np.full(anatomy.shape, 1e-6)
    for name, share in shares.items():
        second = watson_moment(2, micro.odi[name])
        outer = hindered_diffusivities(micro.ndi[name], second)
        aligned = (1 + 2 * second) / 3
        inner = (
            NEURITE_DIFFUSIVITY_MM2_PER_S * (1 - aligned) / 2,
            NEURITE_DIFFUSIVITY_MM2_PER_S * aligned,
        )
        density = micro.ndi[name]
        across += share * (density * inner[0] + (1 - density) * outer[0])
        along += share * (density * inner[1] + (1 - density) * outer[1])
        total += share
    for name, diffusivity in ISOTROPIC_DIFFUSIVITY_MM2_PER_S.items():
        share = anatomy.fractions[TISSUE_INDEX[name]].cpu().numpy()
        across += share * diffusivity
        along += share * diffusivity
        total += share
    across, along = across / total, along / total
    size = np.sqrt(along**2 + 2 * across**2)
    return DiffusionTruth(
        fa=(np.abs(along - across) / np.maximum(size, 1e-9)).astype(np.float32),
        md=((along + 2 * across) / 3).astype(np.float32),
        ndi=(sum(shares[n] * micro.ndi[n] for n in NEURAL_TISSUES) / neural).astype(np.float32),
        odi=(sum(shares[n] * micro.odi[n] for n in NEURAL_TISSUES) / neural).astype(np.float32),
        fluid=anatomy.fractions[TISSUE_INDEX["csf"]].cpu().numpy(),
    )
