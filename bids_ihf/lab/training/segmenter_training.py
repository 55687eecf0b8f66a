"""Training of the segmentation network, on synthetic heads drawn anew for every step."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset

from bids_ihf.errors import UsageError
from bids_ihf.lab.simulation.synthetic_contrast import generate, load_mixture_map
from bids_ihf.lab.training.packed_people import find_label_maps
from bids_ihf.lab.training.training_state import learning_rate_factor, load_state, save_state
from bids_ihf.network.unet import Segmenter

if TYPE_CHECKING:
    from torch import Tensor

    from bids_ihf.lab.training.training_config import BrainConfig, TrainConfig

LOGGER = logging.getLogger(__name__)

LOG_EVERY_STEPS = 25

MAX_FREE_CONTRAST_PROBABILITY = 0.4
"""Probability of a freely drawn contrast in the second half of the training, to which it rises
linearly: if it is as high from the start, tissue is not learnt for thousands of steps."""

MAX_GRADIENT_NORM = 1.0

DICE_SMOOTHING = 1
"""Added to the overlap and sizes of a tissue, so that the Dice of an absent one is 1."""


class SyntheticHeads(Dataset[tuple["Tensor", "Tensor"]]):
    """Image (1, S, S, S) and tissue fractions (4, S, S, S) of every step from ``first`` on.

    Those of a step depend on seed and step alone.
    """

    def __init__(self, config: TrainConfig, settings: BrainConfig, first: int) -> None:
        self.heads = [
            load_mixture_map(path, config.seed * 100 + number)
            for number, path in enumerate(find_label_maps(config).values())
        ]
        self.seed, self.side, self.first = config.seed, settings.box, first
        self.steps = settings.steps

    def __len__(self) -> int:
        return self.steps - self.first

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        step = self.first + index
        head = self.heads[step * 7 % len(self.heads)]  # each head once in a cycle
        probability = MAX_FREE_CONTRAST_PROBABILITY * min(1.0, 2 * step / self.steps)
        sample = generate(
            head, self.side, [self.seed, 3, step], free_contrast_probability=probability
        )
        return sample.image[None], sample.fractions


def segmentation_loss(scores: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
    """Cross-entropy plus one minus the mean soft Dice; and the Dice (4,) of each tissue.

    ``truth`` are fractions (B, 4, X, Y, Z); the Dice has squared sizes in its denominator
    (Milletari et al. 2016, 3DV 565-571).

    >>> truth = torch.nn.functional.one_hot(torch.zeros(1, 2, 2, 2).long(), 4).movedim(-1, 1)
    >>> loss, dice = segmentation_loss(50.0 * truth, truth.float())
    >>> round(float(loss), 3), dice.tolist()
    (0.0, [1.0, 1.0, 1.0, 1.0])
    """
    entropy = -(truth * F.log_softmax(scores, dim=1)).sum(dim=1).mean()
    probability = scores.softmax(dim=1)
    overlap = (probability * truth).sum(dim=(0, 2, 3, 4))
    sizes = (probability.square() + truth.square()).sum(dim=(0, 2, 3, 4))
    dice = (2 * overlap + DICE_SMOOTHING) / (sizes + DICE_SMOOTHING)
    return entropy + 1 - dice.mean(), dice.detach()


def train_segmenter(config: TrainConfig, device: torch.device) -> Segmenter:
    """Train for the configured steps, resuming from the state in the output folder, if any.

    Raises
    ------
    UsageError
        The configuration has no [brain], or a box that the network cannot halve at each level.
    """
    settings = config.brain
    torch.manual_seed(config.seed)
    if settings is None:
        raise UsageError("The configuration has no [brain]; add it.")
    network = Segmenter(settings.widths).to(device)
    network.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    if settings.box % network.multiple:
        raise UsageError(f"[brain] box must be a multiple of {network.multiple}; correct it.")
    optimizer = torch.optim.AdamW(network.parameters(), lr=settings.learning_rate)
    state = config.output / "brain-state.safetensors"
    first = load_state(state, network, optimizer).step if state.exists() else 0
    heads = SyntheticHeads(config, settings, first)
    loader = DataLoader(heads, batch_size=1, num_workers=config.threads, prefetch_factor=4)
    recent: list[Tensor] = []
    for step, (image, truth) in enumerate(loader, start=first):
        for group in optimizer.param_groups:
            group["lr"] = settings.learning_rate * learning_rate_factor(step, settings.steps)
        with torch.autocast(device.type, torch.bfloat16, enabled=config.bfloat16):
            scores = network(image.to(device, memory_format=torch.channels_last_3d))
        loss, dice = segmentation_loss(scores.float(), truth.to(device))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), MAX_GRADIENT_NORM)
        optimizer.step()
        recent.append(dice)
        if step % LOG_EVERY_STEPS == 0 or step == settings.steps - 1:
            values = " ".join(f"{float(value):.3f}" for value in torch.stack(recent).mean(dim=0))
            LOGGER.info("brain %d/%d: Dice %s", step + 1, settings.steps, values)
            recent.clear()
        if (step + 1) % settings.save_every == 0:
            save_state(state, network, optimizer, step + 1)
    return network.eval()
