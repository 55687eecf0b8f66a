"""A device that runs out of memory: smaller batches, then the processor."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from bids_ihf.anat.harmonize import apply_network
from bids_ihf.errors import TemporaryFailure
from bids_ihf.network.checkpoint import load_model_cached
from bids_ihf.network.context import Window
from bids_ihf.pipeline import harmonization as harmonization_module
from bids_ihf.pipeline.harmonization import Harmonization
from bids_ihf.pipeline.process import single_threaded
from bids_ihf.targets import network_pass

SLICES = np.arange(1, 14)


@pytest.fixture
def as_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many slices at once as a GPU gets, on the processor."""
    monkeypatch.setattr(network_pass, "CPU_BATCH_SLICES", network_pass.BATCH_SLICES)


class Full:
    """A network on a device that holds no more than ``room`` slices."""

    def __init__(self, room: int) -> None:
        self.room, self.multiple = room, 4
        self.batches: list[int] = []

    def __call__(
        self, x: Tensor, mask: Tensor, target: Tensor, source: Tensor, context: Tensor,
        window: Window,
    ) -> Tensor:  # fmt: skip
        self.batches.append(len(x))
        assert window.size == (8, 8)
        if len(x) > self.room:
            raise torch.cuda.OutOfMemoryError
        assert len(mask) == len(target) == len(source) == len(context) == len(x)
        return 2 * x


def through(
    network: Full, slices: np.ndarray = SLICES, batch_size: int = 8
) -> tuple[np.ndarray, np.ndarray]:
    """Slices before and after."""
    data = np.random.default_rng(0).random((5, 6, 15), dtype=np.float32)

    def embeddings_at(z: np.ndarray) -> np.ndarray:
        return np.zeros((len(z), 4), dtype=np.float32)

    profile: Any = SimpleNamespace(embeddings_at=embeddings_at, positions=np.arange(3))
    network_input = SimpleNamespace(mask=np.ones_like(data), z=np.arange(15.0), modality="T1w")
    matched: Any = SimpleNamespace(
        data=data,
        matched=profile,
        scanner_weight=1.0,
        network_input=network_input,
        target=profile,
    )
    model: Any = SimpleNamespace(network=network, device=torch.device("cpu"))
    after = apply_network(matched, model, batch_size, slices)
    return data[:, :, slices], after[:, :, slices]


@pytest.mark.usefixtures("as_on_a_gpu")
@pytest.mark.parametrize("batch_size", [8, 32])
def test_batches_are_halved_until_they_fit(batch_size: int) -> None:
    network = Full(room=3)
    before, after = through(network, batch_size=batch_size)
    assert network.batches == [8, 4, 2, 2, 2, 2, 2, 2, 1]
    assert np.array_equal(after, 2 * before)


@pytest.mark.usefixtures("as_on_a_gpu")
def test_enough_memory_is_used() -> None:
    network = Full(room=8)
    before, after = through(network)
    assert network.batches == [8, 5]
    assert np.array_equal(after, 2 * before)


def test_a_processor_gets_four_slices_at_once() -> None:
    network = Full(room=8)
    before, after = through(network)
    assert network.batches == [4, 4, 4, 1]
    assert np.array_equal(after, 2 * before)


def test_no_slices_are_no_batches() -> None:
    network = Full(room=8)
    _, after = through(network, SLICES[:0])
    assert network.batches == []
    assert after.shape == (5, 6, 0)


@pytest.mark.parametrize("threads", [2, 4])
def test_batches_at_a_time_do_not_change_a_bit(threads: int) -> None:
    """The sums of the shipped network differ in the last bits if torch splits them."""
    model = load_model_cached("cpu")
    data = np.random.default_rng(0).random((60, 64, 24), dtype=np.float32)
    embeddings = np.random.default_rng(1).random((24, model.encoder.size), dtype=np.float32)
    profile: Any = SimpleNamespace(embeddings_at=lambda _: embeddings, positions=np.arange(3))
    matched: Any = SimpleNamespace(
        data=data, matched=profile, target=profile, scanner_weight=1.0,
        network_input=SimpleNamespace(
            mask=np.ones_like(data), z=np.arange(24.0), brain_slices=np.arange(24),
            modality="T1w",
        ),
    )  # fmt: skip
    with single_threaded():
        first, second = (apply_network(matched, model, 5, threads=n) for n in (1, threads))
    assert not np.array_equal(first, data)
    assert np.array_equal(first, second)


@pytest.mark.usefixtures("as_on_a_gpu")
def test_not_even_one_slice() -> None:
    network = Full(room=0)
    with pytest.raises(TemporaryFailure, match="out of memory"):
        through(network)
    assert network.batches == [8, 4, 2, 1]


@pytest.mark.parametrize(("device", "gpu"), [("auto", True), ("cuda", True), ("auto", False)])
def test_processor_takes_over_if_the_device_was_not_named(
    monkeypatch: pytest.MonkeyPatch, device: str, gpu: bool
) -> None:
    def full(_prepared: object, _target: object, model: SimpleNamespace, **_: object) -> str:
        if model.device != "cpu" or not gpu:
            raise TemporaryFailure("full")
        return "done"

    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    monkeypatch.setattr(harmonization_module, "harmonize", full)
    monkeypatch.setattr(harmonization_module, "modality_by_contrast", lambda modality, _: modality)
    target: Any = SimpleNamespace(profile=lambda _modality: None)

    def load_model(on: str) -> Any:
        return SimpleNamespace(device=on, encoder_hash="none")

    harmonization = Harmonization(target, None, load_model, device)
    prepared: Any = SimpleNamespace(volume=SimpleNamespace(path=Path("sub-01_T1w.nii.gz")))
    if device == "auto" and gpu:
        assert harmonization.harmonize_anat(prepared, "T1w", "GE") == ("done", "cpu")
    else:
        with pytest.raises(TemporaryFailure):
            harmonization.harmonize_anat(prepared, "T1w", "GE")
