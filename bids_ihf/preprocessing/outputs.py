"""Writing what the preparation of an image leaves for its user: brain mask and transform."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bids_ihf.bids.images import sidecar_path
from bids_ihf.bids.sidecars import mask_sidecar, write_json
from bids_ihf.io.atomic import write_atomic
from bids_ihf.io.nifti import encode_nifti
from bids_ihf.preprocessing.alignment import to_itk_mat

if TYPE_CHECKING:
    from bids_ihf.bids.images import OutputPaths, SourceImage
    from bids_ihf.preprocessing.prepare import Prepared

MASK_DESCRIPTION = "Brain mask used for the harmonization."


def encode_mask(prepared: Prepared) -> bytes:
    """The brain mask as a .nii.gz file of 8-bit integers."""
    return encode_nifti(prepared.mask.astype(np.uint8), prepared.volume, dtype=np.uint8)


def write_mask(image: SourceImage, paths: OutputPaths, prepared: Prepared) -> None:
    """The brain mask and its sidecar."""
    write_atomic(paths.mask, encode_mask(prepared))
    extra = {"RawMask": str(image.mask)} if image.mask else {}
    sidecar = mask_sidecar(image, description=MASK_DESCRIPTION, extra=extra)
    write_json(sidecar_path(paths.mask), sidecar)


def write_transform(paths: OutputPaths, prepared: Prepared) -> None:
    """The rigid transform to the template, for ITK."""
    write_atomic(paths.transform, to_itk_mat(prepared.to_template))


def preparation_measures(prepared: Prepared) -> dict[str, float | None]:
    """Columns of the scans table that tell of the preparation."""
    voxel_mm3 = abs(float(np.linalg.det(prepared.volume.affine[:3, :3])))
    return {
        "mask_volume_ml": float(np.count_nonzero(prepared.mask)) * voxel_mm3 / 1000,
        "alignment_similarity": prepared.similarity,
        "alignment_coverage": prepared.coverage,
    }
