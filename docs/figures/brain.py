"""Draw the brain mask and the tissues that the shipped network finds in real scans.

Usage: python -m docs.figures.brain FIGURE.png IMAGE.nii.gz [IMAGE.nii.gz ...]

For each image three planes through the middle of its brain: the scan with the mask's outline, and
the shares of grey matter (red), white matter (green) and fluid (blue) on the network's 2 mm grid.
Of a diffusion series the first volume is taken.  Prints volume, time and likeness to the template,
and in the end the most memory that was used.
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
from bids_ihf.preprocessing.alignment import align_to_template
from bids_ihf.preprocessing.brain_mask import find_brain
from bids_ihf.preprocessing.prepare import deterministic
from bids_ihf.preprocessing.segmentation import antialias

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from bids_ihf.preprocessing.brain_mask import Brain

COLUMNS = 3
"""Images side by side."""


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
    found = time.perf_counter() - start
    alignment = align_to_template(brain.segmentation)
    whole = time.perf_counter() - start
    voxel = abs(np.linalg.det(affine[:3, :3])) / 1000
    sys.stdout.write(
        f"{path.name}: {brain.mask.sum() * voxel:.0f} ml, stripped {brain.stripped}, mask "
        f"{found:.1f} s, with alignment {whole:.1f} s, likeness {alignment.similarity:.2f}\n"
    )
    shown = resample(antialias(data, native, 2.0), native, brain.segmentation.grid)
    outline = resample(brain.mask.astype(np.float32), native, brain.segmentation.grid)
    _planes(axes, brain, shown, outline)
    axes[0].set_title(path.name.split(".")[0], color="white", fontsize=7, loc="left")


def _planes(
    axes: list[Axes], brain: Brain, shown: NDArray[np.float32], outline: NDArray[np.float32]
) -> None:
    middle = np.argwhere(brain.segmentation.brain > 0.5).mean(axis=0).astype(int)
    bright = np.percentile(shown[outline > 0.5], 99.5)
    colours = np.clip(np.moveaxis(brain.segmentation.shares[1:], 0, 3), 0, 1)
    for axis in range(3):
        plane = tuple(middle[k] if k == axis else slice(None) for k in range(3))
        panel, tissue = axes[2 * axis : 2 * axis + 2]
        panel.imshow(shown[plane].T, origin="lower", cmap="gray", vmin=0, vmax=bright)
        panel.contour(outline[plane].T, [0.5], colors="red", linewidths=0.6)
        tissue.imshow(np.swapaxes(colours[plane], 0, 1), origin="lower")


def draw(figure_path: Path, paths: list[Path]) -> None:
    """All images, COLUMNS in a row."""
    deterministic(1)
    rows = -(-len(paths) // COLUMNS)
    figure = Figure(figsize=(6.2 * COLUMNS, 1.25 * rows), facecolor="black")
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, 6 * COLUMNS, squeeze=False)
    for panel in axes.ravel():
        panel.axis("off")
    for number, path in enumerate(paths):
        row, column = divmod(number, COLUMNS)
        draw_image(list(axes[row, 6 * column : 6 * column + 6]), path)
    figure.subplots_adjust(left=0, right=1, bottom=0, top=0.98, wspace=0.02, hspace=0.16)
    figure.savefig(figure_path, dpi=80, facecolor="black")
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    sys.stdout.write(f"at most {used:.2f} GiB of memory\n")


if __name__ == "__main__":
    draw(Path(sys.argv[1]), [Path(argument) for argument in sys.argv[2:]])
