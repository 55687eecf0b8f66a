"""The two steps of one image, as plain functions on files: prepare, then harmonize and write."""

from __future__ import annotations

import logging
import os
import time
from contextlib import nullcontext
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from attrs import frozen

from bids_ihf.config import Normalization
from bids_ihf.errors import BadData, TemporaryFailure
from bids_ihf.pipeline.memory import keep_freed_memory
from bids_ihf.pipeline.run_log import about

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bids_ihf.anat.harmonize import Harmonized
    from bids_ihf.bids.images import SourceImage
    from bids_ihf.network.checkpoint import ModelBundle
    from bids_ihf.pipeline.plan import Goal, Task
    from bids_ihf.preprocessing.prepare import Prepared
    from bids_ihf.targets.source_profile import SourceProfile
    from bids_ihf.targets.target import Target

LOGGER = logging.getLogger(__name__)


@frozen
class Settings:
    """What one image needs to know of the run; ``target`` is a vendor's name or a target file, so
    is ``source_profile``, if any."""

    bids_dir: Path
    out_dir: Path
    work_dir: Path
    goal: Goal
    target: str
    device: str
    cpu_if_full: bool
    batch_size: int
    normalization: Normalization
    output_spaces: tuple[str, ...]
    seed: int
    source_profile: str | None = None
    model: str | None = None
    """File of the network; None is the shipped one."""


def fix_threads(threads: int, seed: int) -> None:
    """Set the threads of the numerical libraries not loaded yet, and ITK's threads and seed."""
    from bids_ihf.preprocessing.itk import configure_itk

    os.environ.setdefault("OMP_NUM_THREADS", str(threads))
    configure_itk(seed)


def prepare_scan(
    image: Path,
    output: Path,
    *,
    modality: str,
    preprocessed: bool,
    mask: Path | None,
    mask_needed: bool,
    anchor: Path | None,
    seed: int,
    threads: int,
    tables: tuple[Path | None, Path | None] = (None, None),
) -> None:
    """Write bias field, brain mask and transform to the template of a scan to ``output`` (.npz).

    Of a diffusion series the mean volume without weighting is prepared and kept beside
    ``output``; ``tables`` are its .bval and .bvec.

    Raises
    ------
    BadData
        The scan or its mask cannot be used, or its mask is missing.
    """
    keep_freed_memory()
    fix_threads(threads, seed)
    from bids_ihf.dwi.series import standing_in
    from bids_ihf.preprocessing.prepare import prepare

    with about(_subject(image)):
        LOGGER.info("%s: preparing", image.name)
        if mask_needed and mask is None:
            raise BadData(
                f"{image}: no brain mask of it is in --derivatives; add one, or use "
                "--brain-mask auto."
            )
        with (
            standing_in(image, tables, output) if modality == "dwi" else nullcontext(image) as scan
        ):
            prepared = prepare(
                scan,
                modality=modality,
                preprocessed=preprocessed,
                mask_path=mask,
                t1w_reference=load_prepared(anchor) if anchor else None,
            )
        save_prepared(prepared, output)


def _subject(image: Path) -> str:
    return image.name.split("_")[0].split(".")[0].removeprefix("sub-")


def save_prepared(prepared: Prepared, output: Path) -> None:
    """Keep what was computed; the voxels stay in their own file."""
    # Uncompressed: the folder is cleared soon, and zlib takes longer than writing it all.
    np.savez(
        output,
        path=str(prepared.volume.path),
        bias=prepared.bias,
        mask=prepared.mask,
        shares=prepared.segmentation.tissue_fractions,
        seen=prepared.segmentation.field_of_view,
        shares_affine=prepared.segmentation.grid.affine,
        stripped=prepared.stripped,
        to_template=prepared.to_template,
        similarity=_or_nan(prepared.similarity),
        coverage=_or_nan(prepared.coverage),
        stages=list(prepared.seconds),
        seconds=list(prepared.seconds.values()),
    )


def load_prepared(path: Path) -> Prepared:
    """What :func:`save_prepared` kept, with the voxels read again from the scan."""
    from bids_ihf.geometry.grid import Grid
    from bids_ihf.io.nifti import read_volume
    from bids_ihf.preprocessing.prepare import Prepared
    from bids_ihf.preprocessing.segmentation import Segmentation

    with np.load(path) as kept:
        shares, seen = kept["shares"], kept["seen"]
        seconds = zip(kept["stages"].tolist(), kept["seconds"].tolist(), strict=True)
        return Prepared(
            volume=read_volume(Path(str(kept["path"]))),
            bias=kept["bias"],
            mask=kept["mask"],
            segmentation=Segmentation(shares, seen, Grid(seen.shape, kept["shares_affine"])),
            stripped=bool(kept["stripped"]),
            to_template=kept["to_template"],
            similarity=_or_none(kept["similarity"]),
            coverage=_or_none(kept["coverage"]),
            seconds=dict(seconds),
        )


