"""All that is written of one image, in order: the sidecar of the harmonized image last."""

from __future__ import annotations

import logging
from functools import partial
from typing import Any

from attrs import evolve

from bids_ihf.anat import outputs as anat_outputs
from bids_ihf.anat.harmonize import Harmonized
from bids_ihf.anat.qc_statistics import QCStatistics
from bids_ihf.bids.names import TEMPLATE_SPACE
from bids_ihf.bids.output_files import clear_outputs
from bids_ihf.bids.scanners import scanner_label
from bids_ihf.bids.scans_table import update_scans_table
from bids_ihf.config import RunConfig
from bids_ihf.dwi import outputs as dwi_outputs
from bids_ihf.dwi.companion_image import write_companion
from bids_ihf.dwi.series import HarmonizedSeries
from bids_ihf.dwi.series_writing import WrittenSeries
from bids_ihf.dwi.shell_plan import exponent_warning, shell_warnings
from bids_ihf.dwi.template_series import write_template_series
from bids_ihf.errors import BadData
from bids_ihf.io import background
from bids_ihf.pipeline.job import Job, ResolvedTarget
from bids_ihf.preprocessing.outputs import preparation_measures, write_mask, write_transform
from bids_ihf.preprocessing.prepare import Prepared
from bids_ihf.qc.assess import assess
from bids_ihf.reports.figures import ReportVolumes, write_figures
from bids_ihf.reports.reference_images import target_contrast, template_on_image

LOGGER = logging.getLogger(__name__)


def write_anat(
    job: Job, prepared: Prepared, harmonized: Harmonized, config: RunConfig,
    target: ResolvedTarget, device: str, seconds: float, threads: int = 1,
) -> None:  # fmt: skip
    """Write images, mask, transform, figures, table row, and last the harmonized image's sidecar.

    With two ``threads`` figures are drawn while images are compressed.

    Raises
    ------
    CannotWrite
        An output cannot be written.
    """
    image, paths = job.image, job.outputs
    clear_outputs(paths)
    encoding = background.start(
        partial(anat_outputs.encode_images, harmonized, prepared, config.change_map),
        threads=threads,
    )
    _write_figures(job, config, shown_anat(prepared, harmonized), harmonized.qc)
    encoded = encoding()
    harmonized = evolve(harmonized, round_trip_error=encoded.round_trip_error)
    quality = assess(harmonized.qc, harmonized.modality, target.encoder_hash)
    if quality.warning:
        LOGGER.warning("%s: %s", job.name, quality.warning)
    extra = _provenance(
        job, target, target.target_hash, target.model_name, target.model_hash, device,
        quality.warning, {**anat_outputs.provenance(harmonized), **encoded.fields},
    )  # fmt: skip
    anat_outputs.write_change(image, paths, prepared, encoded, extra)
    write_mask(image, paths, prepared)
    write_transform(paths, prepared)
    if TEMPLATE_SPACE in config.output_spaces:
        anat_outputs.write_template_image(
            image, paths, prepared, harmonized, config.normalization, extra
        )
    measures = anat_outputs.measures(prepared, harmonized) | quality.measures
    _update_row(job, prepared, config, target, seconds, quality.warning, measures)
    anat_outputs.write_harmonized(image, paths, prepared, encoded, target.name, extra)


