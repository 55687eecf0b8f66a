"""Error of a comparator on slabs of people it was not trained on, as the training goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import numpy as np
import torch

from bids_ihf.io.atomic import write_atomic
from bids_ihf.io.tsv import read_tsv, to_tsv
from bids_ihf.lab.comparators.learned.interface import SiteBatch
from bids_ihf.lab.training.site_sampling import batch_of
from bids_ihf.lab.training.slab_scans import SLAB_SLICES

if TYPE_CHECKING:
    from pathlib import Path

    from bids_ihf.io.tsv import Cell
    from bids_ihf.lab.comparators.learned.interface import LearnedComparator
    from bids_ihf.lab.training.site_sampling import SiteSampler

VALIDATION_SLABS, ROWS_PER_SLAB = 6, 2
"""Slabs of each modality on which a comparator is validated, and slices of each of them."""

VALIDATION_COLUMNS = ("step", "modality", "slices", "none", "comparator")


class ComparatorValidation:
    """Mean absolute error in the brain on slices of people who are kept out."""

    def __init__(self, sampler: SiteSampler, log: Path) -> None:
        self.log = log
        index = np.linspace(0, SLAB_SLICES - 1, ROWS_PER_SLAB).round().astype(int)
        rows = np.concatenate([k * SLAB_SLICES + index for k in range(VALIDATION_SLABS)])
        self.batches = {
            modality: batch_of(
                [
                    sampler.draw_rows([sampler.seed, 10, number], modality)
                    for number in range(VALIDATION_SLABS)
                ],
                rows,
            )
            for modality in sampler.modalities
        }

    def __call__(self, model: LearnedComparator, step: int) -> float:
        """Measure and log; returns the error relative to that of the source as it is, a mean over
        the modalities."""
        device = next(model.parameters()).device
        earlier = read_tsv(self.log)[1] if self.log.exists() else []
        rows: list[dict[str, Cell]] = [{**row} for row in earlier if int(row["step"]) < step]
        ratios = []
        model.eval()
        for modality, batch in self.batches.items():
            with torch.no_grad():
                image = model.translate(on_device(batch, device)).float().cpu()
            brain = batch.mask > 0.5
            none, error = (
                float((x - batch.truth).abs()[brain].mean()) for x in (batch.centre, image)
            )
            ratios.append(error / none)
            line = (step, modality, len(batch.mask), none, error)
            rows.append(dict(zip(VALIDATION_COLUMNS, line, strict=True)))
        write_atomic(self.log, to_tsv(VALIDATION_COLUMNS, rows))
        return float(np.mean(ratios))


def on_device(batch: SiteBatch, device: torch.device) -> SiteBatch:
    """A batch with all tensors on a device."""
    names = [entry.name for entry in attrs.fields(SiteBatch)]
    return SiteBatch(**{name: getattr(batch, name).to(device) for name in names})
