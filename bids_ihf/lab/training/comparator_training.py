"""Training of comparators, on the same people and for as many steps as the network."""

from __future__ import annotations

import copy
import logging
import time
from typing import TYPE_CHECKING

import attrs
import torch

from bids_ihf.io.atomic import write_atomic
from bids_ihf.lab.comparators.learned.interface import ComparatorSettings, site_names
from bids_ihf.lab.comparators.learned.weights import build_comparator, pack_comparator
from bids_ihf.lab.training.chunks import numbered_batches
from bids_ihf.lab.training.comparator_validation import ComparatorValidation, on_device
from bids_ihf.lab.training.network_training import LOG_EVERY_STEPS, MAX_GRADIENT_NORM
from bids_ihf.lab.training.site_sampling import SiteSampler, random_windows
from bids_ihf.lab.training.training_state import (
    Progress,
    learning_rate_factor,
    load_state,
    save_state,
    update_average,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from bids_ihf.lab.comparators.learned.interface import LearnedComparator, Losses, SiteBatch
    from bids_ihf.lab.training.chunks import ChunkSampler
    from bids_ihf.lab.training.template_subjects import TemplateSubject
    from bids_ihf.lab.training.training_config import ComparatorConfig, TrainConfig
    from bids_ihf.lab.training.vendor_profiles import TypicalProfiles
    from bids_ihf.network.encoder import Encoder

LOGGER = logging.getLogger(__name__)

ADAM_BETAS = (0.5, 0.99)
"""Decay rates of the moments of gradients, as is usual with a critic."""

SEED_STRIDE = 2**32
"""Distance of the seeds of two runs, more than the steps of a run."""


class ComparatorTrainer:
    """Trains a comparator, and its critic in turn, resuming from the state in the output folder.

    Parameters
    ----------
    write
        Writes the weights; called with the running average at every validation that is the best so
        far, and at the end if there is no validation.  Its second argument is the processor time
        of a step, s.
    """

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
        self.config, self.options, self.device = config, comparator, device
        self.write, self.validation = write, validation
        self.model = build_comparator(settings, encoder.to(device)).to(device)
        self.average = copy.deepcopy(self.model).requires_grad_(requires_grad=False)
        # One optimizer: parameters without a gradient, the critic's or all others, stay.
        self.optimizer = torch.optim.Adam(
            self.model.parameters(), lr=comparator.learning_rate, betas=ADAM_BETAS
        )
        self.state = config.output / "state.safetensors"
        self.progress = Progress(0)
        if self.state.exists():
            self.progress = load_state(self.state, self.model, self.optimizer, self.average)

    def train(self, sampler: ChunkSampler[SiteBatch], *, minutes: float | None = None) -> None:
        """Train to the last step, or for some minutes."""
        steps, first = self.options.steps, self.progress.step
        deadline = time.monotonic() + 60 * minutes if minutes is not None else None
        seconds = 0.0
        for step, batch in numbered_batches(sampler, first, steps, self.config.threads):
            # Noise depends on the step alone, so that a run that resumes goes on as it would have.
            torch.manual_seed(SEED_STRIDE * self.config.seed + step)
            start = time.process_time()
            losses = self._step(on_device(batch, self.device), step)
            seconds += time.process_time() - start
            count = step + 1
            if step % LOG_EVERY_STEPS == 0 or count == steps:
                terms = " ".join(
                    f"{k} {float(v.detach()):.5f}" for k, (_, v) in losses.terms.items()
                )
                LOGGER.info("comparator %d/%d: %s", count, steps, terms)
            timed_out = deadline is not None and time.monotonic() > deadline
            last = count == steps or timed_out
            if count % self.options.validate_every == 0 or last:
                self._validate(count, seconds / (count - first))
            if count % self.options.save_every == 0 or last:
                self._save(count)
            if timed_out:
                LOGGER.info("Stopped after %g minutes; the next run goes on from here", minutes)
                break

    def _step(self, batch: SiteBatch, step: int) -> Losses:
        for group in self.optimizer.param_groups:
            group["lr"] = self.options.learning_rate * learning_rate_factor(
                step, self.options.steps
            )
        self.model.train()
        critic = self.model.judge
        if critic is not None:
            critic.requires_grad_(requires_grad=False)
        batch = random_windows(batch, self.options.window)
        losses = self.model.losses(batch)
        self._descend(losses.total)
        if critic is not None:
            critic.requires_grad_(requires_grad=True)
            judgement = self.model.critic_loss(batch, losses.translated.detach())
            if judgement is not None:
                losses.terms["critic"] = (0.0, judgement.detach())
                self._descend(judgement)
        update_average(self.average, self.model, self.options.average, step)
        return losses

    def _descend(self, loss: torch.Tensor) -> None:
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), MAX_GRADIENT_NORM)
        self.optimizer.step()

    def _validate(self, step: int, seconds_per_step: float) -> None:
        if self.validation is None:
            self.write(self.average, seconds_per_step)
            return
        error = self.validation(self.average, step)
        LOGGER.info("comparator %d: error %.4f of the source's", step, error)
        if error < self.progress.best:
            self.progress = attrs.evolve(self.progress, best=error)
            self.write(self.average, seconds_per_step)

    def _save(self, step: int) -> None:
        self.progress = attrs.evolve(self.progress, step=step)
        save_state(
            self.state,
            self.model,
            self.optimizer,
            step,
            average=self.average,
            best=self.progress.best,
        )


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
