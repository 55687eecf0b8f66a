from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage
from scipy.spatial.transform import Rotation

from bids_ihf.geometry.grid import Grid, canonical_grid, resample
from bids_ihf.geometry.template import load_template
from bids_ihf.preprocessing.segmentation import Segmentation

SHARED = Path(
    os.environ.get("IHF_TEST_DATA", Path(__file__).resolve().parents[3] / "shared" / "data")
)
needs_scans = pytest.mark.skipif(not (SHARED / "bids").is_dir(), reason="needs the sample scans")


def pose(degrees: tuple[float, float, float], shift: tuple[float, float, float]) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("xyz", degrees, degrees=True).as_matrix()
    matrix[:3, 3] = shift
    return matrix


def gap(first: np.ndarray, second: np.ndarray) -> float:
    """Largest distance (mm) between two maps on a sphere round the brain's middle."""
    points = np.random.default_rng(0).normal(size=(100, 3))
    points = 70 * points / np.linalg.norm(points, axis=1)[:, None] + [0, -18, 10]
    ends = [points @ m[:3, :3].T + m[:3, 3] for m in (first, second)]
    return float(np.linalg.norm(ends[0] - ends[1], axis=1).max())


@lru_cache(maxsize=1)
def small_brain() -> tuple[np.ndarray, Grid, np.ndarray]:
    """The template at 3 mm: image, grid, mask."""
    template = load_template()
    grid = canonical_grid(template.image.shape, template.grid.affine, zoom=3.0)
    image = resample(ndimage.gaussian_filter(template.image, 0.8), template.grid, grid)
    mask = resample(template.mask.astype(np.float32), template.grid, grid) > 0.5
    return np.where(mask, image * 800, 0).astype(np.float32), grid, mask


@lru_cache(maxsize=1)
def whole_head() -> tuple[np.ndarray, Grid, np.ndarray]:
    """A simulated person's T1w scan, 2 mm: image, grid, brain."""
    from bids_ihf.lab.simulation.acquisition import scan
    from bids_ihf.lab.simulation.demo_anatomy import demo_anatomy
    from bids_ihf.lab.simulation.template_head import draw_template_head
    from bids_ihf.lab.simulation.vendor_scanners import typical_scanner

    shape = (96, 120, 112)
    affine = np.diag([2.0, 2, 2, 1])
    affine[:3, 3] = (-95.5, -133.5, -117.5)
    person = demo_anatomy(draw_template_head(), 5, shape=shape, affine=affine)
    data = scan(person, typical_scanner("Siemens", "T1w", 5), 5)
    return data, Grid(shape, affine), person.brain.numpy()


@lru_cache(maxsize=1)
def small_segmentation() -> Segmentation:
    """The template's tissues at 3 mm, as a perfect segmentation of it."""
    template = load_template()
    grid = canonical_grid(template.image.shape, template.grid.affine, zoom=3.0)
    shares = [
        resample(ndimage.gaussian_filter(tissue, 0.8), template.grid, grid)
        for tissue in template.tissues
    ]
    outside = 1 - np.sum(shares, axis=0)
    return Segmentation(np.stack([outside, *shares]), np.ones(grid.shape, bool), grid)


def moved_segmentation(move: np.ndarray) -> Segmentation:
    """The template's tissues elsewhere in the world."""
    still = small_segmentation()
    return Segmentation(
        still.tissue_fractions,
        still.field_of_view,
        Grid(still.grid.shape, move @ still.grid.affine),
    )


def save(path: Path, data: np.ndarray, affine: np.ndarray) -> Path:
    nib.save(nib.Nifti1Image(data.astype(np.float32), affine), path)
    return path


def dice(first: np.ndarray, second: np.ndarray) -> float:
    return float(2 * (first & second).sum() / (first.sum() + second.sum()))
