"""The state from which an interrupted training resumes, and the schedule of its learning rate."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING

import torch
from attrs import frozen
from safetensors import safe_open
from safetensors.torch import save

from bids_ihf.io.atomic import write_atomic

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor, nn

WARM_UP_STEPS = 100
"""Steps in which the learning rate rises to its maximum."""

FINAL_RATE_FACTOR = 0.01
"""Learning rate of the last step, relative to the maximum."""

AVERAGE_DELAY_STEPS = 10
"""Steps after which the running average of the weights spans half of the training so far."""


@frozen
class Progress:
    """Finished steps, and the best validation error so far."""

    step: int
    best: float = math.inf


def learning_rate_factor(step: int, steps: int) -> float:
    """Learning rate of a step, relative to the maximum: a short rise, then half a cosine.

    >>> [round(learning_rate_factor(step, 1100), 3) for step in (0, 100, 600, 1100)]
    [0.01, 1.0, 0.505, 0.01]
    """
    if step < WARM_UP_STEPS:
        return (step + 1) / WARM_UP_STEPS
    progress = min(1.0, (step - WARM_UP_STEPS) / max(1, steps - WARM_UP_STEPS))
    cosine = 0.5 * (1 + math.cos(math.pi * progress))
    return FINAL_RATE_FACTOR + (1 - FINAL_RATE_FACTOR) * cosine


def update_average(average: nn.Module, network: nn.Module, decay: float, step: int) -> None:
    """Move the running average of the weights towards those after a step.

    The first steps are forgotten sooner: a random start is no part of the average.
    """
    decay = min(decay, (step + 1) / (step + AVERAGE_DELAY_STEPS))
    with torch.no_grad():
        for mean, value in zip(average.parameters(), network.parameters(), strict=True):
            mean.lerp_(value, 1 - decay)


def save_state(
    path: Path,
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    step: int,
    *,
    average: nn.Module | None = None,
    best: float = math.inf,
) -> None:
    """Write weights, their running average and optimizer moments as safetensors, atomically."""
    tensors = {f"network.{key}": value.contiguous() for key, value in network.state_dict().items()}
    if average is not None:
        tensors |= {f"average.{key}": v.contiguous() for key, v in average.state_dict().items()}
    for number, values in optimizer.state_dict()["state"].items():
        for key, value in values.items():
            tensors[f"adam.{number}.{key}"] = torch.as_tensor(value).contiguous()
    write_atomic(path, save(tensors, {"step": json.dumps(step), "best": json.dumps(best)}))


def load_state(
    path: Path,
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    average: nn.Module | None = None,
) -> Progress:
    """Restore network, optimizer and running average."""
    moments: dict[int, dict[str, Tensor]] = {}
    weights: dict[str, dict[str, Tensor]] = {"network": {}, "average": {}}
    with safe_open(path, framework="pt") as file:
        header = file.metadata()
        for key in file.keys():
            owner, name = key.split(".", 1)
            if owner == "adam":
                number, name = name.split(".")
                moments.setdefault(int(number), {})[name] = file.get_tensor(key)
            else:
                weights[owner][name] = file.get_tensor(key)
    network.load_state_dict(weights["network"])
    if average is not None:
        average.load_state_dict(weights["average"])
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": moments, "param_groups": groups})
    return Progress(int(json.loads(header["step"])), float(json.loads(header["best"])))
