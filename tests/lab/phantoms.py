"""A person of folded shells, and a scan of it as preprocessing would hand it over."""

from __future__ import annotations

from typing import TYPE_CHECKING

import nibabel as nib
import numpy as np
import torch
from scipy import ndimage

from bids_ihf.io.nifti import Volume
from bids_ihf.lab.simulation import smooth_fields
from bids_ihf.lab.simulation.anatomy import Anatomy, standardized_texture
from bids_ihf.lab.simulation.reference_segmentation import reference_segmentation
from bids_ihf.lab.simulation.tissues import SIMULATED_TISSUES, TISSUE_INDEX
from bids_ihf.preprocessing.prepare import Prepared

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

SIDE = 64
ZOOMS = np.ones(3)


def random_texture(seed: int, brain: NDArray[np.bool_]) -> torch.Tensor:
    """A texture of the phantom's grid."""
    texture = smooth_fields.random_texture((SIDE, SIDE, SIDE), ZOOMS, seed)
    return standardized_texture(texture, torch.from_numpy(brain))


def folded_person() -> Anatomy:
    """White matter with a ventricle, within a folded ribbon of grey matter and CSF, 1 mm."""
    axis = np.arange(SIDE) - (SIDE - 1) / 2
    x, y, z = np.meshgrid(axis, axis, axis, indexing="ij")
    radius = np.sqrt(x**2 + y**2 + z**2) + 1.5 * np.sin(0.6 * x) * np.cos(0.6 * y)
    names = np.select(
        [radius < 6, radius < 20, radius < 24, radius < 28], ["csf", "white", "grey", "csf"], "air"
    )
    fractions = np.zeros((len(SIMULATED_TISSUES), SIDE, SIDE, SIDE), dtype=np.float32)
    for name in ("white", "grey", "csf", "air"):
        sharp = (names == name).astype(np.float32)
        fractions[TISSUE_INDEX[name]] = ndimage.gaussian_filter(sharp, 0.6)
    brain = (radius >= 6) & (radius < 24)
    texture = random_texture(3, brain)
    return Anatomy(torch.from_numpy(fractions), texture, np.eye(4), torch.from_numpy(brain))


def prepared(person: Anatomy, image: NDArray[np.float32], path: Path) -> Prepared:
    """A scan with the true mask and 2 mm tissue fractions, free of bias."""
    mask = person.fractions[TISSUE_INDEX["air"]].numpy() < 0.5
    volume = Volume(image, np.eye(4), nib.Nifti1Image(image, np.eye(4)).header, path)
    segmentation = reference_segmentation(person, mask)
    return Prepared(volume, np.ones_like(image), mask, segmentation, True, np.eye(4), None)
