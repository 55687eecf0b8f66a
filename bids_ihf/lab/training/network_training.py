"""Training of the network: the losses of the paper, and a supervised one for simulated pairs."""

from __future__ import annotations

import json
import logging
import math
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import torch
from attrs import frozen
from safetensors import safe_open
from safetensors.torch import save

from bids_ihf.errors import UsageError
from bids_ihf.io.atomic import write_atomic
from bids_ihf.io.paths import packaged_file
from bids_ihf.io.tensors import read_safetensors
from bids_ihf.lab.training.losses import (
    anatomy_loss,
    artefact_loss,
    split_embedding,
    supervised_loss,
)
from bids_ihf.lab.training.training_config import SHIPPED_WEIGHTS
from bids_ihf.network.checkpoint import NETWORK_FORMAT
from bids_ihf.network.encoder import join_statistics
from bids_ihf.network.flow import Architecture, IHFNetwork

if TYPE_CHECKING:
    from torch import Tensor, nn

    from bids_ihf.lab.training.batch_sampling import Batch, Sampler
    from bids_ihf.lab.training.training_config import NetworkConfig, TrainConfig
    from bids_ihf.network.encoder import Encoder

LOGGER = logging.getLogger(__name__)

LOG_EVERY_STEPS = 25

ARTEFACT_TAPS = 3
"""Feature maps of the artefact loss, relu1_1 to relu3_1; the last one is that of the anatomy
loss."""

WARM_UP_STEPS = 100
"""Steps in which the learning rate rises to its maximum."""

FINAL_RATE_FACTOR = 0.01
"""Learning rate of the last step, relative to the maximum."""

MAX_GRADIENT_NORM = 1.0


def architecture(config: NetworkConfig, encoder: Encoder) -> Architecture:
    """Architecture of the network in a configuration."""
    return Architecture(
        embedding=encoder.size,
        splits=config.splits,
        hidden=config.hidden,
        style=config.style,
        form=config.form,
    )


@frozen(eq=False)
class StepLosses:
    """Weighted sum of one step's losses, and each of them, unweighted."""

    total: Tensor
    terms: dict[str, float]


def batch_losses(
    network: IHFNetwork, encoder: Encoder, batch: Batch, config: NetworkConfig
) -> StepLosses:
    """Harmonize a batch and compute its losses, except those of weight 0."""
    with torch.no_grad():
        source_features = encoder(batch.source)
        source = join_statistics(source_features, batch.mask)
    output = network(batch.source, batch.mask, batch.target, source)
    terms: dict[str, tuple[float, Tensor]] = {}
    if config.supervised and batch.truth is not None:
        terms["supervised"] = config.supervised, supervised_loss(output, batch.truth, batch.mask)
    if config.anatomy or config.artefact:
        features = encoder(output, taps=ARTEFACT_TAPS)
        if config.anatomy:
            same_layer = source_features[ARTEFACT_TAPS - 1]
            terms["anatomy"] = config.anatomy, anatomy_loss(same_layer, features[-1])
        if config.artefact:
            target = split_embedding(batch.target, encoder.channels)[:ARTEFACT_TAPS]
            terms["artefact"] = config.artefact, artefact_loss(features, target, batch.mask)
    total = sum((weight * value for weight, value in terms.values()), output.new_zeros(()))
    return StepLosses(total, {name: float(value.detach()) for name, (_, value) in terms.items()})


def train_network(
    sampler: Sampler, encoder: Encoder, config: TrainConfig, device: torch.device
) -> IHFNetwork:
    """Train for the configured steps, resuming from the state in the output folder, if any.

    Deterministic on the CPU with the same number of threads, interrupted or not: the batch of a
    step depends on seed and step alone.
    """
    torch.manual_seed(config.seed)
    settings = config.network
    # Convolutions of this width are a quarter faster with channels last.
    network = IHFNetwork(architecture(settings, encoder)).to(device)
    for module in (network, encoder):
        module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if settings.start:
        _load_start(network, settings.start)
    optimizer = torch.optim.Adam(network.parameters(), lr=settings.learning_rate)
    state = config.output / "state.safetensors"
    first = load_state(state, network, optimizer) if state.exists() else 0
    for step in range(first, settings.steps):
        with torch.autocast(device.type, torch.bfloat16, enabled=config.bfloat16):
            losses = batch_losses(network, encoder, _on_device(sampler(step), device), settings)
        for group in optimizer.param_groups:
            group["lr"] = settings.learning_rate * learning_rate_factor(step, settings.steps)
        optimizer.zero_grad()
        losses.total.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), MAX_GRADIENT_NORM)
        optimizer.step()
        if step % LOG_EVERY_STEPS == 0 or step == settings.steps - 1:
            terms = " ".join(f"{name} {value:.5f}" for name, value in losses.terms.items())
            LOGGER.info("network %d/%d: %s", step + 1, settings.steps, terms)
        if (step + 1) % settings.save_every == 0:
            save_state(state, network, optimizer, step + 1)
    return network.eval()


def learning_rate_factor(step: int, steps: int) -> float:
    """Learning rate of a step, relative to the maximum: a short rise, then half a cosine.

    >>> [round(learning_rate_factor(step, 1100), 3) for step in (0, 100, 600, 1100)]
    [0.01, 1.0, 0.505, 0.01]
    """
    if step < WARM_UP_STEPS:
        return (step + 1) / WARM_UP_STEPS
    progress = min(1.0, (step - WARM_UP_STEPS) / max(1, steps - WARM_UP_STEPS))
    cosine = 0.5 * (1 + math.cos(math.pi * progress))
    return FINAL_RATE_FACTOR + (1 - FINAL_RATE_FACTOR) * cosine


def _on_device(batch: Batch, device: torch.device) -> Batch:
    return attrs.evolve(
        batch,
        source=batch.source.to(device, memory_format=torch.channels_last),
        truth=None if batch.truth is None else batch.truth.to(device),
        mask=batch.mask.to(device),
        target=batch.target.to(device),
    )


def _load_start(network: IHFNetwork, start: str) -> None:
    shipped = start == SHIPPED_WEIGHTS
    path = packaged_file("network.safetensors") if shipped else Path(start)
    tensors, _ = read_safetensors(path, NETWORK_FORMAT)
    try:
        network.load_state_dict(tensors)
    except RuntimeError as error:
        raise UsageError(
            f"{path}: is of another architecture; set [network] and [encoder] as in its training."
        ) from error


def save_state(path: Path, network: nn.Module, optimizer: torch.optim.Adam, step: int) -> None:
    """Write weights and optimizer moments as safetensors, atomically."""
    tensors = {f"network.{key}": value.contiguous() for key, value in network.state_dict().items()}
    for number, values in optimizer.state_dict()["state"].items():
        for key, value in values.items():
            tensors[f"adam.{number}.{key}"] = torch.as_tensor(value).contiguous()
    write_atomic(path, save(tensors, {"step": json.dumps(step)}))


def load_state(path: Path, network: nn.Module, optimizer: torch.optim.Adam) -> int:
    """Restore network and optimizer; returns the number of finished steps."""
    moments: dict[int, dict[str, Tensor]] = {}
    weights = {}
    with safe_open(path, framework="pt") as file:
        step = int(json.loads(file.metadata()["step"]))
        for key in file.keys():
            owner, name = key.split(".", 1)
            if owner == "network":
                weights[name] = file.get_tensor(key)
            else:
                number, name = name.split(".")
                moments.setdefault(int(number), {})[name] = file.get_tensor(key)
    network.load_state_dict(weights)
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": moments, "param_groups": groups})
    return step
