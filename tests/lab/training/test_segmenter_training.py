"""``ihf train`` of the network that finds brains, resumed or not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch

from bids_ihf.errors import UsageError
from bids_ihf.lab.training import segmenter_training
from bids_ihf.lab.training.segmenter_training import segmentation_loss
from bids_ihf.lab.training.training_run import train
from bids_ihf.network.checkpoint import load_segmenter

if TYPE_CHECKING:
    from pathlib import Path

CONFIG = """
name = "tiny brain"
output = "{output}"
seed = 3
threads = 1

[data]
source = "labels"

[brain]
widths = [8, 8]
box = 16
steps = 4
save_every = 2
"""


def configured(folder: Path, output: str) -> Path:
    path = folder / f"{output}.toml"
    path.write_text(CONFIG.format(output=output))
    return path


def test_an_interrupted_run_ends_as_an_undisturbed_one(
    labels: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = train(configured(labels.parent, "brain"), device="cpu")
    calls = 0

    def stops_at_the_fourth(*arguments: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        nonlocal calls
        calls += 1
        if calls == 4:
            raise KeyboardInterrupt
        return segmentation_loss(*arguments)

    monkeypatch.setattr(segmenter_training, "segmentation_loss", stops_at_the_fourth)
    again = configured(labels.parent, "brain-again")
    with pytest.raises(KeyboardInterrupt):
        train(again, device="cpu")
    monkeypatch.undo()
    train(again, device="cpu")
    first, second = (
        load_segmenter(path / "brain.safetensors").state_dict()
        for path in (folder, labels.parent / "brain-again")
    )
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_a_box_that_cannot_be_halved_is_refused(labels: Path) -> None:
    path = configured(labels.parent, "odd")
    path.write_text(path.read_text().replace("box = 16", "box = 18"))
    with pytest.raises(UsageError, match="must be a multiple of 4"):
        train(path, device="cpu")


def test_the_loss_falls_towards_the_truth() -> None:
    truth = torch.zeros(1, 4, 4, 4, 4)
    truth[:, 1, :2], truth[:, 0, 2:] = 1, 1
    losses = [float(segmentation_loss(truth * gain, truth)[0]) for gain in (0, 2, 10, 50)]
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < 0.01 < losses[0]
