"""Error of the network on slabs of people it was not trained on, as the training goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import numpy as np
import torch
from attrs import frozen

from bids_ihf.io.atomic import write_atomic
from bids_ihf.io.tsv import read_tsv, to_tsv
from bids_ihf.network.encoder import join_statistics, modality_weights

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from bids_ihf.io.tsv import Cell
    from bids_ihf.lab.training.slab_rows import SlabRows
    from bids_ihf.lab.training.slab_sampling import SlabSampler
    from bids_ihf.network.encoder import Encoder
    from bids_ihf.network.flow import IHFNetwork

SLABS_PER_MODALITY, ROWS_PER_SLAB = 20, 2
"""Slabs of each modality, and slices of each of them."""

COLUMNS = ("step", "modality", "slices", "none", "curve", "network")


@frozen
class MeanErrors:
    """Mean absolute error in the brain over the slices of a modality, in network units: of the
    source as it is, after the intensity curve, and after the network."""

    modality: str
    slices: int
    none: float
    curve: float
    network: float


class Validation:
    """The same slices at every validation.

    Parameters
    ----------
    sampler
        Draws the slabs of the people who are kept out.
    log
        Tab-separated table to which every validation adds a row a modality.
    """

    def __init__(self, sampler: SlabSampler, log: Path) -> None:
        self.log = log
        self.slabs = [
            sampler.draw_rows([sampler.seed, 4, number], modality)
            for modality in dict.fromkeys(sampler.modalities)
            for number in range(SLABS_PER_MODALITY)
        ]

    def __call__(self, network: IHFNetwork, encoder: Encoder, step: int) -> float:
        """Measure and log; returns the network's error relative to the curve's, a mean over the
        modalities."""
        errors = self.errors(network, encoder)
        # A run that resumes may come to a step again.
        earlier = read_tsv(self.log)[1] if self.log.exists() else []
        rows: list[dict[str, Cell]] = [{**row} for row in earlier if int(row["step"]) < step]
        rows += [{"step": step, **attrs.asdict(error)} for error in errors]
        write_atomic(self.log, to_tsv(COLUMNS, rows))
        return float(np.mean([error.network / error.curve for error in errors]))

    def errors(self, network: IHFNetwork, encoder: Encoder) -> list[MeanErrors]:
        """The errors of each modality."""
        errors = []
        for modality in dict.fromkeys(slab.modality for slab in self.slabs):
            slabs = [slab for slab in self.slabs if slab.modality == modality]
            rows = [_slab_errors(slab, network, encoder) for slab in slabs]
            none, curve, after = np.mean(rows, axis=0)
            count = len(slabs) * ROWS_PER_SLAB
            errors.append(MeanErrors(modality, count, float(none), float(curve), float(after)))
        return errors


def _slab_errors(slab: SlabRows, network: IHFNetwork, encoder: Encoder) -> Sequence[float]:
    """Errors of the source, the curve and the network in the slices of a slab."""
    device = next(network.parameters()).device
    index = np.linspace(0, len(slab.truth) - 1, ROWS_PER_SLAB).round().astype(int)
    source, mask, target, context = (
        torch.from_numpy(array[index]).to(device)
        for array in (slab.matched, slab.mask, slab.target, slab.context)
    )
    mask = mask[:, None]
    told = modality_weights(slab.modality, len(index)).to(device)
    with torch.inference_mode():
        embedding = join_statistics(encoder(source, modality=told), mask)
        output = network(source, mask, target, embedding, context).float().cpu().numpy()
    brain = slab.mask[index] > 0.5
    images = (slab.scaled[index, 1], slab.matched[index, 1], output[:, 1])
    return [float(np.abs(image - slab.truth[index])[brain].mean()) for image in images]
