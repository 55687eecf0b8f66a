"""The mean volume without diffusion weighting, which stands for a series in its preparation."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from bids_ihf.bids.gradient_tables import MAX_B0_S_PER_MM2, GradientTable, read_gradient_table
from bids_ihf.errors import BadData
from bids_ihf.io.nifti import Volume, encode_nifti
from bids_ihf.io.series import Series, open_series

Array = NDArray[np.float32]


@frozen
class SeriesFiles:
    """A diffusion series with its gradient table.

    `b0_threshold` is the largest b-value that counts as b=0 (s/mm2); None: it is found.
    """

    image: Path
    bval: Path | None
    bvec: Path | None
    b0_threshold: float | None = None

    def open(self) -> tuple[Series, GradientTable]:
        """Open the series and read its table.

        Raises
        ------
        BadData
            One of them cannot be used.
        """
        series = open_series(self.image)
        return series, read_gradient_table(
            self.image, self.bval, self.bvec, series.volume_count, self.b0_threshold
        )


@contextmanager
def mean_b0_image(files: SeriesFiles, folder: Path) -> Iterator[Path]:
    """A file in ``folder`` with the mean volume without weighting, of a series that was checked.

    Errors raised inside about this file are raised about the series.

    Raises
    ------
    BadData
        The series or its b-table cannot be used.
    """
    series, gradients = files.open()
    path = folder / "mean_b0.nii.gz"
    mean = mean_unweighted(series, gradients)
    like = Volume(mean, series.affine, series.header.copy(), path)
    path.write_bytes(encode_nifti(mean, like))
    try:
        yield path
    except BadData as error:
        raise BadData(str(error).replace(str(path), str(files.image))) from error


def mean_unweighted(series: Series, gradients: GradientTable) -> Array:
    """Mean (X, Y, Z) of the volumes without weighting; every volume is checked.

    Raises
    ------
    BadData
        A volume has NaN voxels or lacks slices that the others have.
    """
    total = np.zeros(series.shape, dtype=np.float64)
    nonzero_slices = np.zeros((series.volume_count, series.shape[2]), dtype=bool)
    unweighted = gradients.bvals <= MAX_B0_S_PER_MM2
    for number, volume in enumerate(series.volumes()):
        if not np.isfinite(volume).all():
            count = int(np.count_nonzero(~np.isfinite(volume)))
            raise BadData(
                f"{series.path}: {count} voxels of volume {number + 1} are NaN or infinite; "
                "repair the series or exclude that volume and its b-table entry."
            )
        nonzero_slices[number] = volume.any(axis=(0, 1))
        if unweighted[number]:
            total += volume
    _check_slices(series.path, nonzero_slices)
    return (total / unweighted.sum()).astype(np.float32)


def _check_slices(path: Path, nonzero_slices: NDArray[np.bool_]) -> None:
    """Refuse a series in which a volume lacks slices that most volumes have."""
    missing = ~nonzero_slices & (nonzero_slices.mean(axis=0) > 0.5)
    bad = np.flatnonzero(missing.any(axis=1))
    if bad.size:
        raise BadData(
            f"{path}: volume {bad[0] + 1} has {int(missing[bad[0]].sum())} empty slices where "
            "others have signal; exclude that volume and its b-table entry."
        )
    if not nonzero_slices.any():
        raise BadData(f"{path}: all voxels are 0, so it is empty; exclude it.")
