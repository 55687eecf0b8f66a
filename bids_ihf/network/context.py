"""What the network is told of a slice beside its image: the modality, and where it lies."""

from __future__ import annotations

import numpy as np
import torch
from attrs import frozen
from numpy.typing import NDArray
from torch import Tensor

NETWORK_MODALITIES = ("T1w", "T2w", "FLAIR", "b0", "shell-mean", "shell-energy")
"""Images that the network can be told apart, in the order of their weights: anatomical scans, and
the maps of a diffusion series that its directions share."""

CONTEXT_SIZE = len(NETWORK_MODALITIES) + 1
"""Length of a slice's context: the weights of the modalities, and the axial coordinate."""

COORDINATE_UNIT_MM = 100.0
"""Unit of coordinates in the network, about the distance from the centre to the surface of the
brain."""

IN_PLANE_TERMS = 3
"""Terms of the in-plane position: even from left to right, as scans are mirrored in training."""


def slice_context(modality: str, z: NDArray[np.floating]) -> NDArray[np.float32]:
    """Context (N, `CONTEXT_SIZE`) of the slices at axial template coordinates ``z`` (N,), mm.

    The weights are zero for a modality that is unknown.

    >>> slice_context("T2w", np.array([50.0])).round(1).tolist()
    [[0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.5]]
    """
    context = np.zeros((len(z), CONTEXT_SIZE), np.float32)
    if modality in NETWORK_MODALITIES:
        context[:, NETWORK_MODALITIES.index(modality)] = 1
    context[:, -1] = z / COORDINATE_UNIT_MM
    return context


@frozen
class Window:
    """The part of an image that is shown: its first row and column, and the image's size, in
    voxels of 1 mm."""

    first: tuple[int, int]
    size: tuple[int, int]


def in_plane_position(latent: Tensor, shown: tuple[int, int], window: Window | None) -> Tensor:
    """Terms (1, `IN_PLANE_TERMS`, H, W) of the position of a latent's pixels: x^2, y and y^2 from
    the centre of an image, of whose voxels ``shown`` were squeezed into the latent: all, or those
    of a ``window``.

    >>> in_plane_position(torch.zeros(1, 8, 2, 2), (4, 4), None).shape
    torch.Size([1, 3, 2, 2])
    """
    axes = []
    window = window or Window((0, 0), shown)
    sizes = zip(latent.shape[-2:], shown, window.first, window.size, strict=True)
    for pixels, voxels, first, image_voxels in sizes:
        factor = voxels // pixels
        index = torch.arange(pixels, device=latent.device, dtype=latent.dtype)
        centres = (index + 0.5) * factor - 0.5 + first - (image_voxels - 1) / 2
        axes.append(centres / COORDINATE_UNIT_MM)
    x, y = torch.meshgrid(*axes, indexing="ij")
    return torch.stack([x.square(), y, y.square()])[None]
