"""Mixtures of tissues that the labels of a whole-head label map stand for.

Brain labels are those of FreeSurfer.  The extracerebral ones, 502 to 530, are those of the label
maps published with SynthSeg (Billot et al. 2023, Med Image Anal 86:102789); few of them are named
there, so their anatomy was inferred from their position.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from bids_ihf.lab.simulation import smooth_fields
from bids_ihf.lab.simulation.tissues import SIMULATED_TISSUES, TISSUE_INDEX

if TYPE_CHECKING:
    from numpy.typing import NDArray

SOFT_TISSUE_LABEL, SKIN_LABEL = 507, 511

SUBCUTANEOUS_FAT_MM = 7.0
"""Soft tissue nearer to the skin than this is subcutaneous fat."""

MIN_FAT_PLANE_SD = 1.7
"""Muscle is replaced by fat where a smooth field is farther from zero than this, in SD."""


def _mixture(labels: tuple[int, ...], **mixture: float) -> dict[int, dict[str, float]]:
    """The same mixture for several labels."""
    return dict.fromkeys(labels, mixture)


LABEL_MIXTURES: dict[int, dict[str, float]] = {
    0: {"air": 1.0},
    **_mixture((2, 41, 7, 46, 85), white=1.0),  # cerebrum, cerebellum, optic chiasm
    **_mixture((3, 42, 8, 47, 17, 53, 18, 54), grey=1.0),  # cortex, hippocampus, amygdala
    **_mixture((4, 43, 5, 44, 14, 15, 24, 72), csf=1.0),  # ventricles, subarachnoid space
    **_mixture((11, 50, 12, 51, 26, 58), deep_grey=1.0),  # caudate, putamen, accumbens
    **_mixture((10, 49), deep_grey=0.65, white=0.35),  # thalamus
    **_mixture((13, 52), deep_grey=0.3, white=0.7),  # pallidum: short T1 by iron
    **_mixture((28, 60), deep_grey=0.35, white=0.65),  # ventral diencephalon
    16: {"white": 0.75, "deep_grey": 0.25},  # brain stem
    **_mixture((25, 57), white=0.7, grey=0.3),  # periventricular hyperintensity
    **_mixture((30, 62), csf=0.6, muscle=0.4),  # perivascular spaces, small vessels
    **_mixture((136, 163, 137, 164), csf=0.4, grey=0.6),  # choroid plexus
    502: {"bone": 0.6, "muscle": 0.4},  # carotid arteries: flow void
    506: {"vitreous": 1.0},  # eye balls
    SOFT_TISSUE_LABEL: {"muscle": 1.0},
    508: {"muscle": 1.0},  # muscles of the eye
    509: {"muscle": 0.6, "csf": 0.4},  # nasal mucosa
    SKIN_LABEL: {"skin": 1.0},
    512: {"white": 0.7, "grey": 0.3},  # spinal cord
    514: {"bone": 0.4, "muscle": 0.6},  # venous sinuses, dura
    515: {"bone": 1.0},  # cortical bone
    516: {"fat": 0.55, "bone": 0.30, "muscle": 0.15},  # marrow
    530: {"white": 0.8, "csf": 0.2},  # optic nerve in its sheath
}
"""Mixture of tissues of each label."""

ENHANCED_MIXTURES: dict[int, dict[str, float]] = {
    **_mixture((30, 62), csf=0.4, enhanced=0.6),  # small vessels
    **_mixture((136, 163, 137, 164), csf=0.3, grey=0.2, enhanced=0.5),  # choroid plexus
    502: {"bone": 0.3, "enhanced": 0.7},  # carotid arteries
    509: {"muscle": 0.3, "enhanced": 0.7},  # nasal mucosa
    514: {"bone": 0.2, "enhanced": 0.8},  # venous sinuses, dura
}
"""Mixtures of the labels that take up contrast agent."""

FAT_MIXTURE = {"fat": 0.85, "muscle": 0.15}
UNLISTED_LABEL_MIXTURE = {"muscle": 1.0}

BRAIN_LABELS: tuple[int, ...] = (
    *(2, 41, 7, 46, 85, 3, 42, 8, 47, 17, 53, 18, 54, 4, 43, 5, 44, 14, 15, 72, 11, 50, 12, 51),
    *(26, 58, 10, 49, 13, 52, 28, 60, 16, 25, 57, 30, 62, 136, 163, 137, 164),
)
"""Labels inside the brain; 24, the CSF around it, is left out."""


def mixture_table(
    labels: NDArray[np.int16],
    zooms: NDArray[np.float64],
    seed: int,
    *,
    contrast_agent: bool = False,
) -> tuple[NDArray[np.float32], NDArray[np.intp]]:
    """Table (R, K) of mixtures of the K tissues, and the row of each voxel (X, Y, Z) in it.

    Soft tissue near the skin, and in smooth random planes between the muscles, becomes fat;
    ``zooms`` are voxel sizes in mm.  With a contrast agent, vessels, sinuses, dura, choroid plexus
    and mucosa enhance.
    """
    values = np.unique(labels)
    by_label = LABEL_MIXTURES | ENHANCED_MIXTURES if contrast_agent else LABEL_MIXTURES
    mixtures = [by_label.get(int(value), UNLISTED_LABEL_MIXTURE) for value in values]
    mixtures.append(FAT_MIXTURE)
    lookup = np.zeros(int(values[-1]) + 1, dtype=np.intp)
    lookup[values] = np.arange(values.size)
    index = lookup[labels]
    if SOFT_TISSUE_LABEL in values:
        index[(labels == SOFT_TISSUE_LABEL) & _fat_mask(labels, zooms, seed)] = values.size
    table = np.zeros((len(mixtures), len(SIMULATED_TISSUES)), dtype=np.float32)
    for row, mixture in zip(table, mixtures, strict=True):
        for name, fraction in mixture.items():
            row[TISSUE_INDEX[name]] = fraction
    return table, index


def _fat_mask(
    labels: NDArray[np.int16], zooms: NDArray[np.float64], seed: int
) -> NDArray[np.bool_]:
    """Voxels whose soft tissue is fat, computed at half resolution for speed."""
    coarse = labels[::2, ::2, ::2]
    beneath_skin = (coarse != SKIN_LABEL) & (coarse != 0)
    depth = ndimage.distance_transform_edt(beneath_skin, sampling=2 * zooms)
    x, y, z = coarse.shape
    planes = smooth_fields.random_texture((x, y, z), 2 * zooms, seed + 1, scales_mm=(3.0, 8.0))
    fat = (depth < SUBCUTANEOUS_FAT_MM) | (np.abs(planes.numpy()) > MIN_FAT_PLANE_SD)
    return double_resolution(fat, labels.shape)


def double_resolution(mask: NDArray[np.bool_], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """A mask with each voxel doubled along every axis, cut to ``shape``.

    >>> double_resolution(np.ones((2, 2, 2), dtype=bool), (3, 4, 4)).shape
    (3, 4, 4)
    """
    for axis in range(3):
        mask = np.repeat(mask, 2, axis=axis)
    x, y, z = shape
    return mask[:x, :y, :z]
