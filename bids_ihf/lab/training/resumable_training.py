"""The loop over the steps of a training that can be stopped, and goes on where it was."""

from __future__ import annotations

import copy
import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar, Generic, Protocol, TypeVar

import attrs
import torch
from torch import Tensor, nn

from bids_ihf.lab.training.chunks import ChunkSampler, numbered_batches
from bids_ihf.lab.training.training_config import TrainConfig
from bids_ihf.lab.training.training_state import (
    Progress,
    learning_rate_factor,
    load_state,
    save_state,
)

LOGGER = logging.getLogger(__name__)

LOG_EVERY_STEPS = 25

MAX_GRADIENT_NORM = 1.0

Model = TypeVar("Model", bound=nn.Module)
B = TypeVar("B")


class Schedule(Protocol):
    """Settings of the loop."""

    @property
    def steps(self) -> int:
        """Steps in all."""

    @property
    def learning_rate(self) -> float:
        """Maximum of the learning rate."""

    @property
    def save_every(self) -> int:
        """Steps between two states that are kept."""

    @property
    def validate_every(self) -> int:
        """Steps between two validations."""


class ResumableTrainer(ABC, Generic[Model, B]):
    """Trains a model for the scheduled steps, resuming from the state in the output folder.

    Attributes
    ----------
    average
        Running average of the weights, which is validated and written.
    progress
        Finished steps, and the best validation error so far.
    """

    kind: ClassVar[str]
    """What is trained, in the log."""
    baseline: ClassVar[str]
    """What the validation error is relative to."""

    def __init__(
        self,
        model: Model,
        optimizer: torch.optim.Optimizer,
        config: TrainConfig,
        schedule: Schedule,
        device: torch.device,
    ) -> None:
        self.model, self.optimizer, self.device = model, optimizer, device
        self.config, self.schedule = config, schedule
        self.average = copy.deepcopy(model).requires_grad_(requires_grad=False)
        self.state = config.output / "state.safetensors"
        self.progress = Progress(0)
        if self.state.exists():
            self.progress = load_state(self.state, model, optimizer, self.average)

    def train(self, sampler: ChunkSampler[B], *, minutes: float | None = None) -> None:
        """Train to the last step, or for some minutes."""
        steps, first = self.schedule.steps, self.progress.step
        deadline = time.monotonic() + 60 * minutes if minutes is not None else None
        for step, batch in numbered_batches(sampler, first, steps, self.config.threads):
            self.set_learning_rate(step)
            losses = self.step(batch, step)
            done = step + 1
            if step % LOG_EVERY_STEPS == 0 or done == steps:
                terms = " ".join(f"{name} {float(value):.5f}" for name, value in losses.items())
                LOGGER.info("%s %d/%d: %s", self.kind, done, steps, terms)
            timed_out = deadline is not None and time.monotonic() > deadline
            last = done == steps or timed_out
            if done % self.schedule.validate_every == 0 or last:
                self.validate(done)
            if done % self.schedule.save_every == 0 or last:
                self.save(done)
            if timed_out:
                LOGGER.info("Stopped after %g minutes; the next run goes on from here", minutes)
                break

    def set_learning_rate(self, step: int) -> None:
        """Set the learning rate to that of a step."""
        factor = learning_rate_factor(step, self.schedule.steps)
        for group in self.optimizer.param_groups:
            group["lr"] = self.schedule.learning_rate * factor

    @abstractmethod
    def step(self, batch: B, step: int) -> Mapping[str, Tensor | float]:
        """Change the model by one batch, and return its losses by name."""

    @abstractmethod
    def validation_error(self, step: int) -> float | None:
        """Error of the running average on what was kept out; None where nothing was."""

    @abstractmethod
    def write_average(self) -> None:
        """Write the running average to the output folder."""

    def validate(self, step: int) -> None:
        """Validate the running average, and write it where it is the best so far."""
        error = self.validation_error(step)
        if error is None:
            return
        LOGGER.info("%s %d: error %.4f of %s", self.kind, step, error, self.baseline)
        if error < self.progress.best:
            self.progress = attrs.evolve(self.progress, best=error)
            self.write_average()

    def descend(self, loss: Tensor) -> None:
        """A step down the gradient of a loss."""
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), MAX_GRADIENT_NORM)
        self.optimizer.step()

    def save(self, step: int) -> None:
        """Write the state after so many steps, from which a later run goes on."""
        self.progress = attrs.evolve(self.progress, step=step)
        best = self.progress.best
        save_state(self.state, self.model, self.optimizer, step, average=self.average, best=best)
