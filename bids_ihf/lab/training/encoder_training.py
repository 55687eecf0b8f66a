"""Training of the encoder to segment tissue and to identify the scanner, so that its statistics
describe both."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from attrs import frozen
from torch import Tensor, nn

from bids_ihf.errors import UsageError
from bids_ihf.lab.simulation.signal_equations import brain_contrast
from bids_ihf.lab.training.chunks import numbered_batches
from bids_ihf.lab.training.scan_statistics import measure_blur
from bids_ihf.lab.training.slab_sampling import draw_scanner
from bids_ihf.lab.training.slab_scans import SLAB_SLICES, random_slab, scan_slab
from bids_ihf.lab.training.training_config import SHIPPED_WEIGHTS
from bids_ihf.lab.training.training_state import learning_rate_factor, load_state, save_state
from bids_ihf.network.checkpoint import load_encoder
from bids_ihf.network.encoder import Encoder, join_statistics, modality_weights
from bids_ihf.network.statistics import fit_mask

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from bids_ihf.bids.names import Modality
    from bids_ihf.lab.simulation.scanner import Scanner
    from bids_ihf.lab.training.scan_statistics import ScannerBlur
    from bids_ihf.lab.training.template_subjects import TemplateSubject
    from bids_ihf.lab.training.training_config import TrainConfig

LOGGER = logging.getLogger(__name__)

LOG_EVERY_STEPS = 50

MAX_LOG_GAMMA = 0.5
"""Largest logarithm of the random power that changes the contrast."""

CROP_SHAPE = (112, 128)
"""In-plane size of the part of a slice that is used: faster than all of it, and varied."""

SLABS_PER_CHUNK = 10
"""Slabs whose slices are shuffled together."""

UNTOLD_PROBABILITY = 0.15
"""Probability that the modality of a slice is not told, as for an image of unknown modality."""

STANDARDIZATION_DRAWS = 150
"""Scanners of which the mean and the spread of the descriptions are taken."""

MIN_APPEARANCE = 0.02
"""Smallest contrast, noise or blur whose logarithm is told apart."""

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


@frozen(eq=False)
class EncoderBatch:
    """One training step of the encoder.

    x: slices (B, 3, X, Y); mask: brain masks (B, 1, X, Y).
    tissue: fractions (B, 4, X, Y) of grey matter, white matter, CSF and the rest.
    scanner: descriptions (B, A) by `scanner_appearance`.
    genuine: (B,) 0 where the contrast was changed, so that it is no scanner's any more.
    modality: weights (B, modalities), zero where the encoder is not told.
    """

    x: Tensor
    mask: Tensor
    tissue: Tensor
    scanner: Tensor
    genuine: Tensor
    modality: Tensor


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


def scanner_appearance(scanner: Scanner, blur: ScannerBlur) -> tuple[float, ...]:
    """What the encoder learns to estimate: logarithms of the contrast of grey matter, deep grey
    matter and CSF to white matter, of the noise and of the blur (mm) of the image."""
    contrast = brain_contrast(scanner.protocol)
    width = float(np.hypot(blur.blur, blur.thickness / np.sqrt(3)))
    values = [contrast[name] for name in ("grey", "deep_grey", "csf")]
    values += [scanner.noise * blur.noise, width]
    return tuple(float(v) for v in np.log(np.maximum(values, MIN_APPEARANCE)))


class EncoderSampler:
    """Draws batches of slices with tissue and scanner; the same seed and step give the same."""

    def __init__(
        self,
        subjects: Sequence[TemplateSubject],
        *,
        modalities: Sequence[Modality],
        batch: int,
        seed: int,
    ) -> None:
        self.subjects = subjects
        self.modalities = modalities
        self.batch = batch
        self.seed = seed

    @property
    def steps_per_chunk(self) -> int:
        """Batches that are made of one chunk of slabs."""
        return max(1, SLABS_PER_CHUNK * SLAB_SLICES // self.batch)

    def chunk(self, number: int) -> list[EncoderBatch]:
        """The batches of a chunk: the slices of its slabs in random order."""
        slabs = -(-self.steps_per_chunk * self.batch // SLAB_SLICES)
        rows = [row for k in range(slabs) for row in self._draw_rows([self.seed, 1, number, k])]
        order = np.random.default_rng([self.seed, 1, number]).permutation(len(rows))
        portions = np.split(order, range(self.batch, len(rows), self.batch))
        return [
            EncoderBatch(
                *(
                    torch.from_numpy(np.stack([rows[k][column] for k in portion]))
                    for column in range(len(rows[0]))
                )
            )
            for portion in portions[: self.steps_per_chunk]
        ]

    def _draw_rows(self, seed: Sequence[int]) -> list[tuple[Any, ...]]:
        """The rows of one slab of a subject, by one scanner."""
        rng = np.random.default_rng(seed)
        while True:
            subject = self.subjects[int(rng.integers(len(self.subjects)))]
            modality = self.modalities[int(rng.integers(len(self.modalities)))]
            scanner = draw_scanner(modality, rng).scanner
            slab = random_slab(subject, rng)
            try:
                data, statistics = scan_slab(subject, slab, scanner, int(rng.integers(2**31)))
                break
            except ValueError:  # a scanner whose images show nothing
                continue
        appearance = np.array(scanner_appearance(scanner, statistics.blur), dtype=np.float32)
        told = modality_weights(modality, 1)[0].numpy()
        rows: list[tuple[Any, ...]] = []
        for index in rng.permutation(slab.stop - slab.first)[:SLAB_SLICES]:
            # A gain of a few per cent, since the scale comes from percentiles that vary.
            x = (data[index : index + 3] + 1) * np.float32(rng.uniform(0.85, 1.15)) - 1
            genuine = rng.random() < 0.5
            x = x if genuine else _changed_contrast(x, rng)
            row = slab.first + int(index)
            mask = subject.brain_mask(row, row + 1)
            arrays = [x.astype(np.float32), mask, _tissue(subject, row)]
            crop, mirror = _random_crop(mask.shape[1:], rng), int(rng.choice((1, -1)))
            arrays = [array[(slice(None), *crop)][:, ::mirror] for array in arrays]
            weight = told * np.float32(rng.random() >= UNTOLD_PROBABILITY)
            rows.append((*arrays, appearance, np.float32(genuine), weight))
        return rows


def _tissue(subject: TemplateSubject, index: int) -> NDArray[np.float32]:
    """Fractions (4, X, Y) of a slice by the classes of the tissue read-out."""
    tissue = subject.tissues(index, index + 1)[:, 0]
    return np.concatenate([tissue, np.clip(1 - tissue.sum(axis=0, keepdims=True), 0, 1)])


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
