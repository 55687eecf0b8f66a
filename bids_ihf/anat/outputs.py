"""Writing all that belongs to one harmonized image; its sidecar last, as the mark of the end."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import numpy as np

from bids_ihf.bids.images import TEMPLATE, sidecar_path
from bids_ihf.bids.scans_table import update_scans_table
from bids_ihf.bids.sidecars import derivative_sidecar, mask_sidecar, write_json
from bids_ihf.errors import CannotWrite
from bids_ihf.io.atomic import remove, write_atomic
from bids_ihf.io.nifti import Volume, encode_nifti
from bids_ihf.qc.assess import assess
from bids_ihf.reports.reference_images import reference_picture, template_on

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from bids_ihf.anat.harmonize import Harmonized
    from bids_ihf.pipeline.plan import Task
    from bids_ihf.pipeline.worker import Settings
    from bids_ihf.preprocessing.prepare import Prepared
    from bids_ihf.reports.figures import Shown

LOGGER = logging.getLogger(__name__)

TEMPLATE_CODE = 4
"""NIfTI's code for MNI space."""

HARMONIZED = "Image with its contrast harmonized to {}, on the grid of its source."
CHANGE = "Harmonized image minus its source."
MASK = "Brain mask used for the harmonization."
IN_TEMPLATE = "Harmonized image resampled to the template ({} normalization)."


def write_all(
    task: Task, prepared: Prepared, harmonized: Harmonized, settings: Settings, device: str
) -> None:
    """Write images, mask, transform, figures, table row, and last the harmonized image's sidecar.

    Raises
    ------
    CannotWrite
        An output cannot be written.
    """
    clear(task)
    quality = assess(task, harmonized, settings.goal.encoder_hash)
    extra = provenance(task, harmonized, settings, device)
    if quality.warning:
        extra["HarmonizationWarning"] = quality.warning
    _write_change(task, prepared, harmonized, extra)
    write_mask(task, prepared)
    write_transform(task, prepared)
    if TEMPLATE in settings.output_spaces:
        _write_template_image(task, prepared, harmonized, settings, extra)
    _write_figures(task, prepared, harmonized, settings)
    row = measures(task, prepared, harmonized, settings)
    row |= {"harmonization_warning": "yes" if quality.warning else "no", **quality.measures}
    update_scans_table(settings.out_dir, task.image, row)
    _write_harmonized(task, prepared, harmonized, settings, extra)


def require_written(task: Task) -> None:
    """Look, before an image is marked as finished, whether all that belongs to it is there.

    Raises
    ------
    CannotWrite
        Somebody has taken a file away meanwhile.
    """
    names = task.outputs
    for path in (names.harmonized, names.change, names.mask, names.transform):
        if not path.is_file():
            raise CannotWrite(
                f"{path} was taken away while its image was being written: run again."
            )


def clear(task: Task) -> None:
    """Take away what an earlier run wrote, its mark of completion first.

    What is written now may be interrupted, and a template-space image that this run does not make
    would be left behind with another target.
    """
    names = task.outputs
    remove(task.sidecar)
    for path in (names.harmonized, names.change, names.template_image):
        remove(path)
        remove(sidecar_path(path))


def provenance(
    task: Task, harmonized: Harmonized, settings: Settings, device: str
) -> dict[str, Any]:
    """Sidecar fields of our own."""
    goal = settings.goal
    return {
        "HarmonizationTarget": goal.name,
        "HarmonizationTargetHash": goal.target_hash,
        "HarmonizationModel": goal.model_name,
        "HarmonizationModelHash": goal.model_hash,
        "SourceVendor": task.image.vendor,
        "SourceProfileHash": goal.source_hash,
        "RoundTripMaxError": harmonized.round_trip_error,
        "Device": device,
        "IntensityScaling": harmonized.scaling,
        "ConfigurationHash": task.hash,
    }


def _write_harmonized(
    task: Task,
    prepared: Prepared,
    harmonized: Harmonized,
    settings: Settings,
    extra: dict[str, Any],
) -> None:
    write_atomic(task.outputs.harmonized, encode_nifti(harmonized.image, prepared.volume))
    sidecar = derivative_sidecar(
        task.image,
        description=HARMONIZED.format(settings.goal.name),
        skull_stripped=prepared.stripped,
        extra=extra,
    )
    require_written(task)
    write_json(task.sidecar, sidecar)


