"""The two steps of a diffusion series: its mean b 0 stands in for preparation, then each shell is
changed, volume by volume."""

from __future__ import annotations

import logging
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
from attrs import frozen
from scipy import ndimage

from bids_ihf.bids.gradient_tables import MAX_B0_S_PER_MM2, read_gradient_table
from bids_ihf.dwi.harmonize import EXPONENT_BOUNDS, harmonize_volumes, make_harmonizer, make_plan
from bids_ihf.dwi.outputs import Result, write_rest, writing
from bids_ihf.dwi.profile import measure_profile
from bids_ihf.dwi.shell_fit import ShellSums, fit_shells
from bids_ihf.dwi.shells import find_shells
from bids_ihf.dwi.tensor import TensorSums
from bids_ihf.errors import BadData
from bids_ihf.io.atomic import folder_lock
from bids_ihf.io.nifti import Volume, encode_nifti
from bids_ihf.io.series import open_series
from bids_ihf.pipeline.run_log import NOTICE
from bids_ihf.targets.intensity import background_gain

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from bids_ihf.bids.gradient_tables import GradientTable
    from bids_ihf.dwi.harmonize import ShellPlan
    from bids_ihf.dwi.profile import DiffusionProfile, KnownScanner
    from bids_ihf.dwi.shell_fit import ShellFit
    from bids_ihf.io.series import Series
    from bids_ihf.pipeline.plan import Task
    from bids_ihf.pipeline.worker import Settings
    from bids_ihf.preprocessing.prepare import Prepared

    Array = NDArray[np.float32]

LOGGER = logging.getLogger(__name__)

INSIDE_MM = 4.0
"""How far inside the brain mask the voxels lie that a series is measured in."""


@contextmanager
def standing_in(
    image: Path, tables: tuple[Path | None, Path | None], output: Path
) -> Iterator[Path]:
    """A file with the mean volume without weighting, after a look at the whole series.

    What is found wrong with it later is said of the series.

    Raises
    ------
    BadData
        The series or its b-table cannot be used.
    """
    series = open_series(image)
    gradients = read_gradient_table(image, *tables, series.volume_count)
    path = output.with_name(f"{image.name.split('.')[0]}_b0.nii.gz")
    mean = mean_unweighted(series, gradients)
    like = Volume(mean, series.affine, series.header.copy(), path)
    path.write_bytes(encode_nifti(mean, like))
    try:
        yield path
    except BadData as error:
        raise BadData(str(error).replace(str(path), str(image))) from error


def mean_unweighted(series: Series, gradients: GradientTable) -> Array:
    """Mean (X, Y, Z) of the volumes without weighting; every volume is looked at.

    Raises
    ------
    BadData
        A volume has NaN voxels or lacks slices that the others have.
    """
    total = np.zeros(series.shape, dtype=np.float64)
    lit = np.zeros((series.volume_count, series.shape[2]), dtype=bool)
    unweighted = gradients.bvals <= MAX_B0_S_PER_MM2
    for number, volume in enumerate(series.volumes()):
        if not np.isfinite(volume).all():
            count = int(np.count_nonzero(~np.isfinite(volume)))
            raise BadData(
                f"{series.path}: {count} voxels of volume {number + 1} are NaN or infinite; "
                "repair the series or exclude that volume and its b-table entry."
            )
        lit[number] = volume.any(axis=(0, 1))
        if unweighted[number]:
            total += volume
    _check_slices(series.path, lit)
    return (total / unweighted.sum()).astype(np.float32)


def _check_slices(path: Path, lit: NDArray[np.bool_]) -> None:
    """Refuse a series in which a volume lacks slices that most volumes have."""
    lost = ~lit & (lit.mean(axis=0) > 0.5)
    bad = np.flatnonzero(lost.any(axis=1))
    if bad.size:
        raise BadData(
            f"{path}: volume {bad[0] + 1} has {int(lost[bad[0]].sum())} empty slices where others "
            "have signal; exclude that volume and its b-table entry."
        )
    if not lit.any():
        raise BadData(f"{path}: all voxels are 0, so it is empty; exclude it.")


