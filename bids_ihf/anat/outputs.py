"""Writing one harmonized anatomical image; its sidecar last, as the mark of completion."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from bids_ihf.bids.images import sidecar_path
from bids_ihf.bids.output_files import require_written
from bids_ihf.bids.sidecars import (
    CHANGE_DESCRIPTION,
    HARMONIZED_DESCRIPTION,
    derivative_sidecar,
    write_json,
)
from bids_ihf.geometry.template import load_template
from bids_ihf.io.atomic import write_atomic
from bids_ihf.io.nifti import Volume, encode_nifti
from bids_ihf.preprocessing.template_space import template_image

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from bids_ihf.anat.harmonize import Harmonized
    from bids_ihf.bids.images import OutputPaths, SourceImage
    from bids_ihf.config import Normalization
    from bids_ihf.preprocessing.prepare import Prepared

NIFTI_XFORM_MNI = 4
"""NIfTI-1's code of a transform to MNI space (NIFTI_XFORM_MNI_152)."""

TEMPLATE_DESCRIPTION = "Harmonized image resampled to the template ({} normalization)."


def provenance(harmonized: Harmonized) -> dict[str, Any]:
    """Sidecar fields that tell how an image was harmonized."""
    return {
        "HarmonizationModality": harmonized.modality,
        "NetworkApplied": harmonized.network_applied,
        "RoundTripMaxError": harmonized.round_trip_error,
        "IntensityScaling": harmonized.scaling,
    }


def measures(prepared: Prepared, harmonized: Harmonized) -> dict[str, float]:
    """Columns of the scans table that tell of the change."""
    change = harmonized.change[prepared.mask]
    before, after = harmonized.qc.distances
    return {
        "distance_before": before,
        "distance_after": after,
        "change_rms": float(np.sqrt(np.mean(np.square(change, dtype=np.float64)))),
        "round_trip_max_error": harmonized.round_trip_error,
    }


def write_harmonized(
    image: SourceImage, paths: OutputPaths, prepared: Prepared, harmonized: Harmonized,
    target_name: str, extra: dict[str, Any],
) -> None:  # fmt: skip
    """The harmonized image, and its sidecar once all that belongs to it exists."""
    write_atomic(paths.harmonized, encode_nifti(harmonized.image, prepared.volume))
    sidecar = derivative_sidecar(
        image,
        description=HARMONIZED_DESCRIPTION.format(target_name),
        skull_stripped=prepared.stripped,
        extra=extra,
    )
    require_written(paths)
    write_json(sidecar_path(paths.harmonized), sidecar)


def write_change(
    image: SourceImage, paths: OutputPaths, prepared: Prepared, harmonized: Harmonized,
    extra: dict[str, Any],
) -> None:  # fmt: skip
    """The change map and its sidecar."""
    change = harmonized.change
    write_atomic(paths.change, encode_nifti(change, prepared.volume, dtype=change.dtype))
    sidecar = derivative_sidecar(
        image, description=CHANGE_DESCRIPTION, skull_stripped=prepared.stripped, extra=extra
    )
    write_json(sidecar_path(paths.change), sidecar)


def write_template_image(
    image: SourceImage, paths: OutputPaths, prepared: Prepared, harmonized: Harmonized,
    normalization: Normalization, extra: dict[str, Any],
) -> None:  # fmt: skip
    """The harmonized image in template space and its sidecar."""
    data = template_image(harmonized.image, prepared, normalization)
    volume = template_volume(data, load_template().grid.affine, paths.template_image)
    write_atomic(paths.template_image, encode_nifti(data, volume))
    sidecar = derivative_sidecar(
        image,
        description=TEMPLATE_DESCRIPTION.format(normalization),
        skull_stripped=prepared.stripped,
        extra={**extra, "Resolution": "1 mm isotropic"},
        same_grid=False,
    )
    write_json(sidecar_path(paths.template_image), sidecar)


def template_volume(data: NDArray[np.float32], affine: NDArray[np.float64], path: Path) -> Volume:
    """A volume in template space: its header says MNI space, in mm."""
    import nibabel

    header = nibabel.Nifti1Header()
    header.set_data_shape(data.shape)
    header.set_qform(affine, code=NIFTI_XFORM_MNI)
    header.set_sform(affine, code=NIFTI_XFORM_MNI)
    header.set_xyzt_units("mm")
    return Volume(data, affine, header, path)
