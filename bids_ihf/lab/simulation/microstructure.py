"""Diffusion microstructure of a virtual subject, and the maps that an ideal measurement gives.

Nervous tissue follows the NODDI model of `noddi`; the CSF in a voxel is free water; other tissues
of the head diffuse isotropically.  So NDI and ODI are exact, and FA and MD are those of the
diffusion tensor of the mixture.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from attrs import frozen

from bids_ihf.lab.simulation.noddi import (
    FREE_DIFFUSIVITY_MM2_PER_S,
    NEURITE_DIFFUSIVITY_MM2_PER_S,
    hindered_diffusivities,
    mean_cosine_squared,
    watson_moment,
)
from bids_ihf.lab.simulation.smooth_fields import COORDINATE_UNIT_MM, centred_axes

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bids_ihf.lab.simulation.anatomy import Anatomy

    Array = NDArray[np.float32]

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
densities at its lower end, so that the mean attenuation at b 1000 to 2500 is near that of in vivo
scans (0.74 to 0.80e-3 mm2/s at b 1000 in four series)."""

LESION_NDI_ODI = (0.40, 0.35)

SUBJECT_NDI_SD, SUBJECT_ODI_SD = 0.012, 0.010
"""Standard deviations of a subject's offsets; 0.012 is about 1.5 % of the mean diffusivity."""

FIELD_WAVE_COUNT = 10
"""Waves that are summed to a smooth field."""

FIBRE_COHERENCE, COHERENCE_BOUNDS = (0.95, 0.3), (0.1, 1.5)
"""Mean and standard deviation of the coherence of the fibres in a voxel, relative to that of the
dispersion of its tissue, and its bounds; assumed."""

COHERENCE_FIELD, COHERENCE_CYCLES = 20, 7.0
"""Number of its field, and highest spatial frequency, periods in 90 mm."""


@frozen(eq=False)
class Microstructure:
    """Maps (X, Y, Z) of each nervous tissue, and the unit axis (3, X, Y, Z) of the fibres."""

    ndi: dict[str, Array]
    odi: dict[str, Array]
    axis: Array


@frozen(eq=False)
class UprightMicrostructure:
    """Maps (X, Y, Z) of each nervous tissue, and the relative coherence of the fibres.

    In a `Microstructure` fibres never cross, as their axes are smooth; the coherence stands for
    it.
    """

    ndi: dict[str, Array]
    odi: dict[str, Array]
    coherence: Array


def random_microstructure(
    anatomy: Anatomy, seed: int, pose: NDArray[np.float64]
) -> Microstructure:
    """Draw a subject's microstructure.

    The fibre axes are a smooth field, three parts common to all subjects and one part specific
    to the subject; so are density and dispersion.

    Parameters
    ----------
    seed
        The subject; the same for every scanner.
    pose
        (4, 4) map from the world of the subject to that of the scanner, RAS mm; it rotates the
        axes with the head.
    """
    fields = _SubjectFields(anatomy, np.linalg.inv(pose) @ anatomy.affine, seed)
    axis = np.stack([3 * fields.common(k, 1.2) + fields.specific(k, 1.2) for k in range(3)])
    axis /= np.maximum(np.sqrt((axis**2).sum(axis=0)), 1e-6)
    axis = np.einsum("ij,jxyz->ixyz", pose[:3, :3].astype(np.float32), axis)
    ndi, odi = _density_and_dispersion(fields, anatomy, seed)
    return Microstructure(ndi, odi, axis.astype(np.float32))


def upright_microstructure(anatomy: Anatomy, seed: int) -> UprightMicrostructure:
    """What directions share of a subject's microstructure, much faster than
    `random_microstructure`; the voxels lie along the axes of the subject's world."""
    fields = _UprightFields(anatomy, seed)
    ndi, odi = _density_and_dispersion(fields, anatomy, seed)
    mean, spread = FIBRE_COHERENCE
    coherence = mean + spread * fields.specific(COHERENCE_FIELD, COHERENCE_CYCLES)
    return UprightMicrostructure(ndi, odi, np.clip(coherence, *COHERENCE_BOUNDS))


def _density_and_dispersion(
    fields: _SubjectFields | _UprightFields, anatomy: Anatomy, seed: int
) -> tuple[dict[str, Array], dict[str, Array]]:
    """Neurite density and orientation dispersion of each nervous tissue."""
    rng = np.random.default_rng([seed, 5])
    offsets = rng.normal(0, 1, 2) * (SUBJECT_NDI_SD, SUBJECT_ODI_SD)
    texture = np.clip(anatomy.texture.cpu().numpy(), -3, 3)
    ndi, odi = {}, {}
    for number, (name, (density, dispersion)) in enumerate(TYPICAL_NDI_ODI.items(), start=3):
        scale = 1.0 if name == "white" else 0.5
        ndi[name] = density + offsets[0] + scale * (
            0.05 * fields.common(number, 1.0) + 0.02 * fields.specific(number, 1.0)
        ) - 0.02 * texture  # fmt: skip
        odi[name] = dispersion + offsets[1] + scale * (
            0.08 * fields.common(number + 3, 1.0) + 0.03 * fields.specific(number + 3, 1.0)
        )  # fmt: skip
    ndi["lesion"], odi["lesion"] = (np.full_like(ndi["white"], value) for value in LESION_NDI_ODI)
    return (
        {name: np.clip(values, 0.05, 0.95).astype(np.float32) for name, values in ndi.items()},
        {name: np.clip(values, 0.03, 0.97).astype(np.float32) for name, values in odi.items()},
    )


