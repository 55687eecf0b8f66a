"""Training of the encoder to segment tissue and to identify the scanner, so that its statistics
describe both."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bids_ihf.errors import UsageError
from bids_ihf.lab.training.chunks import numbered_batches
from bids_ihf.lab.training.encoder_sampling import EncoderSampler, scanner_appearance
from bids_ihf.lab.training.scan_statistics import measure_blur
from bids_ihf.lab.training.slab_sampling import draw_scanner
from bids_ihf.lab.training.training_config import SHIPPED_WEIGHTS
from bids_ihf.lab.training.training_state import learning_rate_factor, load_state, save_state
from bids_ihf.network.checkpoint import load_encoder
from bids_ihf.network.encoder import Encoder, join_statistics
from bids_ihf.network.statistics import fit_mask

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bids_ihf.bids.names import Modality
    from bids_ihf.lab.training.encoder_sampling import EncoderBatch
    from bids_ihf.lab.training.template_subjects import TemplateSubject
    from bids_ihf.lab.training.training_config import TrainConfig

LOGGER = logging.getLogger(__name__)

LOG_EVERY_STEPS = 50

STANDARDIZATION_DRAWS = 150
"""Scanners of which the mean and the spread of the descriptions are taken."""

OUTSIDE_BRAIN_WEIGHT = 0.05
"""Weight of pixels outside the brain in the tissue loss."""


class EncoderWithReadouts(nn.Module):
    """The encoder with its tissue read-out, and a read-out of Eq. (1) that describes the scanner.

    ``appearance`` is the length of that description.
    """

    def __init__(self, encoder: Encoder, appearance: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.scanner = nn.Sequential(
            nn.LayerNorm(encoder.size), nn.Linear(encoder.size, appearance)
        )

    def forward(self, x: Tensor, mask: Tensor, modality: Tensor) -> tuple[Tensor, Tensor]:
        """Tissue scores and standardized scanner description of slices with their masks."""
        maps = self.encoder(x, modality=modality)
        return self.encoder.tissue_logits(maps), self.scanner(join_statistics(maps, mask))


def train_encoder(
    subjects: Sequence[TemplateSubject], config: TrainConfig, device: torch.device
) -> Encoder:
    """An encoder trained on simulated slabs, resuming from the state in the output folder, if any.

    Deterministic on the CPU with the same number of threads, interrupted or not.
    """
    torch.manual_seed(config.seed)
    settings = config.encoder
    sampler = EncoderSampler(
        subjects, modalities=config.data.anatomical, batch=settings.batch, seed=config.seed
    )
    mean, deviation = (
        statistic.to(device) for statistic in _standardization(config.data.anatomical, config.seed)
    )
    model = EncoderWithReadouts(_first_encoder(config), len(mean)).to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=settings.learning_rate)
    state = config.output / "encoder-state.safetensors"
    first = load_state(state, model, optimizer).step if state.exists() else 0
    for step, batch in numbered_batches(sampler, first, settings.steps, config.threads):
        with torch.autocast(device.type, torch.bfloat16, enabled=config.bfloat16):
            tissue_loss, scanner_loss = _losses(model, batch, (mean, deviation), device)
        for group in optimizer.param_groups:
            group["lr"] = settings.learning_rate * learning_rate_factor(step, settings.steps)
        optimizer.zero_grad()
        (tissue_loss + scanner_loss).backward()
        optimizer.step()
        if step % LOG_EVERY_STEPS == 0 or step == settings.steps - 1:
            LOGGER.info(
                "encoder %d/%d: tissue %.4f scanner %.4f",
                step + 1,
                settings.steps,
                float(tissue_loss.detach()),
                float(scanner_loss.detach()),
            )
        if (step + 1) % settings.save_every == 0:
            save_state(state, model, optimizer, step + 1)
    return model.encoder.requires_grad_(requires_grad=False).eval()


def _standardization(modalities: Sequence[Modality], seed: int) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation (A,) of the descriptions of random scanners."""
    rng = np.random.default_rng([seed, 2])
    rows = []
    for number in range(STANDARDIZATION_DRAWS):
        scanner = draw_scanner(modalities[number % len(modalities)], rng).scanner
        rows.append(scanner_appearance(scanner, measure_blur(scanner, (0.5, 0.5, 0.5))))
    appearances = torch.tensor(rows)
    return appearances.mean(dim=0), appearances.std(dim=0).clamp_min(1e-3)


def _first_encoder(config: TrainConfig) -> Encoder:
    """The encoder that training starts from."""
    settings = config.encoder
    if not settings.start:
        return initialized_encoder(settings.width)
    shipped = settings.start == SHIPPED_WEIGHTS
    encoder, _ = load_encoder(None if shipped else Path(settings.start))
    if encoder.width != settings.width:
        raise UsageError(
            f"{settings.start}: has a width of {encoder.width}; set width in [encoder] to it."
        )
    return encoder.requires_grad_(requires_grad=True).train()


def initialized_encoder(width: int) -> Encoder:
    """An encoder with random weights (He et al. 2015, ICCV) and zero biases."""
    encoder = Encoder(width)
    for layer in encoder.features:
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    return encoder


def _losses(
    model: EncoderWithReadouts,
    batch: EncoderBatch,
    standardization: tuple[Tensor, Tensor],
    device: torch.device,
) -> tuple[Tensor, Tensor]:
    """Losses of the tissue read-out and of the scanner description, genuine contrasts only."""
    mask = batch.mask.to(device)
    logits, estimate = model(batch.x.to(device), mask, batch.modality.to(device))
    mean, deviation = standardization
    error = (estimate - (batch.scanner.to(device) - mean) / deviation).square().mean(dim=1)
    genuine = batch.genuine.to(device)
    scanner_loss = (error * genuine).sum() / genuine.sum().clamp_min(1)
    return _tissue_loss(logits, batch.tissue.to(device), mask), scanner_loss


def _tissue_loss(logits: Tensor, tissue: Tensor, mask: Tensor) -> Tensor:
    """Cross-entropy to the tissue fractions of each coarse pixel, mostly inside the brain."""
    truth = fit_mask(tissue, logits)
    weight = fit_mask(mask, logits).clamp_min(OUTSIDE_BRAIN_WEIGHT)
    entropy = -(truth * F.log_softmax(logits, dim=1)).sum(dim=1, keepdim=True)
    return (entropy * weight).sum() / weight.sum()