@frozen(eq=False)
class Fitted:
    """A series with its table, the weight of the head (X, Y, Z), the fits and the bias at its
    voxels ``where``, those of them well inside the brain, and the profile of it all."""

    series: Series
    gradients: GradientTable
    weight: Array
    fits: tuple[ShellFit, ...]
    bias: Array
    brain: NDArray[np.bool_]
    profile: DiffusionProfile

    @property
    def where(self) -> NDArray[np.bool_]:
        """Voxels (X, Y, Z) of the head."""
        return self.weight > 0


def fit_series(image: Path, tables: tuple[Path | None, Path | None], prepared: Prepared) -> Fitted:
    """Fit the shells of a prepared series in one pass, and measure them.

    Raises
    ------
    BadData
        The series or its b-table cannot be used.
    """
    series = open_series(image)
    gradients = read_gradient_table(image, *tables, series.volume_count)
    weight = _head_weight(prepared)
    where = weight > 0
    volumes = _shown(series, image.name.split(".")[0], "fitting")
    fits = fit_shells(volumes, gradients, find_shells(gradients.bvals), where)
    bias, brain = prepared.bias[where], _well_inside(prepared)[where]
    try:
        profile = measure_profile(fits, brain, bias)
    except ValueError as error:
        raise BadData(f"{image}: {error}; check the series and its mask.") from error
    return Fitted(series, gradients, weight, fits, bias, brain, profile)


def harmonize_series(task: Task, prepared: Prepared, settings: Settings) -> None:
    """Harmonize a prepared diffusion series and write all outputs, the sidecar last.

    Three passes: the preparation has looked at every volume, the second fits the shells, the
    third changes the volumes and fits the result.

    Raises
    ------
    HarmonyError
        The series cannot be used, or an output cannot be written.
    """
    start = time.perf_counter()
    found = fit_series(task.image.path, (task.image.bval, task.image.bvec), prepared)
    series, where = found.series, found.where
    target = _target(settings)
    scanner = _scanner(task.image.vendor, settings)
    plan = make_plan(found.profile, target, scanner)
    changer = make_harmonizer(found.fits, plan, found.bias)
    _doubt(task.name, plan)
    if settings.output_spaces:
        LOGGER.warning(
            "%s: --output-spaces does not hold for it: a diffusion series is written on its own "
            "grid alone, since in template space its directions would have to be turned.",
            task.name,
        )
    after = ShellSums(found.gradients, [fit.shell for fit in found.fits], where)
    before, done = (TensorSums(found.gradients, prepared.mask) for _ in range(2))
    change_rms, worst, highest = 0.0, 0.0, 0.0
    # Another run may be at the same series, with this target or another: nothing may be mixed, and
    # what it has just finished is not taken away from it.
    with folder_lock(task.outputs.folder):
        if task.finished:
            return
        with writing(task, series) as outputs:
            volumes = harmonize_volumes(
                _shown(series, task.name, "changing"),
                *(found.gradients, changer, where, found.weight, background_gain(plan.gain)),
            )
            for number, (original, image) in enumerate(volumes):
                change = image - original
                if not np.isfinite(change).all():
                    raise BadData(
                        f"{series.path}: volume {number + 1} is NaN or infinite and was not when "
                        "it was first read, so the file was changed meanwhile; look at it and "
                        "run again."
                    )
                outputs.add(image, change)
                after.add(number, image)
                before.add(number, original)
                done.add(number, image)
                change_rms += float(np.square(change[prepared.mask], dtype=np.float64).mean())
                worst = max(worst, float(np.abs((image - change) - original).max()))
                highest = max(highest, float(np.abs(original).max()))
        prepared.seconds["harmonize"] = time.perf_counter() - start
        result = Result(
            plan=plan,
            scanner=scanner.name if scanner else None,
            before=_scattered(found.fits, where),
            after=_scattered(after.fits(), where),
            distances=(
                distance(found.profile, target),
                _distance_after(after, found.brain, target),
            ),
            change_rms=float(np.sqrt(change_rms / series.volume_count)),
            round_trip_error=worst / max(highest, 1e-12),
            anisotropy=_both(before.anisotropy(), done.anisotropy()),
        )
        write_rest(task, prepared, result, settings)
    LOGGER.info("%s: written", task.name)


