"""Train the encoder to name tissue and to recover the scanner, so that its statistics describe
both."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bids_ihf.model.encoder import Encoder, join_statistics
from bids_ihf.model.statistics import fit_mask
from bids_ihf.training.sampling import stack, usable_slices

if TYPE_CHECKING:
    from bids_ihf.training.config import TrainConfig
    from bids_ihf.training.pool import Pool

LOGGER = logging.getLogger(__name__)

LOG_EVERY = 50
TISSUES = 3


class Readouts(nn.Module):
    """Linear heads on the encoder: tissue shares from relu3_1 and relu4_1, scanner from Eq.
    (1)."""

    def __init__(self, encoder: Encoder, appearance: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.tissue = nn.ModuleList(nn.Conv2d(encoder.width * n, TISSUES + 1, 1) for n in (4, 8))
        self.scanner = nn.Sequential(
            nn.LayerNorm(encoder.size), nn.Linear(encoder.size, appearance)
        )

    def forward(self, x: Tensor, mask: Tensor) -> tuple[list[Tensor], Tensor]:
        """Slices and mask to tissue logits by layer and the standardized scanner description."""
        maps = self.encoder(x)
        logits = [head(features) for head, features in zip(self.tissue, maps[2:], strict=True)]
        return logits, self.scanner(join_statistics(maps, mask))


def _batch(pool: Pool, step: int, config: TrainConfig) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Slices, masks, tissue shares (B, 4, X, Y) and scanner descriptions (B, A)."""
    rng = np.random.default_rng([config.seed, 1, step])
    rows = []
    for number in rng.integers(len(pool.scans), size=config.encoder.batch):
        scan = pool.scans[number]
        mask = pool.mask(scan)
        index = int(rng.choice(usable_slices(mask)))
        # A gain of a few percent, since scales come from percentiles that vary.
        x = (stack(pool.data(scan), index) + 1) * rng.uniform(0.85, 1.15) - 1
        tissue = pool.tissue(scan.person)[:, index].astype(np.float32) / 255
        rest = np.clip(1 - tissue.sum(axis=0, keepdims=True), 0, 1)
        rows.append((x, mask[index, None] / 255, np.concatenate([tissue, rest]), scan.appearance))
    arrays = [
        torch.from_numpy(np.stack(part).astype(np.float32)) for part in zip(*rows, strict=True)
    ]
    return arrays[0], arrays[1], arrays[2], arrays[3]


def train_encoder(pool: Pool, config: TrainConfig, device: torch.device) -> Encoder:
    """An encoder trained from scratch on a simulated pool; deterministic on the CPU."""
    torch.manual_seed(config.seed)
    settings = config.encoder
    table = torch.tensor([scan.appearance for scan in pool.scans])
    mean, deviation = table.mean(dim=0), table.std(dim=0).clamp_min(1e-3)
    model = Readouts(Encoder(settings.width), table.shape[1]).to(device)
    for layer in model.encoder.features:
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    optimizer = torch.optim.Adam(model.parameters(), lr=settings.learning_rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, settings.learning_rate, total_steps=max(settings.steps, 2)
    )
    for step in range(settings.steps):
        x, mask, tissue, scanner = (part.to(device) for part in _batch(pool, step, config))
        logits, guess = model(x, mask)
        named = sum((_tissue_loss(each, tissue, mask) for each in logits), x.new_zeros(()))
        scanned = F.mse_loss(guess, (scanner - mean.to(device)) / deviation.to(device))
        loss = named + scanned
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % LOG_EVERY == 0 or step == settings.steps - 1:
            LOGGER.info(
                "encoder %d/%d: tissue %.4f scanner %.4f",
                step + 1, settings.steps, float(named.detach()), float(scanned.detach()),
            )  # fmt: skip
    return model.encoder.requires_grad_(requires_grad=False).eval()


def _tissue_loss(logits: Tensor, tissue: Tensor, mask: Tensor) -> Tensor:
    """Cross-entropy to the tissue shares of each coarse pixel, inside the brain."""
    truth = fit_mask(tissue, logits)
    weight = fit_mask(mask, logits)
    entropy = -(truth * F.log_softmax(logits, dim=1)).sum(dim=1, keepdim=True)
    return (entropy * weight).sum() / weight.sum().clamp_min(1)
