"""Train the encoder to name tissue and to recover the scanner, so that its statistics describe
both."""

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
"""Largest logarithm of the random power that bends contrast."""

CROP_SHAPE = (112, 128)
"""In-plane size of what is shown of a slice: quicker than all of it, and never twice the same."""

OUTSIDE_BRAIN_WEIGHT = 0.05
"""Weight of what lies outside the brain in naming tissue."""


class EncoderWithReadouts(nn.Module):
    """The encoder with its tissue read-out, and one of Eq. (1) that describes the scanner."""

    def __init__(self, encoder: Encoder, appearance: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.scanner = nn.Sequential(
            nn.LayerNorm(encoder.size), nn.Linear(encoder.size, appearance)
        )

    def forward(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Slices and mask to tissue scores and the standardized scanner description."""
        maps = self.encoder(x)
        return self.encoder.tissue_logits(maps), self.scanner(join_statistics(maps, mask))


@frozen(eq=False)
class EncoderBatch:
    """Slices (B, 3, X, Y), masks (B, 1, X, Y), tissue shares (B, 4, X, Y), scanners (B, A).

    ``genuine`` (B,) is 0 where the contrast was bent, so that it is no scanner's any more.
    """

    x: Tensor
    mask: Tensor
    tissue: Tensor
    scanner: Tensor
    genuine: Tensor


def _bend(x: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """Another contrast: a random power of the signal, so that level alone names no tissue."""
    return (
        2 * np.clip((x + 1) / 2, 0, 1.25) ** np.exp(rng.uniform(-MAX_LOG_GAMMA, MAX_LOG_GAMMA)) - 1
    )


def _window(shape: tuple[int, ...], rng: np.random.Generator) -> tuple[slice, slice]:
    """A random part of a slice, of at most the size of CROP."""
    low = [
        int(rng.integers(max(n - size, 0) + 1)) for n, size in zip(shape, CROP_SHAPE, strict=True)
    ]
    return slice(low[0], low[0] + CROP_SHAPE[0]), slice(low[1], low[1] + CROP_SHAPE[1])


def draw_batch(pool: ScanPool, step: int, config: TrainConfig) -> EncoderBatch:
    """The batch of a step; depends on seed and step alone."""
    rng = np.random.default_rng([config.seed, 1, step])
    rows = []
    for number in rng.integers(len(pool.scans), size=config.encoder.batch):
        scan = pool.scans[number]
        mask = pool.mask(scan)
        index = int(rng.choice(usable_slices(mask)))
        # A gain of a few percent, since scales come from percentiles that vary.
        x = (slice_with_neighbours(pool.data(scan), index) + 1) * rng.uniform(0.85, 1.15) - 1
        genuine = rng.random() < 0.5
        tissue = pool.tissue(scan.person)[:, index].astype(np.float32) / 255
        rest = np.clip(1 - tissue.sum(axis=0, keepdims=True), 0, 1)
        shown = [
            x if genuine else _bend(x, rng),
            mask[index, None] / 255,
            np.concatenate([tissue, rest]),
        ]
        part, flip = _window(mask.shape[1:], rng), rng.choice((1, -1))  # left and right
        shown = [array[(slice(None), *part)][:, ::flip] for array in shown]
        rows.append((*shown, scan.appearance, float(genuine)))
    return EncoderBatch(
        *(torch.from_numpy(np.stack(part).astype(np.float32)) for part in zip(*rows, strict=True))
    )


def train_encoder(pool: ScanPool, config: TrainConfig, device: torch.device) -> Encoder:
    """An encoder trained from scratch on a simulated pool; deterministic on the CPU."""
    torch.manual_seed(config.seed)
    settings = config.encoder
    table = torch.tensor([scan.appearance for scan in pool.scans])
    standard = table.mean(dim=0).to(device), table.std(dim=0).clamp_min(1e-3).to(device)
    model = EncoderWithReadouts(_fresh(settings.width), table.shape[1]).to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=settings.learning_rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, settings.learning_rate, total_steps=max(settings.steps, 2)
    )
    for step in range(settings.steps):
        with torch.autocast(device.type, torch.bfloat16, enabled=config.bfloat16):
            named, scanned = _losses(model, draw_batch(pool, step, config), standard, device)
        optimizer.zero_grad()
        (named + scanned).backward()
        optimizer.step()
        schedule.step()
        if step % LOG_EVERY_STEPS == 0 or step == settings.steps - 1:
            values = float(named.detach()), float(scanned.detach())
            LOGGER.info(
                "encoder %d/%d: tissue %.4f scanner %.4f", step + 1, settings.steps, *values
            )
    return model.encoder.requires_grad_(requires_grad=False).eval()


def _fresh(width: int) -> Encoder:
    encoder = Encoder(width)
    for layer in encoder.features:
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    return encoder


def _losses(
    model: EncoderWithReadouts,
    batch: EncoderBatch,
    standard: tuple[Tensor, Tensor],
    device: torch.device,
) -> tuple[Tensor, Tensor]:
    """How badly tissue is named and the scanner described."""
    mask = batch.mask.to(device)
    logits, guess = model(batch.x.to(device), mask)
    mean, deviation = standard
    error = (guess - (batch.scanner.to(device) - mean) / deviation).square().mean(dim=1)
    genuine = batch.genuine.to(device)
    scanned = (error * genuine).sum() / genuine.sum().clamp_min(1)
    return _tissue_loss(logits, batch.tissue.to(device), mask), scanned


def _tissue_loss(logits: Tensor, tissue: Tensor, mask: Tensor) -> Tensor:
    """Cross-entropy to the tissue shares of each coarse pixel, mostly inside the brain."""
    truth = fit_mask(tissue, logits)
    weight = fit_mask(mask, logits).clamp_min(OUTSIDE_BRAIN_WEIGHT)
    entropy = -(truth * F.log_softmax(logits, dim=1)).sum(dim=1, keepdim=True)
    return (entropy * weight).sum() / weight.sum()
