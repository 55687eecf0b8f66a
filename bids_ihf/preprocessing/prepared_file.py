"""A prepared scan on disk, between the steps of a run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bids_ihf.geometry.grid import Grid
from bids_ihf.io.nifti import read_volume
from bids_ihf.preprocessing.prepare import Prepared
from bids_ihf.preprocessing.segmentation import Segmentation

if TYPE_CHECKING:
    from numpy.typing import NDArray


def save_prepared(prepared: Prepared, output: Path) -> None:
    """Keep what was computed (.npz); the voxels stay in their own file."""
    arrays: dict[str, Any] = {
        "path": str(prepared.volume.path),
        "bias": prepared.bias,
        "mask": prepared.mask,
        "stripped": prepared.stripped,
        "to_template": prepared.to_template,
        "similarity": np.nan if prepared.similarity is None else prepared.similarity,
        "coverage": np.nan if prepared.coverage is None else prepared.coverage,
        "seconds": prepared.seconds,
    }
    if prepared.segmentation is not None:
        arrays["tissue_fractions"] = prepared.segmentation.tissue_fractions
        arrays["field_of_view"] = prepared.segmentation.field_of_view
        arrays["segmentation_affine"] = prepared.segmentation.grid.affine
    # Uncompressed: the folder is cleared soon, and zlib takes longer than writing it all.
    np.savez(output, **arrays)


def load_prepared(path: Path) -> Prepared:
    """What :func:`save_prepared` kept, with the voxels read again from the image."""
    with np.load(path) as arrays:
        segmentation = None
        if "tissue_fractions" in arrays:
            fractions, field_of_view = arrays["tissue_fractions"], arrays["field_of_view"]
            grid = Grid(field_of_view.shape, arrays["segmentation_affine"])
            segmentation = Segmentation(fractions, field_of_view, grid)
        return Prepared(
            volume=read_volume(Path(str(arrays["path"]))),
            bias=arrays["bias"],
            mask=arrays["mask"],
            segmentation=segmentation,
            stripped=bool(arrays["stripped"]),
            to_template=arrays["to_template"],
            similarity=_float_or_none(arrays["similarity"]),
            coverage=_float_or_none(arrays["coverage"]),
            seconds=float(arrays["seconds"]),
        )


def _float_or_none(value: NDArray[np.float64]) -> float | None:
    return None if np.isnan(value) else float(value)
