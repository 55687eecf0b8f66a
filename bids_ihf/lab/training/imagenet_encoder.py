"""The encoder of the paper: VGG19 with the ImageNet weights of torchvision."""

from __future__ import annotations

from pathlib import Path
from pickle import UnpicklingError
from typing import TYPE_CHECKING

import torch

from bids_ihf.errors import BadData
from bids_ihf.network.encoder import Encoder

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

IMAGENET_MEAN, IMAGENET_DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Channel statistics that torchvision's weights expect, for intensities from 0 to 1."""

VGG19_WEIGHTS_FILE = "vgg19-dcbb9e9d.pth"
VGG19_WEIGHTS_URL = f"https://download.pytorch.org/models/{VGG19_WEIGHTS_FILE}"
"""ImageNet weights of torchvision (``VGG19_Weights.IMAGENET1K_V1``)."""


def imagenet_encoder(path: Path | None = None) -> Encoder:
    """Encoder with torchvision's ImageNet weights of VGG19, as in the paper; no tissue read-out.

    Parameters
    ----------
    path
        State dictionary of torchvision's ``vgg19``; default: `VGG19_WEIGHTS_FILE` in the cache of
        ``torch.hub``.  Nothing is downloaded.

    Raises
    ------
    BadData
        The file is missing, or does not hold the weights of VGG19.
    """
    path = path or Path(torch.hub.get_dir()) / "checkpoints" / VGG19_WEIGHTS_FILE
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        return encoder_from_vgg19(
            {key.removeprefix("features."): value for key, value in state.items()}
        )
    except FileNotFoundError as error:
        raise BadData(
            f"{path}: there are no ImageNet weights of VGG19; download {VGG19_WEIGHTS_URL} to "
            "this file."
        ) from error
    except (OSError, EOFError, UnpicklingError, RuntimeError, AttributeError, KeyError) as error:
        raise BadData(
            f"{path}: does not hold the weights of torchvision's VGG19; download "
            f"{VGG19_WEIGHTS_URL} again."
        ) from error


def encoder_from_vgg19(state: Mapping[str, Tensor]) -> Encoder:
    """Encoder of width 64 with the weights of torchvision's ``vgg19().features``."""
    encoder = Encoder(width=64, has_tissue_head=False)
    encoder.features.load_state_dict({key: state[key] for key in encoder.features.state_dict()})
    # From intensities in [-1, 1] to ImageNet's, in [0, 1].
    encoder.shift.copy_(2 * torch.tensor(IMAGENET_MEAN) - 1)
    encoder.scale.copy_(0.5 / torch.tensor(IMAGENET_DEVIATION))
    return encoder
