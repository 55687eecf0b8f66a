"""A harmonized series in template space, with its directions turned."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bids_ihf.bids.gradient_tables import read_numbers
from bids_ihf.bids.images import OutputPaths, SourceImage, gradient_table_paths, sidecar_path
from bids_ihf.bids.sidecars import derivative_sidecar, write_json
from bids_ihf.geometry.template import load_template, template_header
from bids_ihf.io.atomic import open_atomic, write_atomic
from bids_ihf.io.series import Series, SeriesWriter, open_series
from bids_ihf.preprocessing.prepare import Prepared
from bids_ihf.preprocessing.template_space import template_image

TEMPLATE_DESCRIPTION = (
    "Harmonized series resampled to the template (rigid normalization); its gradient directions "
    "are turned with it."
)


def write_template_series(
    image: SourceImage, paths: OutputPaths, prepared: Prepared, extra: dict[str, Any]
) -> None:
    """The harmonized series in template space, volume by volume, its b-table and sidecar.

    The registration is rigid: others would change the angles between fibres, and so would have to
    turn the directions differently at every place.

    Raises
    ------
    CannotWrite
        A file cannot be written.
    """
    source = open_series(paths.harmonized)
    like = _template_like(source, paths.template_image)
    with open_atomic(paths.template_image) as stream, SeriesWriter(stream, like) as writer:
        for volume in source.volumes():
            data = template_image(volume, prepared, "rigid")
            # The cubic interpolation overshoots, and no signal is negative.
            writer.add(np.maximum(data, min(float(volume.min()), 0.0)).astype(np.float32))
    bval, bvec = gradient_table_paths(paths.template_image)
    native_bval, native_bvec = gradient_table_paths(paths.harmonized)
    write_atomic(bval, native_bval.read_bytes())
    vectors = read_numbers(paths.harmonized, native_bvec, "bvec", allow_nan=True)
    turned = turned_directions(vectors, source.affine, prepared.to_template, like.affine)
    rows = [" ".join(f"{value:.9g}" for value in row) for row in turned]
    write_atomic(bvec, ("\n".join(rows) + "\n").encode())
    sidecar = derivative_sidecar(
        image,
        description=TEMPLATE_DESCRIPTION,
        skull_stripped=prepared.stripped,
        extra={**extra, "Resolution": "1 mm isotropic"},
        same_grid=False,
    )
    write_json(sidecar_path(paths.template_image), sidecar)


def turned_directions(
    vectors: NDArray[np.float64],
    affine: NDArray[np.float64],
    to_space: NDArray[np.float64],
    space_affine: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Directions (3, N) of a ``.bvec`` file for an image that was moved to another space.

    BIDS follows FSL: components along the axes of the image, the first one negated where its
    affine (4, 4) has a positive determinant.  ``to_space`` (4, 4) is the rigid map of the world.
    Lengths are kept, as shells may be coded in them; NaN becomes 0.

    >>> turn = np.array([[0.0, -1, 0, 0], [1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    >>> turned_directions(np.array([[-1.0], [0], [0]]), np.eye(4), turn, np.eye(4)).round(6).T
    array([[0., 1., 0.]])
    """
    turn = np.linalg.inv(_axes(space_affine)) @ to_space[:3, :3] @ _axes(affine)
    return np.asarray(turn @ np.nan_to_num(vectors) + 0.0)


def _axes(affine: NDArray[np.float64]) -> NDArray[np.float64]:
    """Unit directions (3, 3), in columns, of what the components of FSL's directions count along;
    sheared or oblique axes are made orthogonal."""
    left, _, right = np.linalg.svd(affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0))
    axes = left @ right
    return axes * [-1, 1, 1] if np.linalg.det(axes) > 0 else axes


def _template_like(source: Series, path: Path) -> Series:
    """The series in template space, without its voxels: its header says MNI space, in mm."""
    grid = load_template().grid
    header = template_header((*grid.shape, source.volume_count), grid.affine)
    header.set_xyzt_units(*source.header.get_xyzt_units())
    header["pixdim"][4] = source.header["pixdim"][4]
    x, y, z = grid.shape
    return Series(
        path, (x, y, z), source.volume_count, grid.affine, header, offset=0, slope=1, intercept=0
    )
