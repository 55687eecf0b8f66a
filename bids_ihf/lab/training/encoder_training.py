"""Training of the encoder to segment tissue and to identify the scanner, so that its statistics
describe both."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from attrs import frozen
from torch import Tensor, nn

from bids_ihf.lab.training.batch_sampling import slice_with_neighbours, usable_slices
from bids_ihf.network.encoder import Encoder, join_statistics
from bids_ihf.network.statistics import fit_mask

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bids_ihf.lab.training.scan_pool import ScanPool
    from bids_ihf.lab.training.training_config import TrainConfig

LOGGER = logging.getLogger(__name__)

LOG_EVERY_STEPS = 50

MAX_LOG_GAMMA = 0.5
"""Largest logarithm of the random power that changes the contrast."""

CROP_SHAPE = (112, 128)
"""In-plane size of the part of a slice that is used: faster than all of it, and varied."""

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

    def forward(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Tissue scores and standardized scanner description of slices with their masks."""
        maps = self.encoder(x)
        return self.encoder.tissue_logits(maps), self.scanner(join_statistics(maps, mask))


@frozen(eq=False)
class EncoderBatch:
    """One training step of the encoder.

    x: slices (B, 3, X, Y); mask: brain masks (B, 1, X, Y).
    tissue: fractions (B, 4, X, Y) of grey matter, white matter, CSF and the rest.
    scanner: descriptions (B, A) by `simulated_pool.scanner_appearance`.
    genuine: (B,) 0 where the contrast was changed, so that it is no scanner's any more.
    """

    x: Tensor
    mask: Tensor
    tissue: Tensor
    scanner: Tensor
    genuine: Tensor


def _changed_contrast(x: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """A random power of the signal, so that intensity alone does not identify tissue."""
    gamma = np.exp(rng.uniform(-MAX_LOG_GAMMA, MAX_LOG_GAMMA))
    return 2 * np.clip((x + 1) / 2, 0, 1.25) ** gamma - 1


def _random_crop(shape: tuple[int, ...], rng: np.random.Generator) -> tuple[slice, slice]:
    """A random part of a slice, at most of the size of `CROP_SHAPE`."""
    x, y = (
        slice(first, first + size)
        for first, size in (
            (int(rng.integers(max(n - size, 0) + 1)), size)
            for n, size in zip(shape, CROP_SHAPE, strict=True)
        )
    )
    return x, y


def draw_batch(pool: ScanPool, step: int, config: TrainConfig) -> EncoderBatch:
    """The batch of a step; it depends on seed and step alone."""
    rng = np.random.default_rng([config.seed, 1, step])
    rows = []
    for number in rng.integers(len(pool.scans), size=config.encoder.batch):
        scan = pool.scans[number]
        mask = pool.mask(scan)
        index = int(rng.choice(usable_slices(mask)))
        # A gain of a few per cent, since the scale comes from percentiles that vary.
        x = (slice_with_neighbours(pool.data(scan), index) + 1) * rng.uniform(0.85, 1.15) - 1
        genuine = rng.random() < 0.5
        tissue = pool.tissue(scan.subject)[:, index].astype(np.float32) / 255
        rest = np.clip(1 - tissue.sum(axis=0, keepdims=True), 0, 1)
        arrays = [
            x if genuine else _changed_contrast(x, rng),
            mask[index, None] / 255,
            np.concatenate([tissue, rest]),
        ]
        crop, mirror = _random_crop(mask.shape[1:], rng), rng.choice((1, -1))
        arrays = [array[(slice(None), *crop)][:, ::mirror] for array in arrays]
        rows.append((*arrays, scan.appearance, float(genuine)))
    return EncoderBatch(
        *(
            torch.from_numpy(np.stack(column).astype(np.float32))
            for column in zip(*rows, strict=True)
        )
    )


def train_encoder(pool: ScanPool, config: TrainConfig, device: torch.device) -> Encoder:
    """An encoder trained from scratch on a simulated pool; deterministic on the CPU."""
    torch.manual_seed(config.seed)
    settings = config.encoder
    appearances = torch.tensor([scan.appearance for scan in pool.scans])
    mean, deviation = appearances.mean(dim=0), appearances.std(dim=0).clamp_min(1e-3)
    standardization = mean.to(device), deviation.to(device)
    encoder = initialized_encoder(settings.width)
    model = EncoderWithReadouts(encoder, appearances.shape[1]).to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=settings.learning_rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, settings.learning_rate, total_steps=max(settings.steps, 2)
    )
    for step in range(settings.steps):
        with torch.autocast(device.type, torch.bfloat16, enabled=config.bfloat16):
            tissue_loss, scanner_loss = _losses(
                model, draw_batch(pool, step, config), standardization, device
            )
        optimizer.zero_grad()
        (tissue_loss + scanner_loss).backward()
        optimizer.step()
        schedule.step()
        if step % LOG_EVERY_STEPS == 0 or step == settings.steps - 1:
            LOGGER.info(
                "encoder %d/%d: tissue %.4f scanner %.4f",
                step + 1,
                settings.steps,
                float(tissue_loss.detach()),
                float(scanner_loss.detach()),
            )
    return model.encoder.requires_grad_(requires_grad=False).eval()


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
    logits, estimate = model(batch.x.to(device), mask)
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
