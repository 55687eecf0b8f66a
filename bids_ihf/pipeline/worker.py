"""The two steps of one image in a worker process: prepare, then harmonize and write."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from bids_ihf.bids.output_files import clear_outputs
from bids_ihf.config import RunConfig
from bids_ihf.dwi.mean_b0 import SeriesFiles
from bids_ihf.dwi.series_fit import fit_series
from bids_ihf.dwi.series_writing import write_series
from bids_ihf.errors import BadData
from bids_ihf.io.atomic import folder_lock
from bids_ihf.pipeline.harmonization import Harmonization
from bids_ihf.pipeline.image_files import ImageFiles, prepare_files
from bids_ihf.pipeline.job import Job, ResolvedTarget
from bids_ihf.pipeline.outputs import finish_series, write_anat
from bids_ihf.pipeline.process import set_up_process
from bids_ihf.pipeline.resources import load_harmonization, load_target_cached
from bids_ihf.pipeline.run_log import NOTICE_LEVEL
from bids_ihf.preprocessing.itk import load_ants_without_plotting
from bids_ihf.preprocessing.prepare import Prepared
from bids_ihf.preprocessing.prepared_file import load_prepared, save_prepared

LOGGER = logging.getLogger(__name__)

PROGRESS_LINES_PER_SERIES = 4


def prepare_image(
    files: ImageFiles,
    output: Path,
    *,
    preprocessed: bool,
    mask_needed: bool,
    t1w: Path | None,
    seed: int,
) -> None:
    """Write bias field, brain mask and transform to the template of an image to ``output`` (.npz).

    Of a diffusion series the mean b0 is prepared and kept beside ``output``.  ``t1w`` is the
    output of this function for the T1w image of the session.

    Raises
    ------
    BadData
        The image or its mask cannot be used, or its mask is missing.
    """
    set_up_process(seed)
    load_ants_without_plotting()
    LOGGER.info("%s: preparing", files.image.name)
    if mask_needed and files.mask is None:
        raise BadData(
            f"{files.image}: --derivatives hold no brain mask of it; add one, or use "
            "--brain-mask auto."
        )
    prepared_t1w = load_prepared(t1w) if t1w else None
    prepared = prepare_files(files, output.parent, preprocessed=preprocessed, t1w=prepared_t1w)
    save_prepared(prepared, output)


def harmonize_image(
    job: Job, prepared_file: Path, config: RunConfig, target: ResolvedTarget, *,
    threads: int, scans: Sequence[Path] = (),
) -> None:  # fmt: skip
    """Harmonize one prepared image and write all outputs, the sidecar of the image last.

    ``scans`` are the files of all prepared images that share its mapping, its own included.

    Raises
    ------
    HarmonyError
        The image cannot be used, or an output cannot be written.
    """
    set_up_process(config.random_seed)
    LOGGER.info("%s: harmonizing to %s", job.name, target.name)
    prepared = load_prepared(prepared_file)
    if job.image.suffix == "dwi":
        _harmonize_series(job, prepared, config, target, threads)
    else:
        own = scans.index(prepared_file) if scans else 0
        before, after = (
            [load_prepared(file) for file in files] for files in (scans[:own], scans[own + 1 :])
        )
        _harmonize_anat(job, prepared, config, target, threads, before, after)
    LOGGER.info("%s: written", job.name)


def _harmonization(config: RunConfig, target: ResolvedTarget, threads: int) -> Harmonization:
    """Target, source profile and network of the run, loaded once in each process."""
    source = config.source_profile
    return load_harmonization(
        load_target_cached(target.spec, config.model),
        None if source is None else load_target_cached(str(source), config.model),
        *(config.model, config.device, config.batch_size, threads),
    )


def _harmonize_anat(
    job: Job, prepared: Prepared, config: RunConfig, target: ResolvedTarget, threads: int,
    before: Sequence[Prepared], after: Sequence[Prepared],
) -> None:  # fmt: skip
    start = time.perf_counter()
    harmonization = _harmonization(config, target, threads)
    image = job.image
    harmonized, device = harmonization.harmonize_anat(
        prepared, image.modality, image.vendor, before, after
    )
    seconds = time.perf_counter() - start
    # Another run may work on the same image, with this target or another: nothing may be mixed,
    # and what it has just finished is not removed.
    with folder_lock(job.outputs.folder):
        if not job.finished:
            write_anat(job, prepared, harmonized, config, target, device, seconds, threads)


def _harmonize_series(
    job: Job, prepared: Prepared, config: RunConfig, target: ResolvedTarget, threads: int
) -> None:
    start = time.perf_counter()
    image, paths = job.image, job.outputs
    on_volume = _series_progress(job.name)
    files = SeriesFiles(image.path, image.bval, image.bvec, config.b0_threshold)
    fitted = fit_series(files, prepared, on_volume)
    if config.output_spaces and config.normalization != "rigid":
        LOGGER.warning(
            "%s: the series goes to template space by its rigid transform; %s normalization "
            "would change the angles between fibres.",
            *(job.name, config.normalization),
        )
    harmonization = _harmonization(config, target, threads)
    with folder_lock(paths.folder):  # see above
        if job.finished:
            return
        clear_outputs(paths)
        written = write_series(
            (paths.harmonized, paths.change),
            fitted,
            config.change_map,
            lambda sink: harmonization.harmonize_series(
                fitted, prepared, image.vendor, sink, on_volume
            ),
        )
        seconds = time.perf_counter() - start
        finish_series(job, prepared, written, config, target, seconds)


def _series_progress(name: str) -> Callable[[str, int, int], None]:
    """A line in the log at each quarter of a series."""

    def on_volume(doing: str, number: int, count: int) -> None:
        quarters = range(1, PROGRESS_LINES_PER_SERIES + 1)
        if number in {max(1, round(count * q / PROGRESS_LINES_PER_SERIES)) for q in quarters}:
            LOGGER.log(NOTICE_LEVEL, "%s: %s, %d of %d volumes", name, doing, number, count)

    return on_volume
