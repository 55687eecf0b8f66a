"""Draw docs/images/demo.png from the folders that ``make demo`` writes.

Usage, in the root of the repository: python -m docs.figures.demo demo/bids demo/out
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from bids_ihf.geometry.grid import Grid, resample
from bids_ihf.geometry.template import load_template
from bids_ihf.io.nifti import read_volume
from bids_ihf.preprocessing.itk import read_affine

IMAGES = Path(__file__).parents[1] / "images"
SESSIONS = {"siemens": "Siemens", "ge": "GE", "philips": "Philips"}
TRANSFORM_NAME = "{}_from-{}_to-MNI152NLin2009aSym_mode-image_xfm.mat"
SLICE_HEIGHT_MM = 18.0
"""Axial template coordinate of the slice: through the ventricles."""


def axial(path: Path, transform: Path) -> np.ndarray:
    """One axial slice of an image in template space."""
    volume, template = read_volume(path), load_template()
    affine = template.grid.affine.copy()
    affine[2, 3] = SLICE_HEIGHT_MM
    x, y, _ = template.grid.shape
    shape = (volume.data.shape[0], volume.data.shape[1], volume.data.shape[2])
    return resample(
        volume.data,
        Grid(shape, volume.affine),
        Grid((x, y, 1), affine),
        target_to_source=read_affine(transform),
    )[:, :, 0]


def draw(bids: Path, out: Path, figure_path: Path, subject: str = "01") -> None:
    """Three scanners by two modalities, before above after, each row with one grey scale."""
    figure = Figure(figsize=(11, 4.7), facecolor="black")
    FigureCanvasAgg(figure)
    axes = figure.subplots(2, 6, gridspec_kw={"wspace": 0.02, "hspace": 0.02})
    for number, suffix in enumerate(("T1w", "T2w")):
        for column, (session, vendor) in enumerate(SESSIONS.items()):
            folder = Path(f"sub-{subject}", f"ses-{session}", "anat")
            stem = f"sub-{subject}_ses-{session}"
            transform = out / folder / TRANSFORM_NAME.format(stem, suffix)
            images = (
                bids / folder / f"{stem}_{suffix}.nii.gz",
                out / folder / f"{stem}_desc-harmonized_{suffix}.nii.gz",
            )
            for row, path in enumerate(images):
                plane = axial(path, transform)[8:189, 16:222]
                # Before, units differ by vendor: a scale for each scan; after, one for all.
                top = np.percentile(plane, 99) if row == 0 else shared_top(out, subject, suffix)
                panel = axes[row, 3 * number + column]
                panel.imshow(plane.T, origin="lower", cmap="gray", vmin=0, vmax=top)
                panel.axis("off")
            title = f"{vendor} {suffix}"
            axes[0, 3 * number + column].set_title(title, color="white", fontsize=11)
    figure.subplots_adjust(left=0.005, right=0.995, top=0.93, bottom=0.005)
    figure.savefig(figure_path, dpi=100, facecolor="black")


def shared_top(out: Path, subject: str, suffix: str) -> float:
    """White level for all harmonized images: from the Siemens session."""
    folder = out / f"sub-{subject}" / "ses-siemens" / "anat"
    stem = f"sub-{subject}_ses-siemens"
    transform = folder / TRANSFORM_NAME.format(stem, suffix)
    plane = axial(folder / f"{stem}_desc-harmonized_{suffix}.nii.gz", transform)
    return float(np.percentile(plane, 99))


if __name__ == "__main__":
    draw(Path(sys.argv[1]), Path(sys.argv[2]), IMAGES / "demo.png")
