"""FA and MD of real diffusion series of one person, each harmonized to another's profile.

Two series of one session differ by noise and position alone; those before and after a change of
the scanner also by what it changed.  Every ordered pair of series of a person is compared, after a
rigid registration of their mean b=0 images, untouched and harmonized.

Usage: python -m bids_ihf.lab.benchmarks.dwi.rescans BIDS_DIR -o OUT_DIR
"""

from __future__ import annotations

import argparse
import sys
from itertools import permutations
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np
from attrs import evolve, frozen
from scipy import ndimage

from bids_ihf.bids.discovery import find_images, select_subjects
from bids_ihf.dwi.series import harmonize_series
from bids_ihf.dwi.series_fit import FittedSeries, fit_series
from bids_ihf.dwi.tensor import TensorSums
from bids_ihf.geometry.grid import resample
from bids_ihf.io.atomic import write_atomic
from bids_ihf.lab.benchmarks.dwi.map_metrics import (
    BY_VOXEL,
    MIN_REGION_VOXELS,
    cubic_regions,
    region_means,
)
from bids_ihf.lab.benchmarks.dwi.methods import (
    METHOD_DESCRIPTIONS,
    NO_HARMONIZATION,
    SHELL_MODEL,
    SHELL_MODEL_KNOWN_SCANNER,
    SHELL_MODEL_VENDOR_UNKNOWN,
)
from bids_ihf.lab.benchmarks.dwi.rescan_alignment import halfway_grid, rigid_map
from bids_ihf.lab.benchmarks.dwi.rescan_figure import RescanPanel, draw_rescans
from bids_ihf.lab.benchmarks.dwi.tables import aggregate, rounded_rows
from bids_ihf.lab.benchmarks.tables import Column, Table, aligned, group_rows
from bids_ihf.pipeline.image_files import ImageFiles, prepare_files
from bids_ihf.pipeline.process import set_up_process
from bids_ihf.preprocessing.prepare import Prepared
from bids_ihf.targets.source_profile import SourceProfile, diffusion_source_of
from bids_ihf.targets.target_file import vendor_target
from bids_ihf.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from bids_ihf.dwi.shell_plan import DiffusionSource
    from bids_ihf.lab.benchmarks.tables import Row

    Array = NDArray[np.float32]

MD_UNIT_MM2_PER_S = 1e-3
"""Unit of mean diffusivity in the table and the figure."""

MAX_TISSUE_MD = 1.5
"""Mean diffusivity of nervous tissue, relative to its median in the brain; CSF has more."""

MASK_EDGE_VOXELS = 1
"""Outermost voxels of the common mask that are left out."""

SAME_SESSION, BETWEEN_SESSIONS = "same session", "between sessions"
RESCAN_COLUMNS = {
    "subject": Column("Participant"),
    "sessions": Column(
        "Whether both series are of one session; 'between sessions': before and after a change"
    ),
    "source": Column("Series that is harmonized; 'all' for the mean over all ordered pairs"),
    "target": Column("Series to whose profile it is harmonized, and with which it is compared"),
    "method": Column(
        "What made the series",
        levels={
            NO_HARMONIZATION: METHOD_DESCRIPTIONS[NO_HARMONIZATION],
            SHELL_MODEL: "to the profile of the target series, from the typical one of its vendor",
            SHELL_MODEL_VENDOR_UNKNOWN: "to the profile of the target series, vendor not given",
            SHELL_MODEL_KNOWN_SCANNER: "the same with the profile of the source series as "
            "source profile",
        },
    ),
    "map": Column(
        "FA, MD (1e-3 mm2/s): means of regions of four voxels a side, in nervous tissue of the "
        f"common brain mask; with '{BY_VOXEL}': single voxels"
    ),
    "mae": Column("Mean absolute difference to the map of the target series"),
    "bias": Column("Mean difference; for 'all' the mean of the absolute biases of the pairs"),
    "exponent": Column("Exponent on the attenuation of the shell; n/a for several pairs"),
}


@frozen(eq=False)
class RealSeries:
    """A series that is prepared and fitted, with its maps by name (X, Y, Z)."""

    name: str
    session: str | None
    vendor: str
    prepared: Prepared
    fitted: FittedSeries
    maps: Mapping[str, Array]


class TensorSink:
    """Takes the volumes of a series and fits the tensor of all its shells to them."""

    def __init__(self, fitted: FittedSeries, mask: NDArray[np.bool_]) -> None:
        self._sums = TensorSums(fitted.gradients, mask, max_b_s_per_mm2=np.inf)
        self._count = 0

    def add(self, image: Array, change: Array | None = None) -> None:
        """The next volume (X, Y, Z); its change is not needed."""
        self._sums.add(self._count, image)
        self._count += 1

    def maps(self) -> dict[str, Array]:
        """FA and MD (X, Y, Z), 0 outside the mask."""
        anisotropy, diffusivity = self._sums.anisotropy(), self._sums.diffusivity()
        if anisotropy is None or diffusivity is None:
            raise SystemExit("A series has too few directions for the tensor; leave it out.")
        return {"FA": anisotropy, "MD": diffusivity / np.float32(MD_UNIT_MM2_PER_S)}


