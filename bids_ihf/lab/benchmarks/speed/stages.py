"""Times of the stages of one T1w scan, each several times, in this process."""

from __future__ import annotations

import time
from statistics import median
from typing import TYPE_CHECKING, Any, TypeVar

from attrs import define, field

from bids_ihf.anat.harmonize import apply_network, harmonize, to_native_grid
from bids_ihf.anat.intensity_matching import match_intensities
from bids_ihf.anat.qc_statistics import qc_statistics
from bids_ihf.bids.discovery import find_images
from bids_ihf.geometry.template import load_template
from bids_ihf.io.atomic import write_atomic
from bids_ihf.io.nifti import encode_nifti, read_volume
from bids_ihf.lab.benchmarks.speed.network import NetworkCase
from bids_ihf.pipeline.outputs import shown_anat
from bids_ihf.preprocessing import alignment, bias_field, brain_mask
from bids_ihf.preprocessing.head import head_weight
from bids_ihf.preprocessing.prepare import Prepared
from bids_ihf.reports.figures import write_figures
from bids_ihf.reports.participant import build_participant_report
from bids_ihf.targets.network_input import to_network_input

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from bids_ihf.anat.harmonize import Harmonized
    from bids_ihf.network.checkpoint import ModelBundle
    from bids_ihf.targets.profile import Profile

Result = TypeVar("Result")


@define
class Stopwatch:
    """Calls functions several times and keeps the median times by name."""

    repeats: int
    seconds: dict[str, float] = field(factory=dict)

    def __call__(self, name: str, run: Callable[[], Result]) -> Result:
        """Time a function; returns the result of its last call."""
        times = []
        for _ in range(self.repeats):
            start = time.perf_counter()
            result = run()
            times.append(time.perf_counter() - start)
        self.seconds[f"{name}_s"] = median(times)
        return result


def prepare_stages(watch: Stopwatch, bids: Path, path: Path) -> Prepared:
    """From the index to a prepared scan."""
    label = path.name.split("_")[0]
    load_template()  # read once in a process, whatever it does
    watch("index", lambda: find_images(bids, label))
    volume = watch("load", lambda: read_volume(path))
    brain = watch("mask", lambda: brain_mask.find_brain(volume.data, volume.affine))
    registration = watch("registration", lambda: alignment.align_to_template(brain.segmentation))
    bias = watch("n4", lambda: bias_field.bias_field(volume.data, volume.affine, brain.mask))
    return Prepared(
        volume,
        bias,
        brain.mask,
        brain.segmentation,
        brain.stripped,
        registration.matrix,
        registration.similarity,
    )


def network_stages(
    watch: Stopwatch, prepared: Prepared, profile: Profile, model: ModelBundle
) -> tuple[NetworkCase, Harmonized]:
    """From a prepared scan to the harmonized one."""
    on_grid = watch("to_network_grid", lambda: to_network_input(prepared))
    matched = watch("encoder_and_curve", lambda: match_intensities(on_grid, profile, model))
    case = NetworkCase(matched, on_grid.brain_slices)
    result = watch("network", lambda: apply_network(matched, model))
    watch("evidence", lambda: qc_statistics(matched, result, model))
    residual = matched.with_field(result) - matched.data
    watch("back_projection", lambda: to_native_grid(residual, on_grid, prepared))
    watch("head", lambda: head_weight(prepared))
    return case, harmonize(prepared, profile, model)


def output_stages(
    watch: Stopwatch, prepared: Prepared, harmonized: Harmonized, folder: Path
) -> None:
    """Compress and write an image, and draw its figures."""

    def figures() -> None:
        pictures = shown_anat(prepared, harmonized)
        write_figures(folder / "figures", "sub-01", "T1w", pictures, harmonized.qc)

    data = watch("compression", lambda: encode_nifti(harmonized.image, prepared.volume))
    path = folder / "image.nii.gz"

    def compress_and_write() -> None:
        write_atomic(path, encode_nifti(harmonized.image, prepared.volume))

    watch("writing", lambda: write_atomic(path, data))
    watch("compression_and_writing", compress_and_write)
    watch("figures", figures)


def page_stage(watch: Stopwatch, out: Path, label: str) -> None:
    """The report of a participant from the output of a run."""
    watch("report", lambda: build_participant_report(out, label))


def shape_of(prepared: Prepared) -> dict[str, Any]:
    """Size of the scan that was measured."""
    zooms = prepared.grid.zooms
    return {"voxels": list(prepared.volume.data.shape), "zooms_mm": [float(z) for z in zooms]}
