"""How time and memory grow with images, voxels and directions, and a figure of it."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import nibabel
import numpy as np

from bids_ihf.lab.benchmarks.speed.inputs import make_directions, make_session, make_slabs
from bids_ihf.lab.benchmarks.vendors.drawing import new_figure, png_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from bids_ihf.lab.benchmarks.speed.processes import ProcessCost
    from bids_ihf.lab.benchmarks.speed.runs import Runner

    Rows = list[dict[str, Any]]

PANELS = (
    ("growth", "images", "slabs of 8 slices, each of a person"),
    ("growth_by_voxels", "megavoxels", "a T1w, million voxels"),
    ("growth_by_directions", "directions", "a series of 2 mm, directions"),
)
"""Key in the results, quantity of the axis, and its label."""

TIME_COLOUR, MEMORY_COLOUR = "#1f5a94", "#b3541e"


def growth_by_images(run: Runner, scan: Path, mask: np.ndarray, counts: Sequence[int]) -> Rows:
    """Time and memory by the number of small images, each of another subject."""
    rows = []
    for count in counts:
        bids = make_slabs(run.scratch / "slabs", scan, mask, count)
        cost = run(bids, "--preprocessed", "--skip-bids-validation")
        shutil.rmtree(bids)
        rows.append({"images": count, **_cost_record(cost)})
    return rows


def growth_by_voxels(run: Runner, zooms: Sequence[float]) -> Rows:
    """Time and memory of one T1w by its voxel size, mm."""
    rows = []
    for zoom in zooms:
        bids = run.scratch / "voxels"
        path = make_session(bids, zoom=zoom, suffixes=("T1w",))
        voxels = int(np.prod(nibabel.Nifti1Image.from_filename(path).shape))
        cost = run(bids, "--skip-bids-validation")
        shutil.rmtree(bids)
        rows.append({"zoom_mm": zoom, "megavoxels": voxels / 1e6, **_cost_record(cost)})
    return rows


def growth_by_directions(run: Runner, series: Path, counts: Sequence[int]) -> Rows:
    """Time and memory of one diffusion series by the number of its directions.

    Parameters
    ----------
    series
        A series of one shell, whose volumes are repeated.
    """
    rows = []
    for count in counts:
        bids = make_directions(run.scratch / "directions", series, count)
        cost = run(bids, "--skip-bids-validation")
        shutil.rmtree(bids)
        rows.append({"directions": count, **_cost_record(cost)})
    return rows


def _cost_record(cost: ProcessCost) -> dict[str, float]:
    return {"s": cost.seconds, "cpu_s": cost.cpu_seconds, "peak_pss_gib": cost.memory_gib}


def growth_figure(results: Mapping[str, Any]) -> bytes:
    """Time and memory by each quantity, as PNG."""
    figure = new_figure(11, 3.2)
    for number, (key, quantity, label) in enumerate(PANELS):
        rows = results[key]
        time = figure.add_subplot(1, len(PANELS), number + 1)
        memory = time.twinx()
        for axes, name, colour in (
            (time, "s", TIME_COLOUR),
            (memory, "peak_pss_gib", MEMORY_COLOUR),
        ):
            axes.plot(
                [row[quantity] for row in rows], [row[name] for row in rows],
                marker="o", color=colour,
            )  # fmt: skip
            axes.set_ylim(bottom=0)
            axes.tick_params(axis="y", colors=colour)
        time.set_xlim(left=0)
        time.set_xlabel(label)
        if number == 0:
            time.set_ylabel("time, s", color=TIME_COLOUR)
        if number == len(PANELS) - 1:
            memory.set_ylabel("memory (PSS), GiB", color=MEMORY_COLOUR)
        time.spines["top"].set_visible(False)
        memory.spines["top"].set_visible(False)
    figure.tight_layout()
    return png_of(figure)