def load_series(bids: Path, label: str) -> list[RealSeries]:
    """The diffusion series of a participant, prepared as the BIDS App does."""
    found = []
    for image in find_images(bids, label, modalities=["dwi"]):
        files = ImageFiles.around(image.path)
        with TemporaryDirectory(prefix="ihf-rescans-") as folder:
            prepared = prepare_files(files, Path(folder), preprocessed=False)
        fitted = fit_series(files.series, prepared)
        sink = TensorSink(fitted, prepared.mask)
        for volume in fitted.series.volumes():
            sink.add(volume)
        name = image.path.name.split(".")[0].removeprefix(f"sub-{label}_").removesuffix("_dwi")
        series = RealSeries(name, image.session, files.vendor, prepared, fitted, sink.maps())
        found.append(series)
    return found


def harmonized_maps(
    source: RealSeries, target: RealSeries
) -> Iterator[tuple[str, dict[str, Array], float | None]]:
    """Each method, its maps of the source, and the exponent on its (highest) shell."""
    own = source.fitted.profile
    scanners: dict[str, DiffusionSource | None] = {
        SHELL_MODEL: diffusion_source_of(vendor_target(source.vendor)),
        SHELL_MODEL_VENDOR_UNKNOWN: None,
        SHELL_MODEL_KNOWN_SCANNER: SourceProfile(own, subjects=1),
    }
    yield NO_HARMONIZATION, dict(source.maps), None
    for method, scanner in scanners.items():
        if method == SHELL_MODEL and scanner is None:
            continue
        sink = TensorSink(source.fitted, source.prepared.mask)
        done = harmonize_series(
            source.fitted, source.prepared, target.fitted.profile, scanner, sink
        )
        yield method, sink.maps(), done.plan.shells[-1].exponent


def compare(source: RealSeries, target: RealSeries) -> tuple[list[Row], RescanPanel]:
    """Rows of each method and map of a pair, and its maps on one grid."""
    to_source = rigid_map(source.prepared, target.prepared)
    grid = halfway_grid(source.prepared.grid, target.prepared.grid, to_source)

    def moved(data: NDArray[np.generic]) -> Array:
        values = data.astype(np.float32)
        return resample(values, source.prepared.grid, grid, target_to_source=to_source)

    def placed(data: NDArray[np.generic]) -> Array:
        return resample(data.astype(np.float32), target.prepared.grid, grid)

    mask = (moved(source.prepared.mask) > 0.5) & (placed(target.prepared.mask) > 0.5)
    mask = ndimage.binary_erosion(mask, iterations=MASK_EDGE_VOXELS)
    truth = {name: placed(values) for name, values in target.maps.items()}
    both = (moved(source.maps["MD"]) + truth["MD"]) / 2
    neural = mask & (both < MAX_TISSUE_MD * np.median(both[mask]))
    labels, selected = cubic_regions(neural, MIN_REGION_VOXELS)
    rows: list[Row] = []
    panel = RescanPanel(f"{source.name} to {target.name}", truth, {}, mask)
    for method, maps, exponent in harmonized_maps(source, target):
        panel.maps[method] = {name: moved(values) for name, values in maps.items()}
        for name, values in panel.maps[method].items():
            means, reference = (
                region_means(scalar, labels, selected) for scalar in (values, truth[name])
            )
            for ending, differences in (
                ("", means - reference),
                (BY_VOXEL, (values - truth[name])[neural]),
            ):
                rows.append(
                    {
                        "source": source.name, "target": target.name, "method": method,
                        "map": name + ending, "mae": float(np.abs(differences).mean()),
                        "bias": float(differences.mean()), "exponent": exponent,
                    }
                )  # fmt: skip
    return rows, panel


def compare_all(bids: Path) -> tuple[list[Row], list[RescanPanel]]:
    """The rows of a dataset with the means of each participant, and a panel for each kind of
    pair."""
    rows: list[Row] = []
    panels: dict[tuple[str, str], RescanPanel] = {}
    for label in select_subjects(bids):
        by_sessions: dict[str, list[Row]] = {SAME_SESSION: [], BETWEEN_SESSIONS: []}
        for source, target in permutations(load_series(bids, label), 2):
            sessions = SAME_SESSION if source.session == target.session else BETWEEN_SESSIONS
            pair_rows, panel = compare(source, target)
            by_sessions[sessions] += pair_rows
            panels.setdefault((label, sessions), evolve(panel, title=f"sub-{label} {panel.title}"))
        for sessions, pairs in by_sessions.items():
            facts = {"subject": label, "sessions": sessions}
            over_all = [row for row in aggregate(pairs) if row["source"] == "all"]
            rows += [facts | row for row in (*pairs, *over_all)]
    return rows, list(panels.values())


def main(arguments: Sequence[str] | None = None) -> None:
    """Compare, write the table with its data dictionary and the figure, and print the means."""
    parser = argparse.ArgumentParser(
        prog="python -m bids_ihf.lab.benchmarks.dwi.rescans",
        description=(__doc__ or "").splitlines()[0],
    )
    parser.add_argument("bids", type=Path, metavar="BIDS_DIR", help="several series a person")
    parser.add_argument("-o", "--output", type=Path, metavar="OUT_DIR", required=True)
    options = parser.parse_args(arguments)
    set_up_process(seed=0)
    rows, panels = compare_all(options.bids)
    files = Table(rounded_rows(rows), RESCAN_COLUMNS).files("rescans", {"Version": __version__})
    files["fig-rescans.png"] = draw_rescans(panels)
    for name, content in files.items():
        write_atomic(options.output / name, content)
    over_all = [row for row in rows if row["source"] == "all"]
    columns = ["subject", "sessions", "method", "map", "mae", "bias"]
    for group in group_rows(over_all, ["subject"]).values():
        sys.stdout.write(aligned(group, columns) + "\n")


if __name__ == "__main__":
    main()
