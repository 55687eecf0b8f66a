"""Does the content code of MURD tell sites apart?  A linear read-out on people left out.

Scans slabs of the people of a training by each vendor's typical scanner, and reads the site out of
the channel means and deviations of the content code in the brain.

Usage: python -m bids_ihf.lab.benchmarks.content_readout CONFIG.toml [--slabs N]
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from attrs import frozen

from bids_ihf.errors import UsageError
from bids_ihf.lab.benchmarks.tables import aligned
from bids_ihf.lab.comparators.learned.murd import MURD
from bids_ihf.lab.comparators.learned.scan import NO_SIGNAL
from bids_ihf.lab.comparators.learned.weights import load_comparator
from bids_ihf.lab.simulation.vendor_scanners import typical_scanner
from bids_ihf.lab.training.slab_rows import stacked
from bids_ihf.lab.training.slab_scans import random_slab, scan_slab
from bids_ihf.lab.training.template_subjects import template_subjects
from bids_ihf.lab.training.training_config import read_config
from bids_ihf.network.checkpoint import load_encoder
from bids_ihf.network.statistics import channel_statistics
from bids_ihf.qc.readout import read_out
from bids_ihf.targets.target import BUILTIN_VENDORS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from bids_ihf.bids.names import Modality
    from bids_ihf.lab.benchmarks.tables import Row
    from bids_ihf.lab.training.template_subjects import TemplateSubject
    from bids_ihf.qc.readout import ReadOut

SLABS_PER_PERSON = 2

PERMUTATION_COUNT = 100
"""Permutations of the sites, whose 95th percentile of accuracies is reported."""


@frozen(eq=False)
class SlabCode:
    """Statistics of a slab of a person by a vendor: of the slices, and of their content code."""

    person: str
    vendor: str
    image: NDArray[np.float32]
    content: NDArray[np.float32]


def slab_codes(
    model: MURD, people: Sequence[TemplateSubject], modality: Modality, slabs: int
) -> Iterator[SlabCode]:
    """The same slabs of every person by every vendor's typical scanner."""
    model.eval()
    for person in people:
        rng = np.random.default_rng([person.seed, 11])
        for _ in range(slabs):
            slab = random_slab(person, rng)
            mask = person.brain_mask(slab.first - 1, slab.stop + 1)
            for vendor in BUILTIN_VENDORS:
                noise = int(rng.integers(2**31))
                data, _ = scan_slab(person, slab, typical_scanner(vendor, modality, noise), noise)
                bare = np.where(mask > 0.5, data, np.float32(NO_SIGNAL))
                index = np.arange(slab.stop - slab.first)
                stack = torch.from_numpy(stacked(bare, index))
                brain = torch.from_numpy(mask[index + 1, None])
                with torch.inference_mode():
                    content = model.content(stack, brain)
                yield SlabCode(
                    person.name, vendor, _statistics(stack, brain), _statistics(content, brain)
                )


def _statistics(maps: torch.Tensor, mask: torch.Tensor) -> NDArray[np.float32]:
    """Channel means and deviations in the brain, averaged over slices, (2 C,)."""
    pooled = [value.flatten(1).mean(dim=0) for value in channel_statistics(maps, mask)]
    return np.asarray(torch.cat(pooled).numpy())


def read_sites(codes: Sequence[SlabCode]) -> dict[str, ReadOut]:
    """How well image and content code tell the sites apart, on people left out."""
    sites, people = (np.array([getattr(c, name) for c in codes]) for name in ("vendor", "person"))
    return {
        name: read_out(
            np.stack([getattr(code, name) for code in codes]),
            sites,
            people,
            permutations=PERMUTATION_COUNT,
        )
        for name in ("image", "content")
    }


def readout_rows(config_path: Path, slabs: int = SLABS_PER_PERSON) -> list[Row]:
    """A row for each modality, and for image and content code.

    Raises
    ------
    UsageError
        The configuration is of another comparator.
    """
    config = read_config(config_path)
    if config.comparator is None or config.comparator.kind != "murd":
        raise UsageError(f'{config_path}: has no [comparator] of kind "murd", which has a code.')
    encoder, digest = load_encoder()
    loaded = load_comparator(config.output / "comparator.safetensors", encoder, digest)
    if not isinstance(loaded.model, MURD):
        raise UsageError(f"{config.output}: holds another comparator; train it.")
    names = (*config.data.people, *config.data.validation)
    people = template_subjects(config.data.people_file, config.data.pool, names)
    rows: list[Row] = []
    for modality in config.data.anatomical:
        codes = list(slab_codes(loaded.model, people, modality, slabs))
        for name, result in read_sites(codes).items():
            rows.append(
                {
                    "modality": modality, "read_from": name, "slabs": len(codes),
                    "accuracy": result.accuracy, "chance": result.chance,
                    "permuted": result.permuted,
                }
            )  # fmt: skip
    return rows


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        prog="python -m bids_ihf.lab.benchmarks.content_readout",
        description=(__doc__ or "").splitlines()[0],
    )
    parser.add_argument("config", type=Path, metavar="CONFIG.toml")
    parser.add_argument("--slabs", type=int, default=SLABS_PER_PERSON, metavar="N")
    arguments = parser.parse_args()
    rows = readout_rows(arguments.config, arguments.slabs)
    columns = ("modality", "read_from", "slabs", "accuracy", "chance", "permuted")
    sys.stdout.write(aligned(rows, columns))


if __name__ == "__main__":
    main()
