"""Writing all that belongs to one harmonized diffusion series; its sidecar last."""

from __future__ import annotations

import hashlib
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from attrs import frozen

from bids_ihf.anat.outputs import (
    CHANGE,
    HARMONIZED,
    clear,
    figures_folder,
    require_written,
    write_mask,
    write_transform,
)
from bids_ihf.bids.images import gradient_table_paths, sidecar_path
from bids_ihf.bids.scans_table import update_scans_table
from bids_ihf.bids.sidecars import derivative_sidecar, write_json
from bids_ihf.dwi.harmonize import EXPONENT_BOUNDS
from bids_ihf.io.atomic import open_atomic, write_atomic
from bids_ihf.io.series import SeriesWriter
from bids_ihf.pipeline.plan import DIFFUSION_MODEL
from bids_ihf.reports.reference_images import template_on

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from bids_ihf.dwi.harmonize import ShellPlan
    from bids_ihf.io.series import Series
    from bids_ihf.pipeline.plan import Task
    from bids_ihf.pipeline.worker import Settings
    from bids_ihf.preprocessing.prepare import Prepared

    Array = NDArray[np.float32]


WARNING = (
    "The attenuation of a shell differs from the target's by more than scanners do (out-of-range "
    "score {:.2f}, limit 1); judge the result by its pictures."
)


@frozen(eq=False)
class Result:
    """How a harmonization came about, beside the series itself.

    scanner: by what the source's scanner was known, a vendor or a profile's name.
    before, after: (X, Y, Z) mean image of the lowest weighted shell.
    distances: of tissue's attenuations to the target's, before and after.
    anisotropy: (X, Y, Z) FA before and after; None where the directions are too few.
    """

    plan: ShellPlan
    scanner: str | None
    before: Array
    after: Array
    distances: tuple[float, float]
    change_rms: float
    round_trip_error: float
    anisotropy: tuple[Array, Array] | None = None


@frozen(eq=False)
class Outputs:
    """The two series that are being written."""

    harmonized: SeriesWriter
    change: SeriesWriter

    def add(self, image: Array, change: Array) -> None:
        """The next volume of each."""
        self.harmonized.add(image)
        self.change.add(change)


@contextmanager
def writing(task: Task, series: Series) -> Iterator[Outputs]:
    """Both series on disk, complete, once the block ends; what was there before is cleared.

    Raises
    ------
    CannotWrite
        An output cannot be written.
    """
    clear(task)
    with ExitStack() as stack:
        writers = [
            SeriesWriter(stack.enter_context(open_atomic(path)), series)
            for path in (task.outputs.harmonized, task.outputs.change)
        ]
        yield Outputs(*writers)
        for writer in writers:
            writer.close()


def write_rest(task: Task, prepared: Prepared, result: Result, settings: Settings) -> None:
    """Write b-tables, mask, transform, figures and table row, and the sidecars last.

    Raises
    ------
    CannotWrite
        An output cannot be written.
    """
    extra = provenance(task, result, settings)
    score = strain(result.plan)
    if score >= 1:
        extra["HarmonizationWarning"] = WARNING.format(score)
    write_tables(task)
    write_mask(task, prepared)
    write_transform(task, prepared)
    _write_figures(task, prepared, result, settings)
    update_scans_table(settings.out_dir, task.image, _measures(task, prepared, result, settings))
    stripped = prepared.stripped
    require_written(task)
    for path, text in (
        (task.outputs.change, CHANGE),
        (task.outputs.harmonized, HARMONIZED.format(settings.goal.name)),
    ):
        sidecar = derivative_sidecar(
            task.image, description=text, skull_stripped=stripped, extra=extra
        )
        write_json(sidecar_path(path), sidecar)


def write_tables(task: Task) -> None:
    """The source's b-table beside both series, byte for byte."""
    tables = task.image.bval, task.image.bvec
    for image in (task.outputs.harmonized, task.outputs.change):
        for path, source in zip(gradient_table_paths(image), tables, strict=True):
            if source is not None:
                write_atomic(path, source.read_bytes())


def provenance(task: Task, result: Result, settings: Settings) -> dict[str, Any]:
    """Sidecar fields of our own."""
    goal, plan = settings.goal, result.plan
    return {
        "HarmonizationTarget": goal.name,
        "HarmonizationTargetHash": goal.diffusion_hash,
        "HarmonizationModel": DIFFUSION_MODEL,
        # There are no weights: the name says it all.
        "HarmonizationModelHash": hashlib.sha256(DIFFUSION_MODEL.encode()).hexdigest(),
        "HarmonizationShells": [
            {
                "BValue": shell.b,
                "TargetBValue": shell.target_b,
                "AttenuationExponent": shell.exponent,
                "MeasuredExponent": shell.measured,
                "AnisotropyFactor": shell.anisotropy,
            }
            for shell in plan.shells
        ],
        "SourceVendor": task.image.vendor,
        "SourceProfile": result.scanner,
        "SourceProfileHash": goal.source_hash,
        "RoundTripMaxError": result.round_trip_error,
        "Device": "cpu",
        "IntensityScaling": {
            "SourceLevels": plan.source_levels,
            "TargetLevels": plan.target_levels,
            "SourceNoiseFloor": plan.source_floor,
            "TargetNoiseFloor": plan.target_floor,
        },
        "ConfigurationHash": task.hash,
    }


def _write_figures(task: Task, prepared: Prepared, result: Result, settings: Settings) -> None:
    from bids_ihf.reports.figures import Shown, write_reportlets

    write_reportlets(
        figures_folder(task, settings),
        task.name.rsplit("_", 1)[0],
        task.image.suffix,
        Shown(
            before=result.before,
            after=result.after,
            change=result.after - result.before,
            mask=prepared.mask,
            affine=prepared.volume.affine,
            template=template_on(prepared),
            anisotropy=result.anisotropy,
        ),
    )


def _measures(
    task: Task, prepared: Prepared, result: Result, settings: Settings
) -> dict[str, float | str | None]:
    """One row of the scans table."""
    voxel = abs(float(np.linalg.det(prepared.volume.affine[:3, :3])))
    score = strain(result.plan)
    return {
        "harmonization_target": settings.goal.name,
        "source_vendor": task.image.vendor,
        "harmonization_warning": "yes" if score >= 1 else "no",
        "out_of_range_score": score,
        **_anisotropies(result, prepared),
        "distance_before": result.distances[0],
        "distance_after": result.distances[1],
        "change_rms": result.change_rms,
        "round_trip_max_error": result.round_trip_error,
        "mask_volume_ml": float(np.count_nonzero(prepared.mask)) * voxel / 1000,
        "alignment_similarity": prepared.similarity,
        "alignment_coverage": prepared.coverage,
        "seconds": sum(prepared.seconds.values()),
    }


def strain(plan: ShellPlan) -> float:
    """How large an exponent a shell asks for, at most: 0 is none, 1 the limit of what is used."""
    low, high = np.log(EXPONENT_BOUNDS)
    logs = [float(np.log(shell.measured)) for shell in plan.shells]
    return max((log / (high if log > 0 else low) for log in logs), default=0.0)


def _anisotropies(result: Result, prepared: Prepared) -> dict[str, float]:
    if result.anisotropy is None:
        return {}
    before, after = (float(np.median(fa[prepared.mask])) for fa in result.anisotropy)
    return {"fa_before": before, "fa_after": after}
