"""Checks of the voxel grid that the header of a NIfTI image describes."""

from __future__ import annotations

import logging
from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel.openers import ImageOpener
from numpy.typing import NDArray

from bids_ihf.errors import BadData
from bids_ihf.io.affines import corner_points, voxel_sizes

LOGGER = logging.getLogger(__name__)

VOXEL_SIZE_RANGE_MM = (0.01, 50.0)
"""Plausible voxel sizes (mm) of a head scan; others come from wrong units."""

MAX_EXTENT_MM = 2000.0
"""Largest plausible distance (mm) of a voxel from the origin and from any other voxel."""

MIN_AFFINE_DETERMINANT = 1e-9
"""Smallest volume (mm3) of a voxel whose affine counts as invertible."""

MAX_AXES_COSINE = 0.01
"""Largest cosine of the angle between two voxel axes that does not count as shear."""

MAX_FORM_DISTANCE_MM = 1.0
"""Largest distance (mm) between a voxel's qform and sform positions that is not reported."""


def check_grid(image: nib.Nifti1Image, path: Path) -> None:
    """Check the data type and the grid of an image; warn if its orientation is ambiguous.

    Raises
    ------
    BadData
        The voxels are RGB or complex numbers, or the affine is singular or implausible.
    """
    dtype = image.get_data_dtype()
    if dtype.names is not None or dtype.kind not in "iuf":
        raise BadData(f"{path}: has {dtype} voxels, not real numbers; give the magnitude image.")
    affine = np.asarray(image.affine, dtype=np.float64)
    if (
        not np.isfinite(affine).all()
        or abs(np.linalg.det(affine[:3, :3])) < MIN_AFFINE_DETERMINANT
    ):
        raise BadData(f"{path}: its affine is singular; correct the header.")
    zooms = voxel_sizes(affine)
    smallest, largest = VOXEL_SIZE_RANGE_MM
    if not ((zooms >= smallest) & (zooms <= largest)).all():
        sizes = " x ".join(f"{zoom:.3g}" for zoom in zooms)
        raise BadData(
            f"{path}: implausible affine, voxels of {sizes} mm; correct the header or its units."
        )
    corners = corner_points(image.shape, affine)
    if max(np.abs(corners).max(), np.ptp(corners, axis=1).max()) > MAX_EXTENT_MM:
        raise BadData(
            f"{path}: implausible affine, voxels lie more than {MAX_EXTENT_MM:g} mm from the "
            "origin or from each other; correct the header."
        )
    _check_stored_header(image, path)
    _warn_of_orientation(image, affine, path)


def _check_stored_header(image: nib.Nifti1Image, path: Path) -> None:
    """Check the header as stored: nibabel repairs some fields silently on loading."""
    with ImageOpener(str(path)) as stream:
        stored = type(image.header).from_fileobj(stream, check=False)
    zooms = stored["pixdim"][1:4]
    if stored["sform_code"] == 0 and not (np.isfinite(zooms) & (zooms != 0)).all():
        raise BadData(
            f"{path}: its header has invalid voxel sizes and no sform affine; correct the header."
        )
    problems = []
    if (zooms < 0).any():
        problems.append("negative voxel sizes, read as positive")
    if np.isinf(stored["scl_slope"]):
        problems.append("an infinite slope, read as 1")
    if problems:
        LOGGER.warning("%s: its header has %s; check it.", path, " and ".join(problems))


def _warn_of_orientation(image: nib.Nifti1Image, affine: NDArray[np.float64], path: Path) -> None:
    """Warn if orientation codes are missing, the axes are sheared or qform and sform disagree."""
    codes = int(image.header["qform_code"]), int(image.header["sform_code"])
    if codes == (0, 0):
        LOGGER.warning(
            "%s: its header states no orientation (qform and sform codes are 0); its affine is "
            "used as it is.",
            path,
        )
    axes = affine[:3, :3] / voxel_sizes(affine)
    if np.abs(axes.T @ axes - np.eye(3)).max() > MAX_AXES_COSINE:
        LOGGER.warning("%s: its affine is sheared and used as it is; check it.", path)
    if min(codes) > 0:
        qform_corners = corner_points(image.shape, image.get_qform())
        distance = float(np.abs(corner_points(image.shape, affine) - qform_corners).max())
        if not distance <= MAX_FORM_DISTANCE_MM:
            LOGGER.warning(
                "%s: its qform and sform disagree by up to %.0f mm; the sform is used.",
                path,
                distance,
            )
