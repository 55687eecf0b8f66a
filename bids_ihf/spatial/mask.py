"""Brain and head masks: from the image's own zeros where it is stripped, else from the template."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage

from bids_ihf.spatial.ants_image import load_ants, to_ants, write_matrix
from bids_ihf.spatial.bias import coarse_grid
from bids_ihf.spatial.template import load_template
from bids_ihf.volume.grid import Grid, resample

if TYPE_CHECKING:
    from numpy.typing import NDArray

STRIPPED_ZEROS = 0.35
"""Share of exact zeros a stripped image has at least."""

LARGEST_BRAIN_ML = 2200.0
"""No brain fills more; a head does."""

COARSE = 3.0
"""Voxel size (mm) at which the template is fitted to a whole head."""

CLOSING = 3
SOFT_EDGE = 0.1
"""Added before the cut at one half: the mask reaches a little way into the CSF round the brain."""

HEAD_HEIGHT = 175.0
"""From the vertex to below the cerebellum, mm: what lies lower is neck."""


def is_stripped(data: NDArray[np.float32], affine: NDArray[np.float64] | None = None) -> bool:
    """Whether only a brain is left: many exact zeros, and what is not zero no larger than a brain.

    Without an affine voxels count as 1 mm, which tells a brain from a head at usual resolutions.
    """
    signal = data != 0
    if 1 - signal.mean() < STRIPPED_ZEROS:
        return False
    volume = 1.0 if affine is None else abs(float(np.linalg.det(affine[:3, :3])))
    return bool(np.count_nonzero(ndimage.binary_fill_holes(signal)) * volume / 1e3 < LARGEST_BRAIN_ML)


def _threshold(data: NDArray[np.float32]) -> float:
    """Otsu's threshold between air and head, of the square root so that bright fat weighs less."""
    from skimage.filters import threshold_otsu

    root = np.sqrt(np.maximum(data, 0))
    return float(threshold_otsu(root[::2, ::2, ::2] if root.size > 1e6 else root) ** 2)


def _largest(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    labels, count = ndimage.label(mask)
    if count == 0:
        return mask
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    return labels == sizes.argmax()


def head_mask(data: NDArray[np.float32], affine: NDArray[np.float64]) -> NDArray[np.bool_]:
    """All that is not air: bright voxels, closed, without holes, the largest piece."""
    shape = (data.shape[0], data.shape[1], data.shape[2])
    native, grid = Grid(shape, affine), coarse_grid(shape, affine, COARSE)
    small = resample(data, native, grid)
    bright = np.pad(small > 0.5 * _threshold(small), 4)
    closed = ndimage.binary_closing(bright, iterations=3)
    filled = ndimage.binary_fill_holes(_largest(closed))[4:-4, 4:-4, 4:-4]
    return resample(filled.astype(np.float32), grid, native) > 0.5


def brain_mask(data: NDArray[np.float32], affine: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Brain of a T1w or T2w image (X, Y, Z) of a whole, defaced or stripped head."""
    if is_stripped(data, affine):
        filled = ndimage.binary_fill_holes(_largest(data != 0))
        return np.asarray(filled, dtype=bool)
    return _from_template(data, affine)


def _from_template(
    data: NDArray[np.float32], affine: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """The template's mask, brought to the head by an affine and a coarse deformable registration."""
    shape = (data.shape[0], data.shape[1], data.shape[2])
    native, grid = Grid(shape, affine), coarse_grid(shape, affine, COARSE)
    small = np.maximum(resample(data, native, grid), 0)
    head = head_mask(small, grid.affine)
    small = np.minimum(small, np.float32(np.percentile(small[head], 99.5))) * head
    small = small * _above_neck(head, grid)
    template = load_template()
    ants = load_ants()
    fixed_grid = coarse_grid(template.grid.shape, template.grid.affine, COARSE)
    fixed = resample(template.image, template.grid, fixed_grid)
    inside = resample(template.mask.astype(np.float32), template.grid, fixed_grid)
    start = _start(small, grid, inside > 0.5, fixed_grid)
    with tempfile.TemporaryDirectory(prefix="ihf-mask-") as folder:
        first = Path(folder) / "start.mat"
        write_matrix(np.linalg.inv(start), first)
        target = to_ants(fixed, fixed_grid.affine)
        moving = to_ants(small, grid.affine)
        near = to_ants(ndimage.binary_dilation(inside > 0.5, iterations=2), fixed_grid.affine)
        options: dict[str, Any] = {"mask": near, "mask_all_stages": True, "random_seed": 1}
        linear = ants.registration(
            target, moving, type_of_transform="Affine", initial_transform=[str(first)],
            aff_metric="mattes", aff_sampling=32, aff_random_sampling_rate=0.5,
            aff_iterations=(200, 200, 100), aff_shrink_factors=(4, 2, 1),
            aff_smoothing_sigmas=(2, 1, 0), outprefix=str(Path(folder) / "a_"), **options,
        )  # fmt: skip
        warped = ants.registration(
            target, moving, type_of_transform="SyNOnly",
            initial_transform=linear["fwdtransforms"], syn_metric="mattes", syn_sampling=32,
            reg_iterations=(40, 30, 20), outprefix=str(Path(folder) / "s_"), **options,
        )  # fmt: skip
        brought = ants.apply_transforms(
            moving, to_ants(inside, fixed_grid.affine), warped["invtransforms"],
            whichtoinvert=[str(t).endswith(".mat") for t in warped["invtransforms"]],
        ).numpy()  # fmt: skip
    return resample(_round_off(brought), grid, native) > 0.5


def _round_off(mask: NDArray[np.float32]) -> NDArray[np.float32]:
    """Close sulci that the registration followed, and soften the voxels' edges."""
    padded = np.pad(mask > 0.5, CLOSING + 1)
    closed = ndimage.binary_closing(padded, iterations=CLOSING)[(slice(CLOSING + 1, -CLOSING - 1),) * 3]
    smooth: NDArray[np.float32] = ndimage.gaussian_filter(
        np.maximum(mask, closed.astype(np.float32)), 0.6
    )
    return smooth + SOFT_EDGE


def _above_neck(head: NDArray[np.bool_], grid: Grid) -> NDArray[np.bool_]:
    """Voxels no lower than HEAD_HEIGHT below the top of the head."""
    index = np.indices(grid.shape).reshape(3, -1)
    height = (grid.affine[2, :3] @ index + grid.affine[2, 3]).reshape(grid.shape)
    top = float(np.percentile(height[head], 99.9))
    return height > top - HEAD_HEIGHT


def _start(
    head: NDArray[np.float32], grid: Grid, brain: NDArray[np.bool_], fixed_grid: Grid
) -> NDArray[np.float64]:
    """Lay the template's brain into the head: side to side and front to back by centre, top by top."""
    inside = _world(head > 0, grid)
    target = _world(brain, fixed_grid)
    shift = target.mean(axis=1) - inside.mean(axis=1)
    scalp = 12.0  # mm from the vertex to the brain
    shift[2] = np.percentile(target[2], 99.9) - (np.percentile(inside[2], 99.9) - scalp)
    out = np.eye(4)
    out[:3, 3] = shift
    return out


def _world(mask: NDArray[np.bool_], grid: Grid) -> NDArray[np.float64]:
    return grid.affine[:3, :3] @ np.argwhere(mask).T + grid.affine[:3, 3:]


