"""LPIPS: learned perceptual image patch similarity (Zhang et al. 2018, CVPR).

The weights are those of the package ``lpips``, version 0.1, saved with its backbone in one file;
nothing is downloaded.
"""

from __future__ import annotations

from pickle import UnpicklingError
from typing import TYPE_CHECKING

import numpy as np
import torch
from attrs import frozen
from torch import Tensor, nn

from bids_ihf.errors import BadData
from bids_ihf.qc.similarity import intensity_range, to_unit_range

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

INPUT_SHIFT, INPUT_SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
"""Mean and standard deviation of ImageNet's colours in the range -1 to 1."""

BATCH_SLICES = 8

FEATURE_FLOOR = 1e-10
"""Added to the length of a feature vector, so that it can be divided by."""

SAVING_ADVICE = (
    "save it with python -c \"import lpips, torch; torch.save(lpips.LPIPS(net='alex')"
    ".state_dict(), 'lpips-alex.pth')\""
)


@frozen
class Convolution:
    """Sizes of a convolution, which is followed by a rectifier."""

    outputs: int
    kernel: int = 3
    stride: int = 1
    padding: int = 1


@frozen
class Backbone:
    """A network whose features are compared.

    Attributes
    ----------
    stages
        The convolutions whose last rectifier gives a feature map, for each map.
    pool
        Side of the pooling window, of stride 2, before some stages.
    pooled
        Numbers of these stages.
    """

    name: str
    stages: tuple[tuple[Convolution, ...], ...]
    pool: int
    pooled: tuple[int, ...]


ALEXNET_BACKBONE = Backbone(
    "AlexNet",
    (
        (Convolution(64, kernel=11, stride=4, padding=2),),
        (Convolution(192, kernel=5, padding=2),),
        (Convolution(384),),
        (Convolution(256),),
        (Convolution(256),),
    ),
    pool=3,
    pooled=(1, 2),
)
VGG16_BACKBONE = Backbone(
    "VGG16",
    tuple(
        (Convolution(outputs),) * count
        for outputs, count in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))
    ),
    pool=2,
    pooled=(1, 2, 3, 4),
)


class LPIPS(nn.Module):
    """Distance of two images, 0 if their features are the same.

    The modules are named as in the package ``lpips``, so that its weights load.
    """

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.backbone = backbone
        self.net = nn.Module()
        position, inputs = 0, 3
        for number, stage in enumerate(backbone.stages):
            layers: dict[str, nn.Module] = {}
            if number in backbone.pooled:
                layers[str(position)] = nn.MaxPool2d(backbone.pool, 2)
                position += 1
            for sizes in stage:
                layers[str(position)] = nn.Conv2d(
                    inputs, sizes.outputs, sizes.kernel, sizes.stride, sizes.padding
                )
                layers[str(position + 1)] = nn.ReLU()
                position, inputs = position + 2, sizes.outputs
            sequence = nn.Sequential()
            for name, layer in layers.items():
                sequence.add_module(name, layer)
            self.net.add_module(f"slice{number + 1}", sequence)
            head = nn.Module()
            head.add_module(
                "model", nn.Sequential(nn.Identity(), nn.Conv2d(inputs, 1, 1, bias=False))
            )
            self.add_module(f"lin{number}", head)

    def features(self, x: Tensor) -> list[Tensor]:
        """Images (B, 3, H, W), -1 to 1, to feature maps of unit length over channels."""
        shift, scale = (torch.tensor(v)[:, None, None] for v in (INPUT_SHIFT, INPUT_SCALE))
        x, maps = (x - shift) / scale, []
        for number in range(len(self.backbone.stages)):
            x = self.net.get_submodule(f"slice{number + 1}")(x)
            maps.append(x / (x.square().sum(dim=1, keepdim=True).sqrt() + FEATURE_FLOOR))
        return maps

    def forward(self, image: Tensor, reference: Tensor) -> Tensor:
        """Distances (B,) of images (B, 3, H, W), -1 to 1."""
        pairs = zip(self.features(image), self.features(reference), strict=True)
        distances = [
            self.get_submodule(f"lin{number}.model")((first - second).square()).mean(dim=(1, 2, 3))
            for number, (first, second) in enumerate(pairs)
        ]
        return torch.stack(distances).sum(dim=0)


def load_lpips(path: Path) -> LPIPS:
    """Load the weights of the package ``lpips``; the first layer tells the backbone.

    Raises
    ------
    BadData
        The file cannot be read, or holds other weights.
    """
    try:
        weights = torch.load(path, map_location="cpu", weights_only=True)
        first = weights["net.slice1.0.weight"]
    except (OSError, RuntimeError, EOFError, KeyError, TypeError, UnpicklingError) as error:
        raise BadData(
            f"{path}: no weights of LPIPS with their backbone; {SAVING_ADVICE}."
        ) from error
    model = LPIPS(VGG16_BACKBONE if tuple(first.shape[2:]) == (3, 3) else ALEXNET_BACKBONE)
    names = set(model.state_dict())
    try:
        model.load_state_dict({key: weights[key] for key in names})
    except (KeyError, RuntimeError) as error:
        raise BadData(
            f"{path}: no weights of LPIPS with their backbone; {SAVING_ADVICE}."
        ) from error
    return model.eval().requires_grad_(requires_grad=False)


def slice_distance(
    model: LPIPS,
    image: NDArray[np.floating],
    target: NDArray[np.floating],
    mask: NDArray[np.bool_],
) -> float:
    """Mean LPIPS of the axial slices with brain of volumes (X, Y, Z), scaled as for the other
    measures of similarity.

    Raises
    ------
    ValueError
        The mask is empty, or the target is constant inside it.
    """
    limits = intensity_range(target, mask)
    shown = np.flatnonzero(mask.any(axis=(0, 1)))
    stacks = []
    for data in (image, target):
        slices = np.moveaxis(to_unit_range(data[:, :, shown], *limits), 2, 0)
        stacks.append(torch.from_numpy(2 * slices.astype(np.float32) - 1)[:, None])
    values = []
    for first in range(0, len(shown), BATCH_SLICES):
        rows = slice(first, first + BATCH_SLICES)
        with torch.inference_mode():
            values.append(model(*(stack[rows].expand(-1, 3, -1, -1) for stack in stacks)))
    return float(torch.cat(values).mean())