def _write_change(
    task: Task, prepared: Prepared, harmonized: Harmonized, extra: dict[str, Any]
) -> None:
    path = task.outputs.change
    write_atomic(path, encode_nifti(harmonized.change, prepared.volume))
    sidecar = derivative_sidecar(
        task.image, description=CHANGE, skull_stripped=prepared.stripped, extra=extra
    )
    write_json(sidecar_path(path), sidecar)


def write_mask(task: Task, prepared: Prepared) -> None:
    """The brain mask and its sidecar."""
    path = task.outputs.mask
    mask = prepared.mask.astype(np.uint8)
    write_atomic(path, encode_nifti(mask, prepared.volume, dtype=np.uint8))
    extra = {"RawMask": str(task.image.mask)} if task.image.mask else {}
    write_json(sidecar_path(path), mask_sidecar(task.image, description=MASK, extra=extra))


def write_transform(task: Task, prepared: Prepared) -> None:
    """The rigid transform to the template."""
    from bids_ihf.preprocessing.alignment import to_itk_mat

    write_atomic(task.outputs.transform, to_itk_mat(prepared.to_template))


def _write_template_image(
    task: Task,
    prepared: Prepared,
    harmonized: Harmonized,
    settings: Settings,
    extra: dict[str, Any],
) -> None:
    from bids_ihf.geometry.template import load_template
    from bids_ihf.preprocessing.template_space import template_image

    data = template_image(harmonized.image, prepared, settings.normalization)
    path = task.outputs.template_image
    affine = load_template().grid.affine
    write_atomic(path, encode_nifti(data, template_volume(data, affine, path)))
    sidecar = derivative_sidecar(
        task.image,
        description=IN_TEMPLATE.format(settings.normalization),
        skull_stripped=prepared.stripped,
        extra={**extra, "Resolution": "1 mm isotropic"},
        same_grid=False,
    )
    write_json(sidecar_path(path), sidecar)


def _write_figures(
    task: Task, prepared: Prepared, harmonized: Harmonized, settings: Settings
) -> None:
    from bids_ihf.reports.figures import write_reportlets

    write_reportlets(
        figures_folder(task, settings),
        task.name.rsplit("_", 1)[0],
        task.image.suffix,
        shown(prepared, harmonized),
        harmonized.qc,
    )


def shown(prepared: Prepared, harmonized: Harmonized) -> Shown:
    """What the figures of an image show."""
    from bids_ihf.reports.figures import Shown

    return Shown(
        before=prepared.volume.data,
        after=harmonized.image,
        change=harmonized.change,
        mask=prepared.mask,
        affine=prepared.volume.affine,
        template=template_on(prepared),
        reference=reference_picture(prepared, harmonized.qc.target),
    )


def figures_folder(task: Task, settings: Settings) -> Path:
    """Where the figures of a participant lie."""
    return settings.out_dir / f"sub-{task.image.subject}" / "figures"


def template_volume(data: NDArray[np.float32], affine: NDArray[np.float64], path: Path) -> Volume:
    """A volume in template space: its header says MNI space (code 4), in mm."""
    import nibabel

    header = nibabel.Nifti1Header()
    header.set_data_shape(data.shape)
    header.set_qform(affine, code=TEMPLATE_CODE)
    header.set_sform(affine, code=TEMPLATE_CODE)
    header.set_xyzt_units("mm")
    return Volume(data, affine, header, path)


def measures(
    task: Task, prepared: Prepared, harmonized: Harmonized, settings: Settings
) -> dict[str, float | str | None]:
    """One row of the scans table."""
    inside = harmonized.change[prepared.mask]
    voxel = abs(float(np.linalg.det(prepared.volume.affine[:3, :3])))
    return {
        "harmonization_target": settings.goal.name,
        "source_vendor": task.image.vendor,
        "distance_before": harmonized.qc.distances[0],
        "distance_after": harmonized.qc.distances[1],
        "change_rms": float(np.sqrt(np.mean(np.square(inside, dtype=np.float64)))),
        "round_trip_max_error": harmonized.round_trip_error,
        "mask_volume_ml": float(np.count_nonzero(prepared.mask)) * voxel / 1000,
        "alignment_similarity": prepared.similarity,
        "alignment_coverage": prepared.coverage,
        "seconds": sum(prepared.seconds.values()),
    }