def finish_series(
    job: Job, prepared: Prepared, written: WrittenSeries, config: RunConfig,
    target: ResolvedTarget, seconds: float,
) -> None:  # fmt: skip
    """Write what goes with a written series: b-tables, mask, transform, figures, table row, and
    last the sidecars.

    Raises
    ------
    CannotWrite
        An output cannot be written.
    """
    image, paths, series = job.image, job.outputs, written.series
    for sentence in shell_warnings(series.plan):
        LOGGER.warning("%s: %s", job.name, sentence)
    warning = exponent_warning(series.plan)
    extra = _provenance(
        job, target, target.diffusion_hash,
        dwi_outputs.model_name(series, target.model_name),
        dwi_outputs.model_hash(target.diffusion_model),
        series.device, warning, {**dwi_outputs.provenance(series), **written.fields},
    )  # fmt: skip
    change = config.change_map != "none"
    written_series = (paths.harmonized, paths.change) if change else (paths.harmonized,)
    dwi_outputs.write_tables(image.bval, image.bvec, written_series)
    for companion in job.companions:
        try:
            write_companion(
                companion.image, companion.outputs, prepared, series.plan, job.name,
                f"bids::{paths.harmonized.relative_to(config.out_dir).as_posix()}", extra,
            )  # fmt: skip
        except BadData as error:
            LOGGER.warning("%s The series is harmonized without it.", error)
    write_mask(image, paths, prepared)
    write_transform(paths, prepared)
    if TEMPLATE_SPACE in config.output_spaces:
        write_template_series(image, paths, prepared, extra)
    if config.tensor_maps:
        dwi_outputs.write_tensor_maps(image, paths, prepared, series, extra)
    _write_figures(job, config, shown_series(prepared, series))
    measures = dwi_outputs.measures(prepared, series)
    _update_row(job, prepared, config, target, seconds, warning, measures)
    dwi_outputs.write_sidecars(image, paths, prepared, target.name, extra, change=change)


def _provenance(
    job: Job, target: ResolvedTarget, target_hash: str, model_name: str, model_hash: str,
    device: str, warning: str | None, details: dict[str, Any],
) -> dict[str, Any]:  # fmt: skip
    """Sidecar fields of our own."""
    return {
        "HarmonizationTarget": target.name,
        "HarmonizationTargetHash": target_hash,
        "HarmonizationModel": model_name,
        "HarmonizationModelHash": model_hash,
        "SourceHash": job.source_hash,
        "SourceVendor": job.image.vendor,
        "SourceProfileHash": target.source_hash,
        "Device": device,
        "ConfigurationHash": job.hash,
        **({"HarmonizationWarning": warning} if warning else {}),
        **({"LongitudinalScans": [scan.image.uri for scan in job.scans]} if job.scans else {}),
        **details,
    }


def _update_row(
    job: Job, prepared: Prepared, config: RunConfig, target: ResolvedTarget, seconds: float,
    warning: str | None, measures: dict[str, float],
) -> None:  # fmt: skip
    row: dict[str, float | str | None] = {
        "harmonization_target": target.name,
        "source_vendor": job.image.vendor,
        "batch": scanner_label(job.image.metadata, job.image.vendor),
        "harmonization_warning": "yes" if warning else "no",
        **preparation_measures(prepared),
        **measures,
        "seconds": prepared.seconds + seconds,
    }
    update_scans_table(config.out_dir, job.image, row)


def shown_anat(prepared: Prepared, harmonized: Harmonized) -> ReportVolumes:
    """What the figures of an anatomical image show."""
    return ReportVolumes(
        before=prepared.volume.data,
        after=harmonized.image,
        change=harmonized.change,
        mask=prepared.mask,
        affine=prepared.volume.affine,
        template=template_on_image(prepared),
        reference=target_contrast(prepared, harmonized.qc.target),
    )


def shown_series(prepared: Prepared, series: HarmonizedSeries) -> ReportVolumes:
    """What the figures of a diffusion series show."""
    return ReportVolumes(
        before=series.before,
        after=series.after,
        change=series.after - series.before,
        mask=prepared.mask,
        affine=prepared.volume.affine,
        template=template_on_image(prepared),
        anisotropy=series.anisotropy,
    )


def _write_figures(
    job: Job, config: RunConfig, shown: ReportVolumes, statistics: QCStatistics | None = None
) -> None:
    folder = config.out_dir / f"sub-{job.image.subject}" / "figures"
    stem = job.name.rsplit("_", 1)[0]
    write_figures(folder, stem, job.image.suffix, shown, statistics)
