"""Anatomies from real T1w scans: a person who exists, scanned again by a simulated scanner.

Label maps have a smooth cortex and a random texture.  Here the image itself says how much of
each tissue a voxel holds, and what is left of it becomes the texture of T1, T2 and proton density.
Only the brain is kept: what lies around it is air.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from attrs import frozen
from scipy import ndimage

from bids_ihf.errors import BadData
from bids_ihf.geometry.grid import resample
from bids_ihf.lab.simulation.anatomy import BRAIN_MARGIN_VOXELS, Anatomy
from bids_ihf.lab.simulation.signal_equations import tissue_signal
from bids_ihf.lab.simulation.tissues import (
    MAX_TEXTURE_SD,
    SIMULATED_TISSUES,
    TEXTURE_STEP_SD,
    TISSUE_INDEX,
    tissue,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bids_ihf.geometry.grid import Grid
    from bids_ihf.lab.simulation.protocol import Protocol
    from bids_ihf.preprocessing.prepare import Prepared

    Image = NDArray[np.float32]

PLATEAU = 0.25
"""Part of the difference between two tissues, on either side, that counts as variation of the
tissue and not as partial volume.  It also sharpens borders that the scan has blurred."""

PURE_FRACTION = 0.85
"""Fraction of the 2 mm voxels whose median intensity is the level of a tissue."""

FRACTION_SIGMA_MM = 0.4
"""Gaussian before intensities become fractions, mm: noise is no anatomy."""

MIXED_GREY_FRACTION = 0.3
"""Fraction of grey matter at 2 mm below which a border runs between white matter and CSF."""

COARSEST_TEXTURE_MM = 12.0
"""Standard deviation, mm, of the Gaussian above which variation counts as residual bias."""

SPECTRUM_BINS = 40
"""Bins of the radial spectrum, up to half a cycle per voxel, by which noise is removed."""

NOISE_FREQUENCY = 0.35
"""Frequency, cycles per voxel, above which little but noise is expected."""


@frozen
class TissueLevels:
    """Intensities of the three tissues in one scan."""

    csf: float
    grey: float
    white: float


def from_scan(prepared: Prepared, protocol: Protocol) -> Anatomy:
    """The anatomy of the brain in a real T1w scan, on the part of its grid around the brain.

    Parameters
    ----------
    prepared
        The scan, its brain mask, bias field and 2 mm tissue fractions.
    protocol
        A T1w protocol like that of the scan: it says by how much texture changes the intensity.

    Raises
    ------
    BadData
        Its tissues do not have the contrast of a T1w image.
    """
    box = _brain_box(prepared.mask)
    data, mask = prepared.corrected[box], prepared.mask[box]
    grid, zooms = prepared.grid.crop(box), prepared.grid.zooms
    priors = _fine_fractions(prepared, grid)
    levels = _levels(data, mask, priors, prepared)
    smooth = ndimage.gaussian_filter(data, FRACTION_SIGMA_MM / zooms)
    grey, white, csf = _fractions(smooth, levels, priors[0])
    expected = grey * levels.grey + white * levels.white + csf * levels.csf
    rest = np.where(mask, data - expected, 0) / levels.white
    slope = grey * _slope(protocol, "grey") + white * _slope(protocol, "white")
    variable = mask & (csf < 0.5)
    texture = _texture(np.where(variable, rest, 0), slope, variable, zooms)
    fractions = np.zeros((len(SIMULATED_TISSUES), *data.shape), dtype=np.float32)
    for name, fraction in (("grey", grey), ("white", white), ("csf", csf)):
        fractions[TISSUE_INDEX[name]] = fraction * mask
    fractions[TISSUE_INDEX["air"]] = 1 - fractions.sum(axis=0)
    return Anatomy(
        torch.from_numpy(fractions), torch.from_numpy(texture), grid.affine,
        torch.from_numpy(mask & (csf < 0.5)),
    )  # fmt: skip


def _brain_box(mask: NDArray[np.bool_]) -> tuple[slice, slice, slice]:
    """The box of the brain with a margin, so that no more than that is scanned."""
    x, y, z = (
        slice(max(0, axis.start - BRAIN_MARGIN_VOXELS), min(size, axis.stop + BRAIN_MARGIN_VOXELS))
        for axis, size in zip(
            ndimage.find_objects(mask.astype(np.uint8))[0], mask.shape, strict=True
        )
    )
    return x, y, z


def _fine_fractions(prepared: Prepared, grid: Grid) -> list[Image]:
    """Grey matter, white matter and CSF of the 2 mm map on a grid."""
    segmentation = prepared.segment()
    return [
        resample(fraction, segmentation.grid, grid)
        for fraction in segmentation.tissue_fractions[1:]
    ]


def _levels(
    data: Image, mask: NDArray[np.bool_], priors: list[Image], prepared: Prepared
) -> TissueLevels:
    medians = []
    for prior in priors:
        pure = mask & (prior > min(PURE_FRACTION, float(np.quantile(prior[mask], 0.98))))
        medians.append(float(np.median(data[pure])))
    grey, white, csf = medians
    if not csf < grey < white:
        raise BadData(f"{prepared.volume.path}: does not have the contrast of a T1w image.")
    return TissueLevels(csf, grey, white)


def _fractions(
    image: Image, levels: TissueLevels, grey_prior: Image
) -> tuple[Image, Image, Image]:
    """Grey matter, white matter and CSF; two neighbours on the grey scale share a voxel.

    Where the 2 mm map has no grey matter, CSF and white matter do.
    """
    not_csf = _ramp(image, levels.csf, levels.grey)
    white = _ramp(image, levels.grey, levels.white)
    direct = _ramp(image, levels.csf, levels.white)
    weight = np.clip(grey_prior / MIXED_GREY_FRACTION, 0, 1)
    white_fraction = weight * white + (1 - weight) * direct
    csf_fraction = weight * (1 - not_csf) + (1 - weight) * (1 - direct)
    grey_fraction = np.clip(1 - white_fraction - csf_fraction, 0, 1)
    return (
        grey_fraction.astype(np.float32), white_fraction.astype(np.float32),
        csf_fraction.astype(np.float32),
    )  # fmt: skip


def _ramp(image: Image, low: float, high: float) -> Image:
    """0 up to the end of the plateau of the lower level, 1 from that of the higher one."""
    start = low + PLATEAU * (high - low)
    return np.clip((image - start) / ((1 - 2 * PLATEAU) * (high - low)), 0, 1).astype(np.float32)


def _slope(protocol: Protocol, name: str) -> float:
    """Change of a tissue's signal with one standard deviation of texture, relative to white."""
    high, low = (
        float(tissue_signal(protocol, tissue(name), texture=texture))
        for texture in (TEXTURE_STEP_SD, -TEXTURE_STEP_SD)
    )
    white = float(tissue_signal(protocol, tissue("white")))
    return (high - low) / (2 * TEXTURE_STEP_SD) / white


