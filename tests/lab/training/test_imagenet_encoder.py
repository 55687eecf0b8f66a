"""The ImageNet encoder and its agreement with torchvision's VGG19."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import pytest
import torch

from bids_ihf.errors import BadData
from bids_ihf.lab.training.imagenet_encoder import (
    IMAGENET_DEVIATION,
    IMAGENET_MEAN,
    VGG19_WEIGHTS_FILE,
    VGG19_WEIGHTS_URL,
    imagenet_encoder,
)
from bids_ihf.network.encoder import Encoder

if TYPE_CHECKING:
    from pathlib import Path


def torchvision_models() -> Any:
    """torchvision's models, also where its compiled operators do not match the build of torch."""
    try:
        from torchvision import models
    except RuntimeError:
        # VGG19 needs no such operator, but importing torchvision needs their declaration.
        library = torch.library.Library("torchvision", "FRAGMENT")
        for name in ("nms", "qnms"):
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        from torchvision import models
    return models


@pytest.mark.skipif(find_spec("torchvision") is None, reason="needs ihf-harmony[imagenet]")
def test_vgg19_of_torchvision_gives_the_same_features(tmp_path: Path) -> None:
    vgg19 = torchvision_models().vgg19(weights=None).eval()
    torch.save(vgg19.state_dict(), tmp_path / "vgg19.pth")
    encoder = imagenet_encoder(tmp_path / "vgg19.pth")
    x = torch.rand(1, 3, 32, 48)  # sides that every pooling halves
    mean, deviation = (torch.tensor(v) for v in (IMAGENET_MEAN, IMAGENET_DEVIATION))
    expected = vgg19.features[:21]((x - mean[:, None, None]) / deviation[:, None, None])
    torch.testing.assert_close(encoder(2 * x - 1)[-1], expected, atol=1e-4, rtol=1e-4)


@pytest.mark.skipif(find_spec("torchvision") is None, reason="needs ihf-harmony[imagenet]")
def test_the_file_of_the_weights_is_that_of_torchvision() -> None:
    url = torchvision_models().VGG19_Weights.IMAGENET1K_V1.url
    assert url == VGG19_WEIGHTS_URL


def test_imagenet_weights_are_read_from_the_cache_of_torch_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    with pytest.raises(BadData, match=r"vgg19-dcbb9e9d\.pth: there are no ImageNet weights"):
        imagenet_encoder()
    weights = Encoder(width=64).features
    (tmp_path / "checkpoints").mkdir()
    torch.save(
        {f"features.{key}": value for key, value in weights.state_dict().items()},
        tmp_path / "checkpoints" / VGG19_WEIGHTS_FILE,
    )
    encoder = imagenet_encoder()
    assert not encoder.has_tissue_head
    assert torch.equal(encoder.features[19].weight, weights[19].weight)
    # Black, -1, is 0 for ImageNet's weights, and white, 1, is 1.
    for value, intensity in ((-1.0, 0.0), (1.0, 1.0)):
        normalized = (value - encoder.shift) * encoder.scale
        expected = (intensity - torch.tensor(IMAGENET_MEAN)) / torch.tensor(IMAGENET_DEVIATION)
        torch.testing.assert_close(normalized, expected)


def test_a_file_without_vgg19_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    path.write_bytes(b"not a file of torch")
    with pytest.raises(BadData, match="does not hold the weights"):
        imagenet_encoder(path)
    torch.save({"features.0.weight": torch.zeros(1)}, path)
    with pytest.raises(BadData, match="does not hold the weights"):
        imagenet_encoder(path)
