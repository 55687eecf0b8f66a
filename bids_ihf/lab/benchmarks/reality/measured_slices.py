"""Axial slices of one scan with what is measured on them: intensities, mask, tissue prior."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import nibabel as nib
import numpy as np
from attrs import evolve, frozen

from bids_ihf.geometry.grid import Grid, resample
from bids_ihf.io.affines import voxel_sizes

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bids_ihf.preprocessing.segmentation import Segmentation

VoxelClass = Literal["1 mm", "2 mm", "thick", "slice"]

HEIGHT_RANGE = (0.2, 0.85)
"""Part of the brain's height, from its lowest to its highest slice, that is measured."""

SLICE_STEP_MM = 4.0
"""Distance between the slices that are measured, mm."""

CENTRAL_RANGE = (0.3, 0.7)
"""Part of these slices, counted from the lowest, on which all but the bias is measured: around
the ventricles, where single slices of real data lie too."""

MAX_SLAB_SLICES = 4
"""Slices up to which a file is a slice or a few equal ones, and no volume."""

MARGIN_VOXELS = 3
"""Voxels around the brain that are kept in a slice."""

MIN_COARSE_MM, MIN_THICK_MM = 1.7, 2.9
"""In-plane voxel size from which a scan belongs to the 2 mm class, and slice thickness from which
it is thick, mm."""


@frozen(eq=False)
class MeasuredSlices:
    """Axial slices of one scan.

    Attributes
    ----------
    modality
        BIDS suffix.
    voxel_class
        What the scan is compared with.
    raw, corrected
        Intensities as stored and after N4, (X, Y, S) in axes nearest to RAS; `corrected` is `raw`
        where N4 is not run.
    mask
        Brain, (X, Y, S).
    prior
        Fractions of grey matter, white matter and CSF, (3, X, Y, S), that say where a tissue
        may be; None where intensities alone have to tell.
    zooms
        Voxel size and distance of the slices (3,), mm.
    """

    modality: str
    voxel_class: VoxelClass
    raw: NDArray[np.float32]
    corrected: NDArray[np.float32]
    mask: NDArray[np.bool_]
    prior: NDArray[np.float32] | None
    zooms: NDArray[np.float64]


def voxel_class_of(shape: tuple[int, ...], zooms: NDArray[np.float64]) -> VoxelClass:
    """The class of a scan, from shape and voxel size in mm along the axes nearest to RAS.

    >>> voxel_class_of((128, 128, 30), np.array([1.56, 1.56, 5.0]))
    'thick'
    """
    if shape[2] <= MAX_SLAB_SLICES:
        return "slice"
    if zooms[2] >= MIN_THICK_MM:
        return "thick"
    return "2 mm" if max(zooms[:2]) >= MIN_COARSE_MM else "1 mm"


def slices_of_volume(
    data: NDArray[np.float32],
    bias: NDArray[np.float32],
    mask: NDArray[np.bool_],
    segmentation: Segmentation,
    affine: NDArray[np.float64],
    modality: str,
) -> MeasuredSlices:
    """The axial slices of a volume (X, Y, Z) that are measured, about every 4 mm.

    Of the tissues only the 2 mm fractions are taken: borders come from the image itself.
    """
    orientation = nib.io_orientation(affine)
    raw, field, inside = (
        nib.apply_orientation(volume, orientation) for volume in (data, bias, mask)
    )
    ras = affine @ nib.orientations.inv_ornt_aff(orientation, data.shape)
    zooms = voxel_sizes(ras)
    chosen = _heights(inside, float(zooms[2]))
    corrected = raw[:, :, chosen] / field[:, :, chosen]
    prior = np.stack([
        _sampled(fraction, segmentation.grid, raw.shape, ras, chosen)
        for fraction in segmentation.tissue_fractions[1:]
    ])  # fmt: skip
    step = float(zooms[2]) * (chosen[1] - chosen[0] if len(chosen) > 1 else 1)
    slices = MeasuredSlices(
        modality, voxel_class_of(raw.shape, zooms), raw[:, :, chosen], corrected,
        inside[:, :, chosen], prior, np.array([zooms[0], zooms[1], step]),
    )  # fmt: skip
    return cropped(slices)


def _heights(mask: NDArray[np.bool_], zoom: float) -> NDArray[np.intp]:
    """Indices of the slices that are measured."""
    filled = np.flatnonzero(mask.any(axis=(0, 1)))
    low, high = (
        filled[0] + round(fraction * (filled[-1] - filled[0])) for fraction in HEIGHT_RANGE
    )
    return np.arange(low, high + 1, max(1, round(SLICE_STEP_MM / zoom)), dtype=np.intp)


def _sampled(
    fraction: NDArray[np.float32],
    source: Grid,
    shape: tuple[int, ...],
    affine: NDArray[np.float64],
    chosen: NDArray[np.intp],
) -> NDArray[np.float32]:
    step = chosen[1] - chosen[0] if len(chosen) > 1 else 1
    planes = affine.copy()
    planes[:3, 3] += affine[:3, 2] * chosen[0]
    planes[:3, 2] *= step
    return resample(fraction, source, Grid((shape[0], shape[1], len(chosen)), planes))


def cropped(slices: MeasuredSlices) -> MeasuredSlices:
    """The rectangle of the slices that holds the brain, which saves time."""
    box = []
    for axis in range(2):
        filled = np.flatnonzero(slices.mask.any(axis=(1 - axis, 2)))
        first, stop = int(filled[0]) - MARGIN_VOXELS, int(filled[-1]) + 1 + MARGIN_VOXELS
        box.append(slice(max(0, first), stop))
    x, y = box
    prior = slices.prior
    return evolve(
        slices,
        raw=slices.raw[x, y].astype(np.float32),
        corrected=slices.corrected[x, y].astype(np.float32),
        mask=slices.mask[x, y],
        prior=None if prior is None else prior[:, x, y],
    )


def central(slices: MeasuredSlices) -> slice:
    """The slices around the ventricles."""
    count = slices.raw.shape[2]
    low, high = (round(fraction * count) for fraction in CENTRAL_RANGE)
    return slice(low, high) if high > low else slice(0, count)


def single_slice(slices: MeasuredSlices, index: int, *, keep_prior: bool) -> MeasuredSlices:
    """One bias-corrected slice, as scans that consist of one are: without raw intensities.

    Real single slices have no prior; `keep_prior` stands for a T1w that tells the tissues.
    """
    plane = (slice(None), slice(None), slice(index, index + 1))
    corrected = slices.corrected[plane]
    prior = slices.prior[:, *plane] if keep_prior and slices.prior is not None else None
    return MeasuredSlices(
        slices.modality, "slice", corrected, corrected, slices.mask[plane], prior, slices.zooms
    )
