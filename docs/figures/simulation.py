"""Draw docs/images/simulation.png: one virtual subject, with lesions, on several scanners.

Usage: python -m docs.figures.simulation head-12_dseg.nii.gz docs/images/simulation.png
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from bids_ihf.bids.names import ANATOMICAL_MODALITIES
from bids_ihf.lab.simulation.acquisition import scan
from bids_ihf.lab.simulation.anatomy import crop_to_brain
from bids_ihf.lab.simulation.label_anatomy import from_labels
from bids_ihf.lab.simulation.random_scanners import random_scanner
from bids_ihf.lab.simulation.vendor_scanners import typical_scanner
from bids_ihf.lab.simulation.white_matter_lesions import with_lesions
from bids_ihf.targets.target import BUILTIN_VENDORS

SUBJECT_SEED = 5
RANDOM_SCANNERS = 5


def draw(labels: Path, figure_path: Path) -> None:
    """Three modalities by eight scanners, one axial slice each, each with its own grey scale."""
    anatomy, lesions = with_lesions(
        crop_to_brain(from_labels(labels, seed=SUBJECT_SEED)), SUBJECT_SEED, count=20
    )
    middle = anatomy.shape[2] // 2
    height = middle - 10 + int(lesions[:, :, middle - 10 : middle + 25].sum(axis=(0, 1)).argmax())
    figure = Figure(figsize=(14, 6.5), facecolor="black")
    FigureCanvasAgg(figure)
    axes = figure.subplots(3, 3 + RANDOM_SCANNERS, gridspec_kw={"wspace": 0.02, "hspace": 0.02})
    for row, modality in enumerate(ANATOMICAL_MODALITIES):
        scanners = {
            vendor: typical_scanner(vendor, modality, SUBJECT_SEED) for vendor in BUILTIN_VENDORS
        }
        scanners |= {
            f"random {n + 1}": random_scanner(modality, SUBJECT_SEED + n)
            for n in range(RANDOM_SCANNERS)
        }
        for panel, (name, scanner) in zip(axes[row], scanners.items(), strict=True):
            image = scan(anatomy, scanner, SUBJECT_SEED)
            top = np.percentile(image[anatomy.brain.numpy()], 99.8)
            panel.imshow(image[:, :, height].T, origin="lower", cmap="gray", vmin=0, vmax=top)
            panel.axis("off")
            if row == 0:
                panel.set_title(name, color="white", fontsize=10)
    figure.subplots_adjust(left=0.003, right=0.997, top=0.94, bottom=0.003)
    figure.savefig(figure_path, dpi=80, facecolor="black")


if __name__ == "__main__":
    draw(*(Path(argument) for argument in sys.argv[1:3]))
