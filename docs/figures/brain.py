"""Draw the brain masks and tissue fractions of real scans.

Usage: python -m docs.figures.brain FIGURE.png IMAGE.nii.gz [IMAGE.nii.gz ...]

For each image three planes through the middle of its brain: the scan with the mask's outline, and
the fractions of grey matter (red), white matter (green) and CSF (blue) on the network's 2 mm grid.
Of a diffusion series the first volume is used.  Prints volume, time, similarity
and the peak memory.
"""

from __future__ import annotations

import resource
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import nibabel as nib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from bids_ihf.geometry.grid import Grid, resample
from bids_ihf.pipeline.process import set_up_process
from bids_ihf.preprocessing.alignment import align_to_template
from bids_ihf.preprocessing.brain_mask import find_brain
from bids_ihf.preprocessing.segmentation import antialias

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from bids_ihf.preprocessing.brain_mask import Brain

IMAGES_PER_ROW = 3


def read(path: Path) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """The first volume of an image, and its affine."""
    image = nib.load(path)
    data = np.asarray(image.dataobj[..., 0] if image.ndim == 4 else image.dataobj)
    return data.astype(np.float32), image.affine


def draw_image(axes: list[Axes], path: Path) -> None:
    """Six panels of one image."""
    data, affine = read(path)
    native = Grid((data.shape[0], data.shape[1], data.shape[2]), affine)
    start = time.perf_counter()
    brain = find_brain(data, affine)
    mask_seconds = time.perf_counter() - start
    alignment = align_to_template(brain.segmentation)
    total_seconds = time.perf_counter() - start
    voxel = abs(np.linalg.det(affine[:3, :3])) / 1000
    sys.stdout.write(
        f"{path.name}: {brain.mask.sum() * voxel:.0f} ml, stripped {brain.stripped}, mask "
        f"{mask_seconds:.1f} s, with registration {total_seconds:.1f} s, "
        f"similarity {alignment.similarity:.2f}\n"
    )
    scan = resample(antialias(data, native, 2.0), native, brain.segmentation.grid)
    outline = resample(brain.mask.astype(np.float32), native, brain.segmentation.grid)
    _planes(axes, brain, scan, outline)
    axes[0].set_title(path.name.split(".")[0], color="white", fontsize=7, loc="left")


def _planes(
    axes: list[Axes], brain: Brain, scan: NDArray[np.float32], outline: NDArray[np.float32]
) -> None:
    centre = np.argwhere(brain.segmentation.brain > 0.5).mean(axis=0).astype(int)
    bright = np.percentile(scan[outline > 0.5], 99.5)
    colours = np.clip(np.moveaxis(brain.segmentation.shares[1:], 0, 3), 0, 1)
    for axis in range(3):
        plane = tuple(centre[k] if k == axis else slice(None) for k in range(3))
        panel, tissue = axes[2 * axis : 2 * axis + 2]
        panel.imshow(scan[plane].T, origin="lower", cmap="gray", vmin=0, vmax=bright)
        panel.contour(outline[plane].T, [0.5], colors="red", linewidths=0.6)
        tissue.imshow(np.swapaxes(colours[plane], 0, 1), origin="lower")


def draw(figure_path: Path, paths: list[Path]) -> None:
    """All images."""
    set_up_process(0)
    rows = -(-len(paths) // IMAGES_PER_ROW)
    figure = Figure(figsize=(6.2 * IMAGES_PER_ROW, 1.25 * rows), facecolor="black")
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, 6 * IMAGES_PER_ROW, squeeze=False)
    for panel in axes.ravel():
        panel.axis("off")
    for number, path in enumerate(paths):
        row, column = divmod(number, IMAGES_PER_ROW)
        draw_image(list(axes[row, 6 * column : 6 * column + 6]), path)
    figure.subplots_adjust(left=0, right=1, bottom=0, top=0.98, wspace=0.02, hspace=0.16)
    figure.savefig(figure_path, dpi=80, facecolor="black")
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    sys.stdout.write(f"peak memory {used:.2f} GiB\n")


if __name__ == "__main__":
    draw(Path(sys.argv[1]), [Path(argument) for argument in sys.argv[2:]])
