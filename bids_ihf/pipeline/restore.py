"""Undo a harmonization: original = harmonized - change."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bids_ihf.errors import BadData
from bids_ihf.io.atomic import open_atomic, write_atomic
from bids_ihf.io.nifti import encode_nifti, read_volume
from bids_ihf.io.series import SeriesWriter, is_series, open_series

if TYPE_CHECKING:
    from pathlib import Path

MARK = "_desc-harmonized_"


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

    The relative error to the original is that of float32 rounding.

    Raises
    ------
    BadData
        A file is missing or unreadable, or the two are not on the same grid.
    CannotWrite
        The output exists or cannot be written.
    """
    change = change or change_path(harmonized)
    if is_series(harmonized):
        _restore_series(harmonized, change, output)
        return
    image = read_volume(harmonized)
    difference = read_volume(change, allow_constant=True, dtype=np.float64)
    if image.data.shape != difference.data.shape or not np.allclose(
        image.affine, difference.affine
    ):
        raise BadData(
            f"{change}: not on the grid of {harmonized}; name the change map that belongs to it."
        )
    write_atomic(output, encode_nifti(image.data - difference.data, image))


def _restore_series(harmonized: Path, change: Path, output: Path) -> None:
    """The same for a diffusion series, volume by volume."""
    image, difference = open_series(harmonized), open_series(change)
    same = image.shape == difference.shape and image.volume_count == difference.volume_count
    if not same or not np.allclose(image.affine, difference.affine):
        raise BadData(
            f"{change}: not on the grid of {harmonized}; name the change map that belongs to it."
        )
    with open_atomic(output) as stream:
        writer = SeriesWriter(stream, image)
        for one, other in zip(image.volumes(), difference.volumes(np.float64), strict=True):
            writer.add((one - other).astype(np.float32))
        writer.close()
