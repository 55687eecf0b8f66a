"""Losses and designs of the network at one small budget, as Table 1 of the paper has the losses.

All networks are trained side by side on the same batches, with the shipped encoder, and measured
on the same slabs of people who were not used in training: one to choose by, and others to report.
A run that was stopped goes on.

Usage: python -m bids_ihf.lab.benchmarks.ablation LABELS_DIR OUT_DIR [--steps N] [--batch N]
"""

from __future__ import annotations

import argparse
import copy
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import torch
from attrs import frozen

from bids_ihf.config.values import positive_integer
from bids_ihf.io.atomic import write_atomic
from bids_ihf.lab.benchmarks.ablation_plan import (
    SLICES_PER_STEP,
    TRAINING_STEPS,
    AblationPlan,
    Design,
)
from bids_ihf.lab.benchmarks.tables import Column, Row, Table, aligned
from bids_ihf.lab.training.batch_sampling import Batch
from bids_ihf.lab.training.chunks import numbered_batches
from bids_ihf.lab.training.network_training import NetworkTrainer
from bids_ihf.lab.training.packed_people import pack_people
from bids_ihf.lab.training.slab_sampling import SlabSampler
from bids_ihf.lab.training.template_subjects import template_subjects
from bids_ihf.lab.training.validation import Validation
from bids_ihf.lab.training.vendor_profiles import typical_profiles
from bids_ihf.network.checkpoint import load_encoder
from bids_ihf.version import __version__

if TYPE_CHECKING:
    from collections.abc import Sequence


LOGGER = logging.getLogger(__name__)

LOG_EVERY_STEPS = 10

ABLATION_COLUMNS = {
    "design": Column("What of the network or its losses differs from the first row's"),
    "parameters": Column("Numbers that are learned"),
    "people": Column(
        "Whose slices",
        levels={
            "validation": "by whom designs are chosen",
            "test": "of whom results are reported",
        },
    ),
    "modality": Column("Contrast; 'all' is the mean of the ratios"),
    "slices": Column("Slices measured"),
    "curve": Column("Mean absolute error in the brain after the intensity curve", "network units"),
    "network": Column("The same after the network", "network units"),
    "ratio": Column("The second over the first; below 1 the network helps"),
}

SAVE_EVERY_STEPS = 50


@frozen(eq=False)
class InputBatch:
    """A batch with the intensity curve before the network, and one with the scaled image."""

    matched: Batch
    scaled: Batch


class InputSampler(SlabSampler):
    """Draws each batch with both inputs."""

    def chunk(self, number: int) -> list[InputBatch]:  # type: ignore[override]
        """The batches of a chunk."""
        rows, order = self.draw_slabs(self.seed, number)
        scaled = [attrs.evolve(slab, matched=slab.scaled) for slab in rows]
        pairs = zip(self.batches(rows, order), self.batches(scaled, order), strict=True)
        return [InputBatch(*pair) for pair in pairs]


def run_ablation(plan: AblationPlan) -> Table:
    """Train every design, and measure it."""
    sampler, validations = _people_of(plan)
    trainers = [
        NetworkTrainer(sampler.encoder, plan.config(number), torch.device("cpu"), lambda _: None)
        for number in range(len(plan.designs))
    ]
    _train_side_by_side(plan, trainers, sampler)
    rows = [
        row
        for design, trainer in zip(plan.designs, trainers, strict=True)
        for people, validation in validations.items()
        for row in _measured(design, trainer, people, validation)
    ]
    return Table(rows, ABLATION_COLUMNS)


def _people_of(plan: AblationPlan) -> tuple[InputSampler, dict[str, Validation]]:
    """What draws the batches, and what measures each group of people, who are scanned anew alike
    for every network."""
    data = plan.data
    names = [*plan.training, *(name for group in plan.measured.values() for name in group)]
    if not data.people_file.exists():
        maps = {name: plan.labels / f"{name}_dseg.nii.gz" for name in names}
        pack_people(maps, data.people_file, seed=plan.seed, processes=1)
    encoder, encoder_hash = load_encoder()
    typical = typical_profiles(
        data.people_file, data.pool, plan.training, (encoder, encoder_hash),
        plan.output / "typical", modalities=plan.modalities, processes=1,
    )  # fmt: skip
    sampler = InputSampler(
        template_subjects(data.people_file, data.pool, plan.training), typical, encoder,
        modalities=plan.modalities, batch=plan.batch, seed=plan.seed,
    )  # fmt: skip
    validations = {
        group: Validation(
            sampler.of_subjects(template_subjects(data.people_file, data.pool, people)),
            plan.output / f"{group}.tsv",
        )
        for group, people in plan.measured.items()
    }
    return sampler, validations


