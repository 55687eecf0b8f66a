"""Draw real scans beside what the shipped weights make of them for each vendor.

Usage: python -m docs.figures.real_scans FIGURE.png IMAGE.nii.gz [IMAGE.nii.gz ...]

One row for each image: the original, the three harmonized ones, and the three changes, each
divided by what a gain alone would change.  All go through the steps of a participant run.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from bids_ihf.anat.harmonize import harmonize
from bids_ihf.bids.scanners import normalize_vendor
from bids_ihf.geometry.grid import Grid, resample
from bids_ihf.geometry.template import load_template
from bids_ihf.network.checkpoint import load_model
from bids_ihf.pipeline.process import set_up_process
from bids_ihf.preprocessing.prepare import prepare
from bids_ihf.targets.build import load_target
from bids_ihf.targets.source_profile import source_profile_of
from bids_ihf.targets.target import BUILTIN_VENDORS

if TYPE_CHECKING:
    from bids_ihf.network.checkpoint import ModelBundle
    from bids_ihf.preprocessing.prepare import Prepared
    from bids_ihf.targets.source_profile import SourceProfile

SLICE_HEIGHTS_MM = (18.0, -14.0)
"""Axial template coordinates of the slices: ventricles, and cerebellum with temporal lobes."""

PANEL_CROP = (slice(8, 189), slice(16, 222))


def axial(data: np.ndarray, prepared: Prepared, height: float) -> np.ndarray:
    """One axial slice of an array on a scan's grid, in template space."""
    template = load_template().grid
    affine = template.affine.copy()
    affine[2, 3] = height
    flat = Grid((template.shape[0], template.shape[1], 1), affine)
    plane = resample(
        data, prepared.grid, flat, target_to_source=np.linalg.inv(prepared.to_template)
    )
    return plane[PANEL_CROP][:, :, 0]


def source_profile(path: Path, modality: str, model: ModelBundle) -> SourceProfile | None:
    """The vendor's profile, by the Manufacturer in the sidecar of an image, if there is one."""
    sidecar = path.with_name(f"{path.name.split('.')[0]}.json")
    manufacturer = (
        json.loads(sidecar.read_text()).get("Manufacturer", "") if sidecar.exists() else ""
    )
    vendor = normalize_vendor(manufacturer)
    return (
        source_profile_of(load_target(vendor, model), modality)
        if vendor in BUILTIN_VENDORS
        else None
    )


def panels(path: Path, model: ModelBundle) -> list[tuple[str, np.ndarray, float, float]]:
    """Name, picture and grey scale of every panel of an image's row."""
    modality = path.name.split(".")[0].rsplit("_", 1)[-1]
    prepared = prepare(path, modality=modality)
    original = prepared.volume.data
    images = [("original", original / np.percentile(original[prepared.mask], 99.8), 0.0, 1.0)]
    changes = []
    source = source_profile(path, modality, model)
    for vendor in BUILTIN_VENDORS:
        profile = load_target(vendor, model).profile(modality)
        image = harmonize(prepared, profile, model, source=source).image
        unit = image / np.percentile(image[prepared.mask], 99.8)
        images.append((vendor, unit, 0.0, 1.0))
        changes.append((f"change, {vendor}", unit - images[0][1], -0.4, 0.4))
    return [
        (name, np.vstack([axial(data, prepared, z) for z in SLICE_HEIGHTS_MM]), low, high)
        for name, data, low, high in images + changes
    ]


def draw(figure_path: Path, paths: list[Path]) -> None:
    """One row for each image."""
    set_up_process(0)
    model = load_model()
    figure = Figure(figsize=(14, 1.16 * len(paths)), facecolor="black")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(paths), 7, squeeze=False, gridspec_kw={"wspace": 0.02, "hspace": 0})
    for number, path in enumerate(paths):
        for panel, (name, plane, low, high) in zip(axes[number], panels(path, model), strict=True):
            colours = "gray" if low == 0 else "RdBu_r"
            panel.imshow(plane.T, origin="lower", cmap=colours, vmin=low, vmax=high)
            panel.axis("off")
            if number == 0:
                panel.set_title(name, color="white", fontsize=9)
        axes[number, 0].text(2, 4, path.name.split(".")[0], color="white", fontsize=6, va="bottom")
        sys.stderr.write(f"{path.name}\n")
    figure.subplots_adjust(left=0.002, right=0.998, top=1 - 0.25 / (1.16 * len(paths)), bottom=0)
    figure.savefig(figure_path, dpi=90, facecolor="black")


if __name__ == "__main__":
    draw(Path(sys.argv[1]), [Path(argument) for argument in sys.argv[2:]])
