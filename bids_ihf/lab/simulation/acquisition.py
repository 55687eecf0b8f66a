"""From an anatomy to an image: contrast, coils, k-space, noise and units of one scanner."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional

from bids_ihf.lab.simulation import k_space, smooth_fields
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

    from bids_ihf.lab.simulation.anatomy import Anatomy
    from bids_ihf.lab.simulation.scanner import Scanner

TRANSMIT_RANGE = (0.4, 1.5)
"""Bounds of the relative transmit field."""

TRANSMIT_KNOTS = np.linspace(*TRANSMIT_RANGE, 23)
"""Relative transmit fields at which the signal is computed; a cubic is fitted through them."""

ROWS_PER_SLAB = 16
"""Rows of the volume that are computed at a time, which limits the memory."""

NECK_HEIGHT_MM, NECK_WIDTH_MM = -85.0, 18.0
"""World z, from the centre of the brain, at which the sensitivity of the head coil has fallen to
one half, and the width of the transition."""


def scan(anatomy: Anatomy, scanner: Scanner, seed: int) -> NDArray[np.float32]:
    """Image an anatomy: (X, Y, Z) float32 on its grid, in the scanner's units, non-negative.

    ``seed`` draws the thermal noise alone, so two seeds are a repeat scan.  The same arguments
    give the same bytes on a CPU with the same number of threads.
    """
    with torch.no_grad():
        device = anatomy.fractions.device
        rng = np.random.default_rng(scanner.field_seed)
        axes = smooth_fields.centred_axes(anatomy.shape, anatomy.zooms, anatomy.brain_centre())
        radius_squared = smooth_fields.radius_squared(axes, device)
        transmit = smooth_fields.random_waves(axes, rng, device).mul_(0.15 * scanner.transmit_bias)
        transmit += 1 + scanner.transmit_bias * (0.45 - radius_squared).clamp_(-1.0, 1.0)
        image = _contrast_image(anatomy, scanner, transmit.clamp_(*TRANSMIT_RANGE))
        image *= _receive_field(scanner, axes, radius_squared, rng)
        if scanner.distortion:
            image = _distort(image, axes, radius_squared, scanner.distortion)
        image = k_space.acquire(image, anatomy.zooms, scanner, radius_squared, seed)
        stored = _stored_values(image, scanner).cpu().numpy()
    return scanner.history.apply(stored, anatomy.brain.cpu().numpy(), anatomy.zooms)


def _contrast_image(anatomy: Anatomy, scanner: Scanner, transmit: torch.Tensor) -> torch.Tensor:
    """Noise-free, sharp image with white matter at one.

    The signal of each tissue is a cubic in the transmit field and linear in the texture, so
    the image is a matrix product of the tissue fractions with the eight coefficients.
    """
    table = torch.from_numpy(_signal_coefficients(scanner)).to(transmit.device)
    image = torch.empty_like(transmit)
    for start in range(0, transmit.shape[0], ROWS_PER_SLAB):
        rows = slice(start, start + ROWS_PER_SLAB)
        c = torch.einsum("ck,kxyz->cxyz", table, anatomy.fractions[:, rows])
        b = transmit[rows] - 1
        mean = c[0] + b * (c[1] + b * (c[2] + b * c[3]))
        slope = c[4] + b * (c[5] + b * (c[6] + b * c[7]))
        texture = anatomy.texture[rows].clamp(-MAX_TEXTURE_SD, MAX_TEXTURE_SD)
        image[rows] = mean + slope * texture
    return image.clamp_(min=0)


def _signal_coefficients(scanner: Scanner) -> NDArray[np.float32]:
    """Cubics (8, K) in (b1 - 1) of the signal of K tissues and of its slope in the texture."""
    protocol = scanner.protocol
    white = float(tissue_signal(protocol, tissue("white")))
    table = np.empty((8, len(SIMULATED_TISSUES)))
    for k, imaged in enumerate(SIMULATED_TISSUES):
        mean, high, low = (
            tissue_signal(protocol, imaged, TRANSMIT_KNOTS, texture=texture) / white
            for texture in (0.0, TEXTURE_STEP_SD, -TEXTURE_STEP_SD)
        )
        slope = scanner.texture_gain * (high - low) / (2 * TEXTURE_STEP_SD)
        for row, values in ((0, mean), (4, slope)):
            cubic = np.polynomial.polynomial.polyfit(TRANSMIT_KNOTS - 1, values, 3)
            table[row : row + 4, k] = cubic
    table[:, TISSUE_INDEX["fat"]] *= scanner.fat
    return table.astype(np.float32)


def _receive_field(
    scanner: Scanner,
    axes: list[NDArray[np.float32]],
    radius_squared: torch.Tensor,
    rng: np.random.Generator,
) -> torch.Tensor:
    """Coil sensitivity, about one in the brain: random, higher at the edge, lost in the neck."""
    device = radius_squared.device
    log_field = smooth_fields.random_waves(axes, rng, device).mul_(scanner.receive_bias)
    log_field += scanner.receive_edge * (radius_squared.clamp(max=1.6) - 0.4)
    depth = (axes[2] * smooth_fields.COORDINATE_UNIT_MM - NECK_HEIGHT_MM) / NECK_WIDTH_MM
    neck = torch.from_numpy(1 / (1 + np.exp(-depth)).astype(np.float32)).to(device)
    return log_field.exp_() * neck


def _distort(
    image: torch.Tensor,
    axes: list[NDArray[np.float32]],
    radius_squared: torch.Tensor,
    distortion_mm: float,
) -> torch.Tensor:
    """Displace every point along its radius, by ``distortion_mm`` at 90 mm, as the radius cubed.

    The lowest odd order that a gradient coil adds to a linear field (Janke et al. 2004, Magn Reson
    Med 52:115).
    """
    factor = 1 + radius_squared * (distortion_mm / smooth_fields.COORDINATE_UNIT_MM)
    grid = torch.empty((*image.shape, 3), device=image.device)
    for axis, values in enumerate(axes):
        position = torch.from_numpy(values).to(image.device)
        position = position.reshape(smooth_fields.axis_shape(axis)) * factor
        low, high = float(values[0]), float(values[-1])
        grid[..., 2 - axis] = (position - low) * (2 / (high - low)) - 1
    distorted = functional.grid_sample(
        image[None, None], grid[None], padding_mode="border", align_corners=True
    )
    return distorted[0, 0]


def _stored_values(image: torch.Tensor, scanner: Scanner) -> torch.Tensor:
    """Post-processing and number format of the vendor."""
    if scanner.sharpening:
        image = _sharpen(image, scanner.sharpening).clamp_(min=0)
    if scanner.gamma != 1:
        image = image.pow(scanner.gamma)
    image = image.clamp(max=scanner.ceiling)
    image = image * scanner.units
    return image.round_() if scanner.rounding else image


def _sharpen(image: torch.Tensor, amount: float) -> torch.Tensor:
    """Unsharp mask of 3 x 3 x 3 voxels; a negative amount smooths."""
    mean = functional.avg_pool3d(
        functional.pad(image[None, None], (1,) * 6, mode="replicate"), 3, stride=1
    )
    return image + amount * (image - mean[0, 0])
