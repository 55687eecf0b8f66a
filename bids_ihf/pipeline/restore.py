"""Undo a harmonization by the change map."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bids_ihf.bids.images import sidecar_path
from bids_ihf.bids.sidecars import read_json
from bids_ihf.errors import BadData
from bids_ihf.io.atomic import open_atomic, write_atomic
from bids_ihf.io.compact import Steps, steps_of_change_map
from bids_ihf.io.nifti import encode_nifti, open_image, read_volume
from bids_ihf.io.series import SeriesWriter, is_series, open_series

MARK = "_desc-harmonized_"

OTHER_GRID_TEXT = "{}: not on the grid of {}; name the change map that belongs to it."


def change_path(harmonized: Path) -> Path:
    """Where the change map of a harmonized image lies.

    Raises
    ------
    BadData
        The name does not say that the image is a harmonized one.
    """
    if MARK not in harmonized.name:
        raise BadData(
            f"{harmonized}: its name has no '{MARK}', so its change map cannot be told; "
            "name it with --change."
        )
    return harmonized.with_name(harmonized.name.replace(MARK, "_desc-change_"))


def restore(harmonized: Path, change: Path | None, output: Path) -> None:
    """Write the original image, float32, with the header of the harmonized one.

    The error is at most 1e-5 of its maximum; see :mod:`bids_ihf.io.compact`.

    Raises
    ------
    BadData
        A file is missing or unreadable, or the two are not on the same grid.
    CannotWrite
        The output cannot be written.
    """
    change = change or change_path(harmonized)
    sidecar = read_json(sidecar_path(harmonized))
    if not change.exists() and sidecar.get("ChangeMap") == "none":
        raise BadData(
            f"{harmonized}: was written with --change-map none, so the original cannot be "
            "restored; use the source image, or harmonize it again with --change-map compact."
        )
    if is_series(harmonized):
        _restore_series(harmonized, change, output)
        return
    image = read_volume(harmonized)
    difference = read_volume(change, allow_constant=True, dtype=np.float64)
    same_shape = image.data.shape == difference.data.shape
    if not same_shape or not np.allclose(image.affine, difference.affine):
        raise BadData(OTHER_GRID_TEXT.format(change, harmonized))
    steps = steps_of_change_map(difference.header, _slope(change))
    original = _restored(image.data.astype(np.float64), difference.data, steps)
    write_atomic(output, encode_nifti(original, image))


def _slope(path: Path) -> float:
    """Size of a stored step: nibabel takes it out of the header when it loads it."""
    proxy: Any = open_image(path).dataobj
    return float(proxy.slope)


def _restore_series(harmonized: Path, change: Path, output: Path) -> None:
    """The same for a diffusion series, volume by volume."""
    image, difference = open_series(harmonized), open_series(change)
    same = image.shape == difference.shape and image.volume_count == difference.volume_count
    if not same or not np.allclose(image.affine, difference.affine):
        raise BadData(OTHER_GRID_TEXT.format(change, harmonized))
    steps = steps_of_change_map(difference.header, difference.slope)
    with open_atomic(output) as stream, SeriesWriter(stream, image) as writer:
        volumes = zip(image.volumes(np.float64), difference.volumes(np.float64), strict=True)
        for harmonized_volume, change_volume in volumes:
            writer.add(_restored(harmonized_volume, change_volume, steps))


def _restored(
    harmonized: NDArray[np.floating], change: NDArray[np.floating], steps: Steps | None
) -> NDArray[np.float32]:
    """The original of a volume (X, Y, Z), of whole ``steps`` or as a plain difference."""
    if steps is None:
        return (harmonized - change).astype(np.float32)
    return steps.restored(harmonized, change)
