"""What the values of a whole-head label map are made of, as mixtures of tissues.

Brain labels are FreeSurfer's.  The extracerebral ones, 502 to 530, are those of the label maps
that accompany SynthSeg (Billot et al. 2023, Med Image Anal 86:102789); that project names few of
them, so their anatomy was read from where they lie.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bids_ihf.lab.simulation import smooth_fields
from bids_ihf.lab.simulation.tissues import SIMULATED_TISSUES, TISSUE_INDEX

if TYPE_CHECKING:
    from numpy.typing import NDArray

SOFT_TISSUE_LABEL, SKIN_LABEL = 507, 511
SUBCUTANEOUS_FAT_MM = 7.0
"""Soft tissue this near the skin is subcutaneous fat."""

MIN_FAT_PLANE_Z = (
    1.7  # standard deviations of a smooth field above which muscle has fat in between
)


def _each(labels: tuple[int, ...], **mixture: float) -> dict[int, dict[str, float]]:
    return dict.fromkeys(labels, mixture)


LABEL_MIXTURES: dict[int, dict[str, float]] = {
    0: {"air": 1.0},
    **_each((2, 41, 7, 46, 85), white=1.0),  # cerebrum, cerebellum, optic chiasm
    **_each((3, 42, 8, 47, 17, 53, 18, 54), grey=1.0),  # cortex, hippocampus, amygdala
    **_each((4, 43, 5, 44, 14, 15, 24, 72), csf=1.0),  # ventricles, subarachnoid space
    **_each((11, 50, 12, 51, 26, 58), deep_grey=1.0),  # caudate, putamen, accumbens
    **_each((10, 49), deep_grey=0.65, white=0.35),  # thalamus
    **_each((13, 52), deep_grey=0.3, white=0.7),  # pallidum: short T1 by iron
    **_each((28, 60), deep_grey=0.35, white=0.65),  # ventral diencephalon
    16: {"white": 0.75, "deep_grey": 0.25},  # brain stem
    **_each((25, 57), white=0.7, grey=0.3),  # periventricular hyperintensity
    **_each((30, 62), csf=0.6, muscle=0.4),  # perivascular spaces, small vessels
    **_each((136, 163, 137, 164), csf=0.4, grey=0.6),  # choroid plexus
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
_FAT = {"fat": 0.85, "muscle": 0.15}
_UNKNOWN = {"muscle": 1.0}
"""A label of the head that this table does not know."""


BRAIN_LABELS: tuple[int, ...] = (
    *(2, 41, 7, 46, 85, 3, 42, 8, 47, 17, 53, 18, 54, 4, 43, 5, 44, 14, 15, 72, 11, 50, 12, 51),
    *(26, 58, 10, 49, 13, 52, 28, 60, 16, 25, 57, 30, 62, 136, 163, 137, 164),
)
"""Labels inside the brain; 24, the CSF around it, is left out."""


def mixture_table(
    labels: NDArray[np.int16], zooms: NDArray[np.float64], seed: int
) -> tuple[NDArray[np.float32], NDArray[np.intp]]:
    """Return a table (rows, K) of tissue mixtures and each voxel's row in it.

    Soft tissue near the skin, and in smooth random planes between the muscles, becomes fat.
    """
    values = np.unique(labels)
    table = [LABEL_MIXTURES.get(int(value), _UNKNOWN) for value in values] + [_FAT]
    lookup = np.zeros(int(values[-1]) + 1, dtype=np.intp)
    lookup[values] = np.arange(values.size)
    index = lookup[labels]
    if SOFT_TISSUE_LABEL in values:
        index[(labels == SOFT_TISSUE_LABEL) & _fat(labels, zooms, seed)] = values.size
    rows = np.zeros((len(table), len(SIMULATED_TISSUES)), dtype=np.float32)
    for row, mixture in zip(rows, table, strict=True):
        for name, part in mixture.items():
            row[TISSUE_INDEX[name]] = part
    return rows, index


def _fat(labels: NDArray[np.int16], zooms: NDArray[np.float64], seed: int) -> NDArray[np.bool_]:
    """Where soft tissue is fat: found at half resolution, for speed."""
    from scipy.ndimage import distance_transform_edt

    coarse = labels[::2, ::2, ::2]
    outside = (coarse != SKIN_LABEL) & (coarse != 0)
    near = distance_transform_edt(outside, sampling=2 * zooms) < SUBCUTANEOUS_FAT_MM
    shape = coarse.shape
    planes = smooth_fields.random_texture(
        (shape[0], shape[1], shape[2]), 2 * zooms, seed + 1, scales=(3.0, 8.0)
    ).numpy()
    fat = near | (np.abs(planes) > MIN_FAT_PLANE_Z)
    for axis in range(3):
        fat = np.repeat(fat, 2, axis=axis)
    x, y, z = labels.shape
    return np.asarray(fat[:x, :y, :z])
