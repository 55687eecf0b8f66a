"""A reverse-encoded b=0 image with the intensities of its harmonized series."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import numpy as np

from bids_ihf.bids.images import sidecar_path
from bids_ihf.bids.sidecars import derivative_sidecar, write_json
from bids_ihf.dwi.harmonize import gain_curve
from bids_ihf.dwi.outputs import write_tables
from bids_ihf.io.atomic import open_atomic, write_atomic
from bids_ihf.io.nifti import encode_nifti, read_volume
from bids_ihf.io.series import SeriesWriter, is_series, open_series

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bids_ihf.bids.images import OutputPaths, SourceImage
    from bids_ihf.dwi.shell_plan import ShellPlan
    from bids_ihf.preprocessing.prepare import Prepared

    Array = NDArray[np.float32]

LOGGER = logging.getLogger(__name__)

DESCRIPTION = (
    "Image without diffusion weighting, with the intensities at b=0 of the harmonized series {}, "
    "so that both form a pair for distortion correction; the original is the only way back."
)

OTHER_GRID_TEXT = (
    "%s: is not on the grid of %s, so it does not get that series' intensities; the two form no "
    "pair for distortion correction."
)

OWN_FIELDS = (
    "HarmonizationTarget",
    "HarmonizationTargetHash",
    "ConfigurationHash",
    "SourceVendor",
)
"""Fields of the series' sidecar that hold for its companion, too."""


def write_companion(
    image: SourceImage,
    paths: OutputPaths,
    prepared: Prepared,
    plan: ShellPlan,
    series_name: str,
    series_uri: str,
    extra: dict[str, Any],
) -> None:
    """The image, its b-table where it has one, and its sidecar.

    An image in ``fmap/`` is meant for the harmonized series ``series_uri``.  It is divided by the
    bias field of the series and mapped by the gain of b = 0.  What a place has of noise floor and
    network is left out: the anatomy is displaced against the series.

    Raises
    ------
    BadData
        The image cannot be read.
    CannotWrite
        A file cannot be written.
    """
    out = paths.companion
    if is_series(image.path):
        series = open_series(image.path)
        if not _on_grid(prepared, series.shape, series.affine):
            LOGGER.warning(OTHER_GRID_TEXT, image.path.name, series_name)
            return
        with open_atomic(out) as stream, SeriesWriter(stream, series) as writer:
            for data in series.volumes():
                writer.add(with_gain(data, prepared.bias, plan))
    else:
        volume = read_volume(image.path)
        if not _on_grid(prepared, volume.data.shape, volume.affine):
            LOGGER.warning(OTHER_GRID_TEXT, image.path.name, series_name)
            return
        write_atomic(out, encode_nifti(with_gain(volume.data, prepared.bias, plan), volume))
    write_tables(image.bval, image.bvec, (out,))
    own = {key: extra[key] for key in OWN_FIELDS if key in extra}
    if image.datatype == "fmap":
        own["IntendedFor"] = [series_uri]
    sidecar = derivative_sidecar(
        image,
        description=DESCRIPTION.format(series_name),
        skull_stripped=prepared.stripped,
        extra=own,
    )
    write_json(sidecar_path(out), sidecar)


def with_gain(volume: Array, bias: Array, plan: ShellPlan) -> Array:
    """A volume (X, Y, Z) without diffusion weighting in the units of the target.

    ``bias`` (X, Y, Z) is the receive field, which is divided out.
    """
    level = volume / bias
    return np.asarray(level * gain_curve(level, plan), dtype=np.float32)


def _on_grid(prepared: Prepared, shape: tuple[int, ...], affine: NDArray[np.float64]) -> bool:
    grid = prepared.grid
    return tuple(grid.shape) == tuple(shape) and np.allclose(grid.affine, affine, atol=1e-3)
