"""Training of the network: the losses of the paper, and a supervised one for simulated pairs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import torch
from attrs import frozen

from bids_ihf.errors import UsageError
from bids_ihf.io.paths import packaged_file
from bids_ihf.io.tensors import read_safetensors
from bids_ihf.lab.training.batch_sampling import Batch
from bids_ihf.lab.training.losses import (
    anatomy_loss,
    artefact_loss,
    split_embedding,
    supervised_loss,
)
from bids_ihf.lab.training.resumable_training import ResumableTrainer
from bids_ihf.lab.training.training_config import SHIPPED_WEIGHTS
from bids_ihf.lab.training.training_state import update_average
from bids_ihf.network.checkpoint import NETWORK_FORMAT
from bids_ihf.network.encoder import join_statistics
from bids_ihf.network.flow import Architecture, IHFNetwork

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from bids_ihf.lab.training.chunks import ChunkSampler
    from bids_ihf.lab.training.training_config import NetworkConfig, TrainConfig
    from bids_ihf.lab.training.validation import Validation
    from bids_ihf.network.encoder import Encoder

ARTEFACT_TAPS = 3
"""Feature maps of the artefact loss, relu1_1 to relu3_1; the last one is that of the anatomy
loss."""

ADDED_HEADS = frozenset({"context", "local"})
"""Parts of the normalization that networks of version 0.1.0 lack."""


def architecture(config: NetworkConfig, encoder: Encoder) -> Architecture:
    """Architecture of the network in a configuration."""
    return Architecture(
        embedding=encoder.size,
        splits=config.splits,
        hidden=config.hidden,
        style=config.style,
        form=config.form,
        local=config.local,
        told_context=config.told_context,
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
        source_features = encoder(batch.source, modality=batch.modality)
        source = join_statistics(source_features, batch.mask)
    output = network(batch.source, batch.mask, batch.target, source, batch.context)
    terms: dict[str, tuple[float, Tensor]] = {}
    if config.supervised and batch.truth is not None:
        terms["supervised"] = config.supervised, supervised_loss(output, batch.truth, batch.mask)
    if config.anatomy or config.artefact:
        features = encoder(output, taps=ARTEFACT_TAPS, modality=batch.modality)
        if config.anatomy:
            same_layer = source_features[ARTEFACT_TAPS - 1]
            terms["anatomy"] = config.anatomy, anatomy_loss(same_layer, features[-1])
        if config.artefact:
            target = split_embedding(batch.target, encoder.channels)[:ARTEFACT_TAPS]
            terms["artefact"] = config.artefact, artefact_loss(features, target, batch.mask)
    total = sum((weight * value for weight, value in terms.values()), output.new_zeros(()))
    return StepLosses(total, {name: float(value.detach()) for name, (_, value) in terms.items()})


class NetworkTrainer(ResumableTrainer[IHFNetwork, Batch]):
    """Trains the network.

    Deterministic on the CPU with the same number of threads, interrupted or not: the batch of a
    step depends on seed and step alone.

    Parameters
    ----------
    write
        Writes the weights of a network to the output folder; called with the running average at
        every validation that is the best so far, and at the end if there is no validation.
    """

    kind, baseline = "network", "the intensity curve's"

    def __init__(
        self,
        encoder: Encoder,
        config: TrainConfig,
        device: torch.device,
        write: Callable[[IHFNetwork], None],
        validation: Validation | None = None,
    ) -> None:
        torch.manual_seed(config.seed)
        self.settings, self.write, self.validation = config.network, write, validation
        self.encoder = encoder.to(device)
        network = IHFNetwork(_architecture(self.settings, encoder)).to(device)
        # Convolutions of this width are a quarter faster with channels last.
        for module in (network, self.encoder):
            module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        if self.settings.start:
            _load_start(network, self.settings.start)
        optimizer = torch.optim.Adam(network.parameters(), lr=self.settings.learning_rate)
        super().__init__(network, optimizer, config, self.settings, device)

    def train(self, sampler: ChunkSampler[Batch], *, minutes: float | None = None) -> None:
        """Train to the last step, or for some minutes."""
        steps = self.settings.steps
        if self.progress.step == 0 and steps:
            self.validate(0)
        super().train(sampler, minutes=minutes)
        if self.validation is None or not steps:
            self.write_average()

    def step(self, batch: Batch, step: int) -> dict[str, float]:
        """Change the network."""
        batch = _on_device(batch, self.device)
        with self._autocast():
            losses = batch_losses(self.model, self.encoder, batch, self.settings)
        self.descend(losses.total)
        update_average(self.average, self.model, self.settings.average, step)
        return losses.terms

    def validation_error(self, step: int) -> float | None:
        """Error of the running average on what was kept out."""
        if self.validation is None:
            return None
        with self._autocast():
            return self.validation(self.average, self.encoder, step)

    def write_average(self) -> None:
        """Write the running average."""
        self.write(self.average)

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.bfloat16)


def _on_device(batch: Batch, device: torch.device) -> Batch:
    return attrs.evolve(
        batch,
        source=batch.source.to(device, memory_format=torch.channels_last),
        truth=None if batch.truth is None else batch.truth.to(device),
        mask=batch.mask.to(device),
        target=batch.target.to(device),
        modality=batch.modality.to(device),
        context=batch.context.to(device),
    )


def _architecture(settings: NetworkConfig, encoder: Encoder) -> Architecture:
    """Architecture of a configuration, with the heads that the network it starts from has."""
    configured = architecture(settings, encoder)
    if not settings.start:
        return configured
    _, header = read_safetensors(_start_file(settings.start), NETWORK_FORMAT)
    started = header["architecture"]
    return attrs.evolve(
        configured,
        local=configured.local or tuple(started.get("local", ())),
        told_context=configured.told_context or bool(started.get("told_context")),
    )


def _start_file(start: str) -> Path:
    return packaged_file("network.safetensors") if start == SHIPPED_WEIGHTS else Path(start)


def _load_start(network: IHFNetwork, start: str) -> None:
    path = _start_file(start)
    tensors, _ = read_safetensors(path, NETWORK_FORMAT)
    # Heads that an earlier network lacks change nothing before they are trained.
    added = {
        key: value
        for key, value in network.state_dict().items()
        if ADDED_HEADS.intersection(key.split("."))
    }
    try:
        network.load_state_dict({**added, **tensors})
    except RuntimeError as error:
        raise UsageError(
            f"{path}: is of another architecture; set [network] and [encoder] as in its training."
        ) from error