class _SubjectFields:
    """Smooth fields over a subject's head, by number; oblique grids are sampled directly."""

    def __init__(self, anatomy: Anatomy, to_subject: NDArray[np.float64], seed: int) -> None:
        self._shape, self._seed = anatomy.shape, seed
        index = np.indices(self._shape, dtype=np.float32).reshape(3, -1)
        world = to_subject[:3, :3] @ index + to_subject[:3, 3:]
        centre = to_subject @ np.append(anatomy.brain_centre(), 1)
        self._points = ((world - centre[:3, None]) / COORDINATE_UNIT_MM).astype(np.float32)

    def common(self, number: int, cycles: float) -> Array:
        """A field that all subjects share."""
        return self._waves(np.random.default_rng([number, 71]), cycles)

    def specific(self, number: int, cycles: float) -> Array:
        """A field of this subject."""
        return self._waves(np.random.default_rng([self._seed, number, 72]), cycles)

    def _waves(self, rng: np.random.Generator, cycles: float) -> Array:
        """Unit variance; at most ``cycles`` periods in 90 mm."""
        waves, phases = _random_waves(rng, cycles)
        field = np.zeros(self._points.shape[1], dtype=np.float32)
        for wave, phase in zip(waves.astype(np.float32), phases.astype(np.float32), strict=True):
            field += np.cos(wave @ self._points + phase)
        return field.reshape(self._shape) * np.float32(np.sqrt(2 / FIELD_WAVE_COUNT))


class _UprightFields:
    """The same fields on a grid along the axes of the subject's world, as sums of products of
    waves along each axis."""

    def __init__(self, anatomy: Anatomy, seed: int) -> None:
        self._axes = centred_axes(anatomy.shape, anatomy.zooms, anatomy.brain_centre())
        self._seed = seed

    def common(self, number: int, cycles: float) -> Array:
        """A field that all subjects share."""
        return self._waves(np.random.default_rng([number, 71]), cycles)

    def specific(self, number: int, cycles: float) -> Array:
        """A field of this subject."""
        return self._waves(np.random.default_rng([self._seed, number, 72]), cycles)

    def _waves(self, rng: np.random.Generator, cycles: float) -> Array:
        waves, phases = _random_waves(rng, cycles)
        x, y, z = (
            np.exp(1j * np.multiply.outer(waves[:, k], axis)).astype(np.complex64)
            for k, axis in enumerate(self._axes)
        )
        x *= np.exp(1j * phases[:, None]).astype(np.complex64)
        plane = (x[:, :, None] * y[:, None, :]).reshape(len(waves), -1)
        field = np.real(plane.T @ z) * np.float32(np.sqrt(2 / FIELD_WAVE_COUNT))
        return np.asarray(field.reshape([len(axis) for axis in self._axes]), dtype=np.float32)


def _random_waves(
    rng: np.random.Generator, cycles: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Wave vectors (N, 3), at most ``cycles`` periods in 90 mm along an axis, and phases (N,)."""
    waves = rng.uniform(-1, 1, (FIELD_WAVE_COUNT, 3)) * 2 * np.pi * cycles
    return waves, rng.uniform(0, 2 * np.pi, FIELD_WAVE_COUNT)


@frozen(eq=False)
class DiffusionTruth:
    """Maps (X, Y, Z) of a subject that an ideal measurement would give.

    NDI and ODI are means over nervous tissue, weighted by its fraction of the voxel; ``csf`` is
    the fraction of free water.  FA and MD (mm2/s) are of the diffusion tensor of the whole voxel,
    with all water weighted equally.
    """

    fa: Array
    md: Array
    ndi: Array
    odi: Array
    csf: Array


def diffusion_truth(anatomy: Anatomy, micro: Microstructure) -> DiffusionTruth:
    """The maps of a subject."""
    fractions = {name: anatomy.fraction(name) for name in NEURAL_TISSUES}
    neural = np.maximum(sum(fractions.values()), 1e-6)
    across, along = np.zeros(anatomy.shape), np.zeros(anatomy.shape)
    total = np.full(anatomy.shape, 1e-6)
    for name, fraction in fractions.items():
        density, second_moment = micro.ndi[name], watson_moment(2, micro.odi[name])
        aligned = mean_cosine_squared(second_moment)
        extra_across, extra_along = hindered_diffusivities(density, second_moment)
        intra_across = NEURITE_DIFFUSIVITY_MM2_PER_S * (1 - aligned) / 2
        intra_along = NEURITE_DIFFUSIVITY_MM2_PER_S * aligned
        across += fraction * (density * intra_across + (1 - density) * extra_across)
        along += fraction * (density * intra_along + (1 - density) * extra_along)
        total += fraction
    for name, diffusivity in ISOTROPIC_DIFFUSIVITY_MM2_PER_S.items():
        fraction = anatomy.fraction(name)
        across += fraction * diffusivity
        along += fraction * diffusivity
        total += fraction
    across, along = across / total, along / total
    norm = np.sqrt(along**2 + 2 * across**2)
    ndi, odi = (
        sum(fraction * maps[name] for name, fraction in fractions.items()) / neural
        for maps in (micro.ndi, micro.odi)
    )
    return DiffusionTruth(
        fa=(np.abs(along - across) / np.maximum(norm, 1e-9)).astype(np.float32),
        md=((along + 2 * across) / 3).astype(np.float32),
        ndi=ndi.astype(np.float32),
        odi=odi.astype(np.float32),
        csf=anatomy.fraction("csf"),
    )
