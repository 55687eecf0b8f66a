"""Time and memory of a comparator and of the network: of a step of training, and of a volume.

On the CPU by one thread, on random images of the size of those of training; each cost is to be
measured in a process of its own, whose memory has no peak yet.
"""

from __future__ import annotations

import resource
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np
import torch

from bids_ihf.geometry.grid import Grid
from bids_ihf.lab.comparators.learned.interface import SiteBatch
from bids_ihf.lab.comparators.learned.scan import FRAME_SHAPE, TargetScan, translate_scan
from bids_ihf.lab.comparators.learned.weights import load_comparator
from bids_ihf.lab.training.batch_sampling import Batch
from bids_ihf.lab.training.comparator_training import ComparatorTrainer
from bids_ihf.lab.training.network_training import NetworkTrainer
from bids_ihf.lab.training.training_config import (
    ComparatorConfig,
    DataConfig,
    NetworkConfig,
    TrainConfig,
)
from bids_ihf.network.checkpoint import load_encoder, load_model
from bids_ihf.network.context import slice_context
from bids_ihf.network.encoder import modality_weights
from bids_ihf.targets.build import load_target
from bids_ihf.targets.intensity import IntensityScale
from bids_ihf.targets.network_input import NetworkInput, measure_profile
from bids_ihf.targets.network_pass import harmonize_slices

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from bids_ihf.lab.benchmarks.tables import Row
    from bids_ihf.lab.comparators.learned.weights import LoadedComparator
    from bids_ihf.network.checkpoint import ModelBundle

NETWORK_TARGET, NETWORK_MODALITY = "GE", "T1w"
"""Target and contrast of the volume that goes through the network."""

STEP_REPEATS = 3
"""Steps of which the fastest counts."""


def comparator_volume_cost(path: Path, slices: int) -> Row:
    """The cost of a volume by a comparator, and its kind."""
    loaded = _load(path)
    settings = loaded.model.settings
    (target_vendor, modality), (source_vendor, _) = (s.split(" ") for s in settings.sites[:2])
    on_grid = _random_scan(slices, modality)
    target = TargetScan(target_vendor, on_grid.scale, on_grid.data, on_grid.brain)
    cost = _volume_cost(
        lambda: translate_scan(loaded.model, on_grid, np.arange(slices), target, source_vendor)
    )
    steps = loaded.record["settings"]["comparator"]["steps"]
    return {
        "kind": settings.kind,
        "parameters": sum(value.numel() for value in loaded.model.parameters()),
        "training_cpu_s": round(steps * loaded.record["seconds_per_step"], 1),
        **cost,
    }


def network_volume_cost(path: Path | None, slices: int) -> Row:
    """The cost of a volume by encoder and network, without curve and field, and its name."""
    torch.set_num_threads(1)
    model = load_model(path)
    profile = load_target(NETWORK_TARGET, model).profile(NETWORK_MODALITY)
    on_grid = _random_scan(slices, NETWORK_MODALITY)

    def harmonize() -> None:
        measured = measure_profile(on_grid, model.encoder)
        harmonize_slices(on_grid, on_grid.data, (profile, measured), model)

    parameters = sum(value.numel() for value in model.network.parameters())
    return {"kind": model.name, "parameters": parameters, **_volume_cost(harmonize)}


def comparator_step_cost(path: Path) -> Row:
    """The cost of a step with the settings that a comparator was trained with."""
    loaded = _load(path)
    options = ComparatorConfig(**loaded.record["settings"]["comparator"])
    with tempfile.TemporaryDirectory() as folder:
        trainer = ComparatorTrainer(
            loaded.model.settings, load_encoder()[0],
            _training_config(folder, loaded.record, comparator=options),
            options, torch.device("cpu"), write=lambda *_: None,
        )  # fmt: skip
        return _step_cost(trainer.step, _random_sites(loaded, options.batch))


def network_step_cost(path: Path | None) -> Row:
    """The cost of a step with the settings that the network was trained with last."""
    torch.set_num_threads(1)
    model = load_model(path)
    options = NetworkConfig(**model.record["settings"]["network"] | {"start": ""})
    with tempfile.TemporaryDirectory() as folder:
        trainer = NetworkTrainer(
            model.encoder, _training_config(folder, model.record, network=options),
            torch.device("cpu"), write=lambda *_: None,
        )  # fmt: skip
        return _step_cost(trainer.step, _random_batch(model, options.batch))


def _load(path: Path) -> LoadedComparator:
    torch.set_num_threads(1)
    encoder, digest = load_encoder()
    return load_comparator(path, encoder, digest)


def _training_config(folder: str, record: Mapping[str, Any], **sections: Any) -> TrainConfig:
    settings = record["settings"]
    return TrainConfig(
        settings["name"], Path(folder), DataConfig(settings["data"]["source"]),
        seed=settings["seed"], bfloat16=settings["bfloat16"], **sections,
    )  # fmt: skip


def _random_scan(slices: int, modality: str) -> NetworkInput:
    """A scan that is brain all over."""
    shape = (*FRAME_SHAPE, slices)
    data = np.random.default_rng(0).random(shape, dtype=np.float32)
    affine = np.eye(4)
    affine[2, 3] = -slices / 2
    scale = IntensityScale(0.0, 1.0)
    return NetworkInput(
        data, np.ones(shape, np.float32), Grid(shape, affine), scale, None, modality
    )


def _random_sites(loaded: LoadedComparator, count: int) -> SiteBatch:
    """A batch of whole slices from the second site to the first."""
    generator = torch.Generator().manual_seed(0)
    channels = {"source": 3, "reference": 3, "companion": 3, "truth": 1}
    images = {
        name: 2 * torch.rand((count, n, *FRAME_SHAPE), generator=generator) - 1
        for name, n in channels.items()
    }
    mask = torch.ones((count, 1, *FRAME_SHAPE))
    return SiteBatch(
        **images, mask=mask, reference_mask=mask,
        source_site=torch.ones(count, dtype=torch.int64),
        target_site=torch.zeros(count, dtype=torch.int64),
        modality=modality_weights(loaded.model.settings.modalities[0], count),
    )  # fmt: skip


def _random_batch(model: ModelBundle, count: int) -> Batch:
    generator = torch.Generator().manual_seed(0)
    source = 2 * torch.rand((count, 3, *FRAME_SHAPE), generator=generator) - 1
    return Batch(
        source=source,
        truth=source[:, 1:2].flip(2),
        mask=torch.ones((count, 1, *FRAME_SHAPE)),
        target=torch.rand((count, model.encoder.size), generator=generator),
        modality=modality_weights(NETWORK_MODALITY, count),
        context=torch.from_numpy(slice_context(NETWORK_MODALITY, np.zeros(count))),
    )


def _volume_cost(harmonize: Callable[[], object]) -> Row:
    memory, start = _peak_mb(), time.process_time()
    harmonize()
    seconds = time.process_time() - start
    return {"volume_cpu_s": round(seconds, 2), "volume_memory_mb": round(_peak_mb() - memory)}


def _step_cost(step: Callable[[Any, int], object], batch: SiteBatch | Batch) -> Row:
    memory, seconds = _peak_mb(), []
    for number in range(STEP_REPEATS):
        start = time.process_time()
        step(attrs.evolve(batch), number)
        seconds.append(time.process_time() - start)
    return {"step_cpu_s": round(min(seconds), 3), "step_memory_mb": round(_peak_mb() - memory)}


def _peak_mb() -> float:
    """Largest resident memory of this process so far, MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