def _both(before: Array | None, after: Array | None) -> tuple[Array, Array] | None:
    return None if before is None or after is None else (before, after)


def _doubt(name: str, plan: ShellPlan) -> None:
    """Warn of a shell that differs from the target's by more than scanners do."""
    for shell in plan.shells:
        if not EXPONENT_BOUNDS[0] < shell.measured < EXPONENT_BOUNDS[1]:
            LOGGER.warning(
                "%s: at b %.0f its attenuation differs from the target's by more than scanners do "
                "(an exponent of %.2f would be needed, %.2f is used); look at it.",
                name, shell.b, shell.measured, shell.exponent,
            )  # fmt: skip


def _target(settings: Settings) -> DiffusionProfile:
    from bids_ihf.dwi.profile_file import profile_of_target
    from bids_ihf.pipeline.worker import target_of

    return profile_of_target(target_of(settings.target, "cpu", settings.model))


def _scanner(vendor: str, settings: Settings) -> KnownScanner | None:
    """What is known of the scanner of a series: from --source-profile, or its vendor's."""
    from bids_ihf.dwi.profile_file import content_of, scanner_of_target, scanner_of_vendor
    from bids_ihf.pipeline.worker import target_of

    if settings.source_profile is not None:
        told = target_of(settings.source_profile, "cpu", settings.model)
        if content_of(told) is not None:
            return scanner_of_target(told)
    return scanner_of_vendor(vendor)


def _head_weight(prepared: Prepared) -> Array:
    """1 in the head, 0 in the air; the brain is head whatever its intensities."""
    from bids_ihf.anat.harmonize import head_weight

    return np.maximum(head_weight(prepared), prepared.mask.astype(np.float32))


def _well_inside(prepared: Prepared) -> NDArray[np.bool_]:
    """The brain without its rim, where fluid, skull and motion disturb; all of a thin one."""
    depth = ndimage.distance_transform_edt(prepared.mask, sampling=prepared.grid.zooms)
    inside: NDArray[np.bool_] = depth > INSIDE_MM
    return inside if inside.any() else prepared.mask


def _shown(series: Series, name: str, doing: str) -> Iterator[Array]:
    """The volumes, with a line at each quarter of the series."""
    marks = {max(1, round(series.volume_count * part / 4)) for part in (1, 2, 3, 4)}
    for number, volume in enumerate(series.volumes(), start=1):
        yield volume
        if number in marks:
            LOGGER.log(
                NOTICE, "%s: %s, %d of %d volumes", name, doing, number, series.volume_count
            )


def _scattered(fits: tuple[ShellFit, ...], where: NDArray[np.bool_]) -> Array:
    """Mean of the lowest weighted shell as an image (X, Y, Z), 0 in the air."""
    out = np.zeros(where.shape, dtype=np.float32)
    out[where] = fits[1].mean
    return out


def _distance_after(sums: ShellSums, brain: NDArray[np.bool_], target: DiffusionProfile) -> float:
    """Distance of the result; the receive field has been divided out by now."""
    fits = sums.fits()
    ones = np.ones(len(brain), dtype=np.float32)
    try:
        return distance(measure_profile(fits, brain, ones), target)
    except ValueError:  # the result is written all the same; the table has no number
        return float("nan")


def distance(one: DiffusionProfile, target: DiffusionProfile) -> float:
    """Root mean square of the logarithms of the ratios of tissue's attenuations, all shells."""
    logs = [
        np.log(getattr(target.at(shell.b), name) / getattr(shell, name))
        for shell in one.shells
        for name in ("fibrous", "other")
    ]
    return float(np.sqrt(np.nanmean(np.square(logs))))
