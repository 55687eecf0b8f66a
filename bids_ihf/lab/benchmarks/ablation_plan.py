"""Losses and designs of the network that are compared at one small budget, and the run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
from attrs import field, frozen

from bids_ihf.lab.training.training_config import DataConfig, NetworkConfig, TrainConfig

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

TRAINING_STEPS, SLICES_PER_STEP = 300, 6

TRAINING_PEOPLE = tuple(f"head-{number:02d}" for number in range(1, 12))
MEASURED_PEOPLE = {
    "validation": ("head-12",),
    "test": ("head-13", "head-14", "head-15", "head-16"),
}
"""Whose slabs are measured: those by which designs are chosen, and those that are reported."""


@frozen
class Design:
    """A network of the table: what of its settings differs from the others'."""

    name: str
    settings: Mapping[str, Any] = field(factory=dict)
    matched: bool = True
    """Whether the intensity curve goes before it, or the image is only scaled."""


HALF_WIDTH = NetworkConfig(
    hidden=(32, 64), style=64, local=(16, 32), told_context=True, artefact=0.01
)
"""The shipped architecture at half its width, and its losses."""

DESIGNS = (
    Design("as shipped, half the width"),
    Design("L_ac without L_art", {"supervised": 0, "anatomy": 1, "artefact": 0}),
    Design("L_art without L_ac", {"supervised": 0, "anatomy": 0, "artefact": 2}),
    Design("the paper's losses", {"supervised": 0, "anatomy": 1, "artefact": 2}),
    Design("supervised loss alone", {"anatomy": 0, "artefact": 0}),
    Design("AAN printed, with context and local heads", {"form": "printed"}),
    Design("AAN printed", {"form": "printed", "told_context": False, "local": ()}),
    Design("AAN relative", {"told_context": False, "local": ()}),
    Design("AAN relative, with context", {"local": ()}),
    Design("one block", {"splits": (2,), "hidden": (32,), "local": (16,)}),
    Design("three blocks", {"splits": (2, 2, 2), "hidden": (32, 64, 128), "local": (16, 32, 64)}),
    Design("four splits", {"splits": (4, 4)}),
    Design("full width", {"hidden": (64, 128), "style": 128, "local": (32, 64)}),
    Design("input scaled, not matched by the curve", matched=False),
)


@frozen
class AblationPlan:
    """The run.

    labels, output: folders of the label maps, and of what is made.
    batch: slices in a step.
    training, measured: names of the people.
    """

    labels: Path
    output: Path
    steps: int = TRAINING_STEPS
    batch: int = SLICES_PER_STEP
    seed: int = 7
    training: tuple[str, ...] = TRAINING_PEOPLE
    measured: Mapping[str, tuple[str, ...]] = field(factory=lambda: MEASURED_PEOPLE)
    modalities: tuple[str, ...] = ("T1w", "T2w", "FLAIR")
    designs: tuple[Design, ...] = DESIGNS

    @property
    def data(self) -> DataConfig:
        """Where the people are."""
        return DataConfig(
            source=self.labels,
            people_file=self.output / "people.safetensors",
            pool=self.output / "pool",
            modalities=self.modalities,
        )

    def config(self, number: int) -> TrainConfig:
        """The training of a design."""
        design = self.designs[number]
        settings = attrs.evolve(HALF_WIDTH, steps=self.steps, batch=self.batch)
        return TrainConfig(
            name=design.name,
            output=self.output / f"design-{number:02d}",
            data=self.data,
            network=attrs.evolve(settings, **design.settings),
            seed=self.seed,
            threads=1,
            bfloat16=True,
        )
