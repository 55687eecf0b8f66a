"""Batches for the encoder: slices of slabs that are scanned anew, with tissue and scanner."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from attrs import frozen
from torch import Tensor

from bids_ihf.lab.simulation.signal_equations import brain_contrast
from bids_ihf.lab.training.slab_sampling import draw_scanner
from bids_ihf.lab.training.slab_scans import SLAB_SLICES, random_slab, scan_slab
from bids_ihf.network.encoder import modality_weights

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from bids_ihf.bids.names import Modality
    from bids_ihf.lab.simulation.scanner import Scanner
    from bids_ihf.lab.training.scan_statistics import ScannerBlur
    from bids_ihf.lab.training.template_subjects import TemplateSubject

MAX_LOG_GAMMA = 0.5
"""Largest logarithm of the random power that changes the contrast."""

CROP_SHAPE = (112, 128)
"""In-plane size of the part of a slice that is used: faster than all of it, and varied."""

SLABS_PER_CHUNK = 10
"""Slabs whose slices are shuffled together."""

UNTOLD_PROBABILITY = 0.15
"""Probability that the modality of a slice is not told, as for an image of unknown modality."""

MIN_APPEARANCE = 0.02
"""Smallest contrast, noise or blur whose logarithm is told apart."""


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