def _texture(
    rest: Image, slope: Image, variable: NDArray[np.bool_], zooms: NDArray[np.float64]
) -> Image:
    """The rest without noise and without residual bias, in standard deviations of texture."""
    weight = variable.astype(np.float32)
    sigma = COARSEST_TEXTURE_MM / zooms
    coarse = ndimage.gaussian_filter(rest, sigma) / np.maximum(
        ndimage.gaussian_filter(weight, sigma), 1e-3
    )
    detail = _without_noise((rest - coarse) * weight, variable)
    texture = np.divide(detail, slope, out=np.zeros_like(detail), where=variable & (slope != 0))
    return np.clip(texture, -MAX_TEXTURE_SD, MAX_TEXTURE_SD).astype(np.float32)


def _without_noise(detail: Image, variable: NDArray[np.bool_]) -> Image:
    """Wiener filter: each radial frequency keeps the part of its power that is not noise.

    Noise is taken as white, as strong as the strongest of the high frequencies.  The highest may
    be empty: filtered, or not acquired.
    """
    spectrum = np.fft.rfftn(detail)
    power = np.abs(spectrum) ** 2 / max(variable.sum(), 1)
    frequencies = np.meshgrid(
        *(np.fft.fftfreq(n) for n in detail.shape[:2]), np.fft.rfftfreq(detail.shape[2]),
        indexing="ij", sparse=True,
    )  # fmt: skip
    radius = np.sqrt(sum(f**2 for f in frequencies))
    bins = np.minimum((radius / 0.5 * SPECTRUM_BINS).astype(int), SPECTRUM_BINS)
    counts = np.bincount(bins.ravel(), minlength=SPECTRUM_BINS + 1)
    radial = np.bincount(bins.ravel(), power.ravel(), SPECTRUM_BINS + 1) / np.maximum(counts, 1)
    noise = radial[round(NOISE_FREQUENCY / 0.5 * SPECTRUM_BINS) : SPECTRUM_BINS].max()
    gain = np.clip(1 - noise / np.maximum(radial, 1e-12), 0, 1)
    return np.fft.irfftn(spectrum * gain[bins], s=detail.shape, axes=(0, 1, 2)).astype(np.float32)
