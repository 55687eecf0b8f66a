"""LPIPS with weights from a file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from bids_ihf.errors import BadData
from bids_ihf.lab.benchmarks.file_evaluation import columns_with
from bids_ihf.lab.benchmarks.metrics.lpips import (
    ALEXNET_BACKBONE,
    LPIPS,
    VGG16_BACKBONE,
    Backbone,
    load_lpips,
    slice_distance,
)

if TYPE_CHECKING:
    from pathlib import Path

RNG = np.random.default_rng(0)


def saved(folder: Path, backbone: Backbone) -> tuple[Path, LPIPS]:
    """Random weights, those of the heads positive as in the package, as it saves them."""
    torch.manual_seed(0)
    model = LPIPS(backbone)
    weights = {k: v.abs() if k.startswith("lin") else v for k, v in model.state_dict().items()}
    model.load_state_dict(weights)
    extra = {"scaling_layer.shift": torch.zeros(1, 3, 1, 1)}
    torch.save({**weights, **extra}, folder / "lpips.pth")
    return folder / "lpips.pth", model


@pytest.mark.parametrize("backbone", [ALEXNET_BACKBONE, VGG16_BACKBONE])
def test_the_backbone_is_found_and_named(tmp_path: Path, backbone: Backbone) -> None:
    path, _ = saved(tmp_path, backbone)
    loaded = load_lpips(path)
    assert loaded.backbone == backbone
    assert backbone.name in columns_with(loaded)["lpips"].description
    assert "lpips" not in columns_with(None)


def test_names_are_those_of_the_package() -> None:
    alex, vgg = LPIPS(ALEXNET_BACKBONE).state_dict(), LPIPS(VGG16_BACKBONE).state_dict()
    assert alex["net.slice2.3.weight"].shape == (192, 64, 5, 5)
    assert alex["net.slice5.10.weight"].shape == (256, 256, 3, 3)
    assert vgg["net.slice3.14.weight"].shape == (256, 256, 3, 3)
    assert vgg["net.slice5.28.weight"].shape == (512, 512, 3, 3)
    assert alex["lin1.model.1.weight"].shape == (1, 192, 1, 1)


def test_it_is_that_of_torchmetrics(tmp_path: Path) -> None:
    lpips = pytest.importorskip("torchmetrics.functional.image.lpips")
    path, _ = saved(tmp_path, ALEXNET_BACKBONE)
    ours = load_lpips(path)
    images = torch.rand(2, 2, 3, 64, 70) * 2 - 1
    features = [ours.features(image) for image in images]
    # What torchmetrics adds to the backbone: unit length, linear heads, means over pixels.
    total = torch.zeros(2)
    for number, (one, other) in enumerate(zip(*features, strict=True)):
        head = lpips.NetLinLayer(one.shape[1], use_dropout=True)
        head.load_state_dict(ours.get_submodule(f"lin{number}").state_dict())
        head.eval()
        total += lpips._spatial_average(head((one - other) ** 2)).flatten()
    scaling = lpips.ScalingLayer()
    first = ours.net.get_submodule("slice1")(scaling(images[0]))
    assert torch.allclose(lpips._normalize_tensor(first), features[0][0], atol=1e-6)
    assert torch.allclose(ours(*images), total, rtol=1e-4)


def test_equal_volumes_are_at_no_distance(tmp_path: Path) -> None:
    path, _ = saved(tmp_path, ALEXNET_BACKBONE)
    model = load_lpips(path)
    data = RNG.random((64, 70, 3))
    mask = np.ones(data.shape, dtype=bool)
    mask[:, :, 2] = False
    assert slice_distance(model, data, data, mask) == 0
    noisy = data + RNG.normal(0, 0.1, data.shape)
    far = data + RNG.normal(0, 0.4, data.shape)
    assert 0 < slice_distance(model, noisy, data, mask) < slice_distance(model, far, data, mask)
    far[:, :, :2] = data[:, :, :2]  # differs where there is no brain
    assert slice_distance(model, far, data, mask) == 0


@pytest.mark.parametrize("content", [b"", b"no weights", None])
def test_other_files_are_refused(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "other.pth"
    if content is None:
        torch.save({"net.slice1.0.weight": torch.zeros(64, 3, 11, 11)}, path)
    else:
        path.write_bytes(content)
    with pytest.raises(BadData, match="no weights of LPIPS"):
        load_lpips(path)
