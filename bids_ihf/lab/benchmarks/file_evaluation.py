"""``ihf evaluate``: each harmonized image against a scan of the target on its grid."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import numpy as np
from attrs import frozen
from nibabel.orientations import apply_orientation, io_orientation

from bids_ihf.bids.names import parse_name
from bids_ihf.errors import BadData, InvalidBIDS
from bids_ihf.io.nifti import read_volume
from bids_ihf.lab.benchmarks.bootstrap import CONFIDENCE_LEVEL, summarize
from bids_ihf.lab.benchmarks.metrics.lpips import slice_distance
from bids_ihf.lab.benchmarks.tables import Column, aligned
from bids_ihf.lab.comparators import histogram_matching, nyul
from bids_ihf.lab.comparators.interface import MaskedImage
from bids_ihf.preprocessing.brain_mask import find_brain
from bids_ihf.qc.similarity import similarity_metrics

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from bids_ihf.io.nifti import Volume
    from bids_ihf.lab.benchmarks.metrics.lpips import LPIPS
    from bids_ihf.lab.benchmarks.tables import Row

LOGGER = logging.getLogger(__name__)

AFFINE_TOLERANCE_MM = 1e-3
"""Largest difference between elements of two affines of the same grid."""

HARMONIZED_METHOD = "harmonized"
UNHARMONIZED_METHOD = "unharmonized"
HISTOGRAM_MATCHING_METHOD = "histogram matching"
NYUL_METHOD = "Nyul"

_SCALING_TEXT = "scaled by the target's 0.1-99.9 percentiles in the mask, clipped to [0, 1]"
FILE_COLUMNS: dict[str, Column] = {
    "subject": Column("Label of the subject", long_name="Subject"),
    "harmonized": Column("File that was evaluated", long_name="Harmonized image"),
    "target": Column("File it was compared with", long_name="Target scan"),
    "method": Column("What was compared: the harmonized image, or a baseline", long_name="Method"),
    "rmse_mask": Column(f"Root mean square error, {_SCALING_TEXT}", "1", "RMSE in the mask"),
    "psnr_mask": Column("Peak signal-to-noise ratio, data range 1", "dB", "PSNR in the mask"),
    "rmse_frame": Column(f"Root mean square error, {_SCALING_TEXT}", "1", "RMSE, full frame"),
    "psnr_frame": Column("Peak signal-to-noise ratio, data range 1", "dB", "PSNR, full frame"),
    "ms_ssim": Column("Multiscale SSIM, mean over axial slices with brain", "1", "MS-SSIM"),
    "ms_ssim_scales": Column("5, or fewer where slices are too small", "1", "MS-SSIM scales"),
}
LPIPS_COLUMN = "lpips"
SUMMARY_METRICS = ("rmse_mask", "psnr_mask", "rmse_frame", "psnr_frame", "ms_ssim")


@frozen
class FilePair:
    """Images to compare.

    Attributes
    ----------
    harmonized, target
        On the same grid, registered.
    mask
        Brain mask for both, on their grid; None takes the intersection of a mask of each.
    source
        The image before harmonization, for the rows of the baselines.
    """

    harmonized: Path
    target: Path
    mask: Path | None = None
    source: Path | None = None


def columns_with(lpips: LPIPS | None) -> dict[str, Column]:
    """FILE_COLUMNS, with LPIPS if it is measured."""
    if lpips is None:
        return FILE_COLUMNS
    backbone = lpips.backbone.name
    text = f"LPIPS with {backbone}, mean over axial slices with brain; 0 if equal"
    return {**FILE_COLUMNS, LPIPS_COLUMN: Column(text, "1", f"LPIPS ({backbone})")}


def evaluate_files(pairs: Sequence[FilePair], lpips: LPIPS | None = None) -> list[Row]:
    """Similarity of each pair, and of the baselines if the pair's source is given.

    The baselines are no harmonization, histogram matching and, if the package
    ``intensity-normalization`` is installed, Nyul's method; their reference is the target scan.

    Raises
    ------
    BadData
        A file cannot be read or used, or two files of a pair are not on the same grid.
    """
    return [row for pair in pairs for row in _rows(pair, lpips)]


def summary_text(rows: Sequence[Row], lpips: LPIPS | None = None) -> str:
    """Median and bootstrap interval of each metric, as aligned text: a line for each method."""
    columns, metrics_shown = columns_with(lpips), [*SUMMARY_METRICS]
    metrics_shown += [LPIPS_COLUMN] if lpips is not None else []
    names = {metric: columns[metric].long_name or metric for metric in metrics_shown}
    lines = [
        {"method": method} | {names[metric]: str(summary) for metric, summary in metrics.items()}
        for method, metrics in summarize(rows, metrics_shown).items()
    ]
    count = len({row["subject"] for row in rows})
    noun = "subject" if count == 1 else "subjects"
    note = f"Median over {count} {noun} [{CONFIDENCE_LEVEL} % bootstrap interval]\n"
    return aligned(lines, ["method", *names.values()]) + note


def _rows(pair: FilePair, lpips: LPIPS | None) -> Iterator[Row]:
    harmonized, target = read_volume(pair.harmonized), read_volume(pair.target)
    require_same_grid(harmonized, target)
    mask = _mask(pair, harmonized, target)
    if not mask.any():
        raise BadData(
            f"{pair.harmonized} and {pair.target}: the mask is empty; check the images and the "
            "mask."
        )
    images = {HARMONIZED_METHOD: harmonized.data}
    if pair.source is not None:
        source = read_volume(pair.source)
        require_same_grid(source, target)
        images = _baselines(source.data, target.data, mask) | images
    for method, data in images.items():
        yield _labels(pair, method) | _metrics(pair, data, target, mask, lpips)


def _labels(pair: FilePair, method: str) -> Row:
    try:
        subject = parse_name(pair.harmonized).get("sub")
    except InvalidBIDS:
        subject = None
    # A file without a BIDS name counts as a separate subject.
    return {
        "subject": subject or pair.harmonized.name.split(".")[0],
        "harmonized": str(pair.harmonized),
        "target": str(pair.target),
        "method": method,
    }


def _metrics(
    pair: FilePair,
    data: NDArray[np.float32],
    target: Volume,
    mask: NDArray[np.bool_],
    lpips: LPIPS | None,
) -> Row:
    image, reference, brain = (
        _to_axial(array, target.affine) for array in (data, target.data, mask)
    )
    try:
        row: Row = dict(similarity_metrics(image, reference, brain.astype(bool)))
        if lpips is not None:
            row[LPIPS_COLUMN] = slice_distance(lpips, image, reference, brain.astype(bool))
    except ValueError as error:
        raise BadData(
            f"{pair.harmonized} and {pair.target}: {error}; check the images and the mask."
        ) from error
    return row


def _to_axial(data: NDArray[Any], affine: NDArray[np.float64]) -> NDArray[Any]:
    """Reorient the axes to right, anterior, superior, so that the third crosses axial slices."""
    reoriented: NDArray[Any] = apply_orientation(data, io_orientation(affine))
    return reoriented


def _baselines(
    source: NDArray[np.float32], target: NDArray[np.float32], mask: NDArray[np.bool_]
) -> dict[str, NDArray[np.float32]]:
    image, reference = MaskedImage(source, mask), MaskedImage(target, mask)
    images = {
        UNHARMONIZED_METHOD: source,
        HISTOGRAM_MATCHING_METHOD: histogram_matching.harmonize(image, [reference]),
    }
    if nyul.is_available():
        images[NYUL_METHOD] = nyul.harmonize(image, [reference])
    else:
        LOGGER.warning("No rows for Nyul: the package intensity-normalization is not installed.")
    return images


def require_same_grid(first: Volume, second: Volume) -> None:
    """Raise BadData unless two images have the same shape and affine."""
    same = first.data.shape == second.data.shape and np.allclose(
        first.affine, second.affine, rtol=0, atol=AFFINE_TOLERANCE_MM
    )
    if not same:
        raise BadData(
            f"{first.path} and {second.path} are not on the same grid: "
            "register and resample them to one grid before evaluating."
        )


def _mask(pair: FilePair, harmonized: Volume, target: Volume) -> NDArray[np.bool_]:
    if pair.mask is None:
        first, second = (find_brain(scan.data, scan.affine).mask for scan in (harmonized, target))
        return first & second
    mask = read_volume(pair.mask)
    require_same_grid(mask, target)
    return mask.data > 0.5
