"""Draw FA of real diffusion series before and after harmonization (docs/images/dwi-real.png).

    python -m docs.figures.diffusion BIDS_DIR OUT_DIR... docs/images/dwi-real.png

Each OUT_DIR holds the results of ihf-harmony for one target.  One row a series: FA of the source,
of each result, and each difference.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from bids_ihf.bids.gradient_tables import read_gradient_table
from bids_ihf.io.nifti import read_volume
from bids_ihf.io.series import open_series
from bids_ihf.lab.benchmarks.dwi.maps import Maps, tensor_maps
from bids_ihf.lab.benchmarks.dwi.traveling_subjects import DiffusionScan

MAX_FA_DIFFERENCE = 0.05
"""Difference of FA shown in full colour."""


def middle_slice(path: Path, mask_path: Path) -> tuple[Maps, np.ndarray]:
    """Maps of the middle slice of a series, and the brain there; all its shells are fitted."""
    series = open_series(path)
    stem = path.name.split(".")[0]
    tables = (path.with_name(f"{stem}.{kind}") for kind in ("bval", "bvec"))
    gradients = read_gradient_table(path, *tables, series.volume_count)
    mask = read_volume(mask_path).data > 0
    level = int(np.argwhere(mask)[:, 2].mean()) + 3
    volumes = np.stack([volume[:, :, level : level + 1] for volume in series.volumes()])
    # One shell each: the tensor is fitted whatever its b-value.
    scan = DiffusionScan(volumes, gradients)
    return tensor_maps(scan, mask[:, :, level : level + 1], np.inf), mask[:, :, level]


def show(panel: Any, data: np.ndarray, title: str, **style: Any) -> None:
    """One picture without axes."""
    panel.imshow(data.T, origin="lower", **style)
    panel.set_title(title, fontsize=7)
    panel.axis("off")


def main(bids: Path, outs: list[Path], picture: Path) -> None:
    """Fit and draw."""
    series = sorted(
        path.relative_to(outs[0]) for path in outs[0].glob("sub-*/dwi/*harmonized_dwi.nii.gz")
    )
    figure = Figure(figsize=(2 + 3.2 * len(outs), 2.0 * len(series)), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(len(series), 1 + 2 * len(outs), squeeze=False)
    for row, relative in zip(panels, series, strict=True):
        source = bids / str(relative).replace("_desc-harmonized", "")
        mask = outs[0] / str(relative).replace("harmonized_dwi", "brain_mask")
        before, inside = middle_slice(source, mask)
        fa = before.fa[:, :, 0]
        show(row[0], fa, f"{relative.parts[0]}: source", cmap="gray", vmin=0, vmax=0.9)
        for number, out in enumerate(outs):
            after, _ = middle_slice(out / relative, mask)
            sidecar = json.loads((out / str(relative).replace(".nii.gz", ".json")).read_text())
            shells = ", ".join(
                f"{s['AttenuationExponent']:.2f}" for s in sidecar["HarmonizationShells"]
            )
            new, change = after.fa[:, :, 0], (after.fa - before.fa)[:, :, 0]
            md = (after.md[:, :, 0][inside].mean() / before.md[:, :, 0][inside].mean() - 1) * 100
            title = f"to {sidecar['HarmonizationTarget']} (exponent {shells})"
            differs = f"FA {change[inside].mean():+.4f}, MD {md:+.1f} %"
            show(row[1 + 2 * number], new, title, cmap="gray", vmin=0, vmax=0.9)
            show(
                row[2 + 2 * number],
                change,
                differs,
                cmap="RdBu_r",
                vmin=-MAX_FA_DIFFERENCE,
                vmax=MAX_FA_DIFFERENCE,
            )
            print(relative, title, f"FA {fa[inside].mean():.3f};", differs)
    figure.savefig(picture, dpi=90, metadata={"Software": None})


if __name__ == "__main__":
    main(Path(sys.argv[1]), [Path(word) for word in sys.argv[2:-1]], Path(sys.argv[-1]))
