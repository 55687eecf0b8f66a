"""Training of comparators, on the same people and for as many steps as the network."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import torch

from bids_ihf.io.atomic import write_atomic
from bids_ihf.lab.comparators.learned.interface import (
    ComparatorSettings,
    LearnedComparator,
    Losses,
    SiteBatch,
    site_names,
)
from bids_ihf.lab.comparators.learned.weights import build_comparator, pack_comparator
from bids_ihf.lab.training.comparator_validation import ComparatorValidation, on_device
from bids_ihf.lab.training.resumable_training import ResumableTrainer
from bids_ihf.lab.training.site_sampling import SiteSampler, random_windows
from bids_ihf.lab.training.training_state import update_average

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from torch import Tensor

    from bids_ihf.lab.training.template_subjects import TemplateSubject
    from bids_ihf.lab.training.training_config import ComparatorConfig, TrainConfig
    from bids_ihf.lab.training.vendor_profiles import TypicalProfiles
    from bids_ihf.network.encoder import Encoder

ADAM_BETAS = (0.5, 0.99)
"""Decay rates of the moments of gradients, as is usual with a critic."""

SEED_STRIDE = 2**32
"""Distance of the seeds of two runs, more than the steps of a run."""


class ComparatorTrainer(ResumableTrainer[LearnedComparator, SiteBatch]):
    """Trains a comparator, and its critic in turn.

    Parameters
    ----------
    write
        Writes the weights; called with the running average at every validation that is the best so
        far, and without one whenever there would be a validation.  Its second argument is the
        processor time of a step, s.
    """

    kind, baseline = "comparator", "the source's"

    def __init__(
        self,
        settings: ComparatorSettings,
        encoder: Encoder,
        config: TrainConfig,
        comparator: ComparatorConfig,
        device: torch.device,
        write: Callable[[LearnedComparator, float], None],
        validation: ComparatorValidation | None = None,
    ) -> None:
        torch.manual_seed(config.seed)
        self.options, self.write, self.validation = comparator, write, validation
        model = build_comparator(settings, encoder.to(device)).to(device)
        # One optimizer: parameters without a gradient, the critic's or all others, stay.
        optimizer = torch.optim.Adam(
            model.parameters(), lr=comparator.learning_rate, betas=ADAM_BETAS
        )
        super().__init__(model, optimizer, config, comparator, device)
        self._seconds, self._steps = 0.0, 0

    def step(self, batch: SiteBatch, step: int) -> dict[str, Tensor]:
        """Change the comparator, then its critic."""
        # Noise depends on the step alone, so that a run that resumes goes on as it would have.
        torch.manual_seed(SEED_STRIDE * self.config.seed + step)
        start = time.process_time()
        losses = self._step(on_device(batch, self.device), step)
        self._seconds += time.process_time() - start
        self._steps += 1
        return {name: value.detach() for name, (_, value) in losses.terms.items()}

    def _step(self, batch: SiteBatch, step: int) -> Losses:
        self.model.train()
        critic = self.model.judge
        if critic is not None:
            critic.requires_grad_(requires_grad=False)
        batch = random_windows(batch, self.options.window)
        losses = self.model.losses(batch)
        self.descend(losses.total)
        if critic is not None:
            critic.requires_grad_(requires_grad=True)
            judgement = self.model.critic_loss(batch, losses.translated.detach())
            if judgement is not None:
                losses.terms["critic"] = (0.0, judgement.detach())
                self.descend(judgement)
        update_average(self.average, self.model, self.options.average, step)
        return losses

    def validate(self, step: int) -> None:
        """Validate the running average, and write it where it is the best so far or there is no
        validation."""
        if self.validation is None:
            self.write_average()
        super().validate(step)

    def validation_error(self, step: int) -> float | None:
        """Error of the running average on what was kept out."""
        return None if self.validation is None else self.validation(self.average, step)

    def write_average(self) -> None:
        """Write the running average with the processor time of a step."""
        self.write(self.average, self._seconds / max(1, self._steps))


def train_comparator(
    config: TrainConfig,
    comparator: ComparatorConfig,
    device: torch.device,
    minutes: float | None,
    *,
    people: tuple[list[TemplateSubject], list[TemplateSubject], TypicalProfiles],
    encoder: tuple[Encoder, str],
    record: dict[str, Any],
) -> None:
    """Write a comparator to the output folder.

    ``people`` are those it is trained on, those it is validated on, and their profiles by the
    vendors' typical scanners; ``encoder`` comes with its hash.
    """
    subjects, kept_out, profiles = people
    modalities = config.data.anatomical
    settings = ComparatorSettings(
        kind=comparator.kind,
        sites=site_names(modalities),
        channels=comparator.channels,
        blocks=comparator.blocks,
    )
    sampler = SiteSampler(
        subjects, profiles, settings, modalities=modalities, batch=comparator.batch,
        seed=config.seed,
    )  # fmt: skip
    validation = None
    if kept_out:
        log = config.output / "validation.tsv"
        validation = ComparatorValidation(sampler.of_subjects(kept_out), log)

    def write(model: LearnedComparator, seconds_per_step: float) -> None:
        cost = {"seconds_per_step": round(seconds_per_step, 4)}
        data = pack_comparator(model, encoder[1], record | cost)
        write_atomic(config.output / "comparator.safetensors", data)

    trainer = ComparatorTrainer(
        settings, encoder[0], config, comparator, device, write, validation
    )
    trainer.train(sampler, minutes=minutes)
