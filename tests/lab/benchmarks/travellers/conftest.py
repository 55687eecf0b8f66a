"""Three people with a brain of ellipses on two scanners, as slabs of three equal slices."""

from __future__ import annotations

from typing import TYPE_CHECKING

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

SHAPE = (72, 80)
SCANNERS = {"a": (40.0, 110.0, 160.0), "b": (60.0, 450.0, 520.0)}
"""Intensities of CSF, grey and white matter."""


def slice_of(subject: int, levels: tuple[float, float, float]) -> NDArray[np.float32]:
    """A brain of concentric ellipses, different for each subject, smooth and a little noisy."""
    x, y = np.meshgrid(*(np.linspace(-1, 1, size) for size in SHAPE), indexing="ij")
    radius = np.hypot(x / (0.8 + 0.03 * subject), y / 0.85)
    fluid = np.hypot(x * 2, y) < 0.2 + 0.04 * subject
    folds = 0.07 * np.sin(12 * np.arctan2(y, x))
    image = np.where(radius < 0.75 + folds, levels[2], levels[1])
    image = np.where(fluid | (radius > 0.93), levels[0], image)
    image = ndimage.gaussian_filter(image, 0.8)
    image += np.random.default_rng([subject, int(levels[0])]).normal(0, 0.01 * levels[2], SHAPE)
    return np.where(radius < 1, np.maximum(image, 1), 0).astype(np.float32)


def write_dataset(folder: Path, subjects: int = 3) -> Path:
    """A BIDS dataset with the scanner as session."""
    for subject in range(subjects):
        for scanner, levels in SCANNERS.items():
            anat = folder / f"sub-{subject}" / f"ses-{scanner}" / "anat"
            anat.mkdir(parents=True)
            slab = np.repeat(slice_of(subject, levels)[..., None], 3, axis=2)
            affine = np.diag([1.0, 1.0, 1.0, 1.0])
            affine[:3, 3] = (-36, -40, 15)
            path = anat / f"sub-{subject}_ses-{scanner}_T1w.nii.gz"
            nib.save(nib.Nifti1Image(slab, affine), path)
    return folder


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """Three people, T1w, scanners a and b."""
    return write_dataset(tmp_path / "bids")