def _or_nan(value: float | None) -> float:
    return np.nan if value is None else value


def _or_none(kept: NDArray[np.float64]) -> float | None:
    return None if np.isnan(kept) else float(kept)


@lru_cache(maxsize=2)
def model_on(device: str, network: str | None = None) -> ModelBundle:
    """A network (the shipped one) on a device, loaded once in each process."""
    from bids_ihf.network.checkpoint import load_model

    return load_model(Path(network) if network else None, device=device)


@lru_cache(maxsize=8)
def target_of(spec: str, device: str, network: str | None = None) -> Target:
    """The target, loaded once in each process."""
    from bids_ihf.targets.build import load_target

    return load_target(spec, model_on(device, network))


def harmonize_scan(task: Task, prepared_file: Path, settings: Settings, *, threads: int) -> Path:
    """Harmonize one prepared scan and write all outputs, the sidecar of the image last.

    Raises
    ------
    HarmonyError
        The scan cannot be used, or an output cannot be written.
    """
    keep_freed_memory()
    fix_threads(threads, settings.seed)
    import torch

    from bids_ihf.anat.outputs import write_all
    from bids_ihf.io.atomic import folder_lock

    torch.set_num_threads(threads)
    with about(task.image.subject):
        LOGGER.info("%s: harmonizing to %s", task.name, settings.goal.name)
        prepared = load_prepared(prepared_file)
        if task.image.suffix == "dwi":
            from bids_ihf.dwi.series import harmonize_series

            harmonize_series(task, prepared, settings)
            return task.sidecar
        start = time.perf_counter()
        harmonized, device = _on_device(task, prepared, settings)
        prepared.seconds["harmonize"] = time.perf_counter() - start
        # Another run may be at the same image, with this target or another: nothing may be mixed,
        # and what it has just finished is not taken away from it.
        with folder_lock(task.outputs.folder):
            if not task.finished:
                write_all(task, prepared, harmonized, settings, device)
        LOGGER.info("%s: written", task.name)
        return task.sidecar


def _on_device(task: Task, prepared: Prepared, settings: Settings) -> tuple[Harmonized, str]:
    """Harmonized scan and the device it was made on: the CPU where ``auto`` found the GPU full."""
    try:
        return _harmonize(task, prepared, settings, settings.device), settings.device
    except TemporaryFailure as error:
        if not settings.cpu_if_full or settings.device == "cpu":
            raise
        LOGGER.warning("%s: %s Going on with the CPU.", task.name, error)
        return _harmonize(task, prepared, settings, "cpu"), "cpu"


def _harmonize(task: Task, prepared: Prepared, settings: Settings, device: str) -> Harmonized:
    from bids_ihf.anat.harmonize import harmonize

    return harmonize(
        prepared,
        target_of(settings.target, device, settings.model).profile(task.image.suffix),
        model_on(device, settings.model),
        source=_known_source(task.image, settings, device),
        batch_size=settings.batch_size,
    )


def _known_source(image: SourceImage, settings: Settings, device: str) -> SourceProfile | None:
    """What is known of the scanner of a T1w or T2w scan: from --source-profile, or its
    vendor's."""
    from bids_ihf.targets.source_profile import source_profile_of, vendor_source_profile

    model = model_on(device, settings.model)
    if settings.source_profile is not None:
        told = target_of(settings.source_profile, device, settings.model)
        found = source_profile_of(told, image.suffix)
        if found is not None:
            return found
    return vendor_source_profile(image.vendor, image.suffix, model.encoder_hash)


def memory_gb(image: Path, bytes_per_voxel: float, base: float) -> float:
    """Memory (GB) a step takes for an image, from the size its header tells."""
    from bids_ihf.io.nifti import open_image

    try:
        shape = open_image(image).shape
    except BadData:
        # The step itself says what is wrong with the file.
        return base
    return base + float(np.prod(shape[:3], dtype=np.float64)) * bytes_per_voxel / 1024**3