def _train_side_by_side(
    plan: AblationPlan, trainers: Sequence[NetworkTrainer], sampler: InputSampler
) -> None:
    """Train all networks on the same batches; each goes on from where it was stopped."""
    first = min(trainer.progress.step for trainer in trainers)
    for step, batch in numbered_batches(sampler, first, plan.steps, processes=1):
        done = step + 1
        for design, trainer in zip(plan.designs, trainers, strict=True):
            if trainer.progress.step > step:
                continue
            trainer.set_learning_rate(step)
            trainer.step(batch.matched if design.matched else batch.scaled, step)
            if done % SAVE_EVERY_STEPS == 0 or done == plan.steps:
                trainer.save(done)
        if done % LOG_EVERY_STEPS == 0:
            LOGGER.info("%d networks: step %d/%d", len(trainers), done, plan.steps)


def _measured(
    design: Design, trainer: NetworkTrainer, people: str, validation: Validation
) -> list[Row]:
    """Rows of a network and a group of people: one a modality, and one of all."""
    network, encoder = trainer.average, trainer.encoder
    errors = validation.errors(network, encoder)
    if not design.matched:
        scaled = _of_scaled_slices(validation).errors(network, encoder)
        pairs = zip(scaled, errors, strict=True)
        errors = [attrs.evolve(error, curve=matched.curve) for error, matched in pairs]
    common = {
        "design": design.name,
        "parameters": sum(values.numel() for values in network.parameters()),
        "people": people,
    }
    rows: list[Row] = [
        common
        | {
            "modality": error.modality,
            "slices": error.slices,
            "curve": error.curve,
            "network": error.network,
            "ratio": error.network / error.curve,
        }
        for error in errors
    ]
    mean = sum(row["ratio"] for row in rows) / len(rows)
    slices = sum(row["slices"] for row in rows)
    return [*rows, common | {"modality": "all", "slices": slices, "ratio": mean}]


def _of_scaled_slices(validation: Validation) -> Validation:
    """The same slices, without the intensity curve before the network."""
    scaled = copy.copy(validation)
    scaled.slabs = [attrs.evolve(slab, matched=slab.scaled) for slab in validation.slabs]
    return scaled


def main() -> None:
    """Train and measure, and write the table."""
    parser = argparse.ArgumentParser(
        prog="python -m bids_ihf.lab.benchmarks.ablation",
        description=(__doc__ or "").splitlines()[0],
    )
    parser.add_argument("labels", type=Path, metavar="LABELS_DIR", help="label maps")
    parser.add_argument("output", type=Path, metavar="OUT_DIR", help="table, and what is made")
    parser.add_argument(
        "--steps", type=positive_integer, default=TRAINING_STEPS, metavar="N",
        help=f"training steps of each network (default: {TRAINING_STEPS})",
    )  # fmt: skip
    parser.add_argument(
        "--batch", type=positive_integer, default=SLICES_PER_STEP, metavar="N",
        help=f"slices in a step (default: {SLICES_PER_STEP})",
    )  # fmt: skip
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(1)
    plan = AblationPlan(arguments.labels, arguments.output, arguments.steps, arguments.batch)
    table = run_ablation(plan)
    facts = {
        "Command": "python -m bids_ihf.lab.benchmarks.ablation LABELS_DIR OUT_DIR "
        f"--steps {plan.steps} --batch {plan.batch}",
        "Seed": plan.seed,
        "Training": plan.training,
        "Measured": plan.measured,
        "Version": __version__,
    }
    for file, content in table.files("ablation", facts).items():
        write_atomic(plan.output / file, content)
    sys.stdout.write(aligned(table.rows, ("design", "people", "modality", "ratio")))


if __name__ == "__main__":
    main()
