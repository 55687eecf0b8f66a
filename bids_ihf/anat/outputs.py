"""Writing one harmonized anatomical image; its sidecar last, as the mark of completion."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from attrs import frozen

from bids_ihf.bids.images import sidecar_path
from bids_ihf.bids.output_files import require_written
from bids_ihf.bids.sidecars import (
    CHANGE_DESCRIPTION,
    COMPACT_CHANGE_DESCRIPTION,
    HARMONIZED_DESCRIPTION,
    derivative_sidecar,
    write_json,
)
from bids_ihf.geometry.template import load_template, template_header
from bids_ihf.io.atomic import write_atomic
from bids_ihf.io.compact import encode_compact
from bids_ihf.io.nifti import Volume, encode_nifti
from bids_ihf.preprocessing.template_space import template_image

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from bids_ihf.anat.harmonize import Harmonized
    from bids_ihf.bids.images import OutputPaths, SourceImage
    from bids_ihf.config.settings import ChangeMap, Normalization
    from bids_ihf.preprocessing.prepare import Prepared

TEMPLATE_DESCRIPTION = "Harmonized image resampled to the template ({} normalization)."


@frozen(eq=False)
class EncodedImages:
    """A harmonized image and its change map as .nii.gz files.

    Attributes
    ----------
    image, change
        Their bytes; no change map where none is written.
    change_description
        What the change map holds.
    fields
        Sidecar fields on their precision.
    round_trip_error
        Largest error of the original as restored from the two, over its maximum; NaN without a
        change map.
    """

    image: bytes
    change: bytes | None
    change_description: str
    fields: dict[str, Any]
    round_trip_error: float


def encode_images(
    harmonized: Harmonized, prepared: Prepared, change_map: ChangeMap
) -> EncodedImages:
    """Encode a harmonized image and its change map as ``--change-map`` asks."""
    volume, difference = prepared.volume, harmonized.change
    if change_map == "float32":
        return EncodedImages(
            encode_nifti(harmonized.image, volume),
            encode_nifti(difference, volume, dtype=difference.dtype),
            CHANGE_DESCRIPTION,
            {"ChangeMap": change_map},
            harmonized.round_trip_error,
        )
    image, change, steps = encode_compact(harmonized.image, volume.data, volume)
    error = steps.restore_error(volume.data) / float(np.abs(volume.data).max())
    return EncodedImages(
        image,
        change if change_map == "compact" else None,
        COMPACT_CHANGE_DESCRIPTION,
        {"ChangeMap": change_map, **steps.sidecar_fields},
        error if change_map == "compact" else float("nan"),
    )


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
    image: SourceImage, paths: OutputPaths, prepared: Prepared, encoded: EncodedImages,
    target_name: str, extra: dict[str, Any],
) -> None:  # fmt: skip
    """The harmonized image, and its sidecar once all that belongs to it exists."""
    write_atomic(paths.harmonized, encoded.image)
    sidecar = derivative_sidecar(
        image,
        description=HARMONIZED_DESCRIPTION.format(target_name),
        skull_stripped=prepared.stripped,
        extra=extra,
    )
    require_written(paths, change=encoded.change is not None)
    write_json(sidecar_path(paths.harmonized), sidecar)


def write_change(
    image: SourceImage, paths: OutputPaths, prepared: Prepared, encoded: EncodedImages,
    extra: dict[str, Any],
) -> None:  # fmt: skip
    """The change map and its sidecar, where there is one."""
    if encoded.change is None:
        return
    write_atomic(paths.change, encoded.change)
    sidecar = derivative_sidecar(
        image,
        description=encoded.change_description,
        skull_stripped=prepared.stripped,
        extra=extra,
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
    return Volume(data, affine, template_header(data.shape, affine), path)
