"""A target scanner that is known from some slices of one scan, as a NIfTI reference gives it.

Two off-range scanners and one vendor's take turns as source and target, on people that training
has not seen; no vendor is told, and no vendor's target is used.  The reference is a slab of the
target's scan, either of the same person, below the slices that are measured, or of another person.

T1w.  Usage: python -m bids_ihf.lab.benchmarks.slab LABELS_DIR OUT_DIR [PERSON ...]
"""

from __future__ import annotations

import sys
from concurrent.futures import ProcessPoolExecutor
from itertools import permutations
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np

from bids_ihf.bids.sidecars import write_json
from bids_ihf.geometry.grid import Grid
from bids_ihf.io.atomic import write_atomic
from bids_ihf.lab.benchmarks.vendors.methods import CURVE, MATCHED, NONE, SHIPPED, run_networks
from bids_ihf.lab.benchmarks.vendors.plan import PEOPLE, REFERENCES
from bids_ihf.lab.benchmarks.vendors.results import CONVENTION
from bids_ihf.lab.benchmarks.vendors.scores import scores
from bids_ihf.lab.benchmarks.vendors.tables import to_tsv
from bids_ihf.lab.benchmarks.vendors.worker import start_worker
from bids_ihf.lab.benchmarks.virtual_subjects import (
    OFF_RANGE,
    cut,
    load_test_subject,
    off_range_scanners,
    seed_of,
    vendor_scanners,
)
from bids_ihf.lab.comparators.baselines import histogram_matching
from bids_ihf.lab.simulation.virtual_subject import scan_subject
from bids_ihf.network.checkpoint import load_model
from bids_ihf.pipeline.process import set_up_process
from bids_ihf.targets.intensity import robust_scale
from bids_ihf.targets.network_input import NetworkInput, measure_profile

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bids_ihf.lab.benchmarks.table import Row
    from bids_ihf.lab.benchmarks.virtual_subjects import Slices

SEED = 1
VENDOR = "GE"
SLAB = (-10.0, 50.0)
"""Axial template coordinates, mm, of the source and of another person's reference."""
BELOW = (-10.0, 26.0)
"""Those of the same person's reference."""
MEASURED = (26.0, 50.0)
MEASURES = ("rmse", "psnr", "ms_ssim")
METHODS = (NONE, MATCHED, CURVE, SHIPPED)
SAME, OTHER = "the same person, slices below", "another person"


def between(scan: NetworkInput, low: float, high: float) -> NetworkInput:
    """The slab of a scan between two axial template coordinates, mm."""
    chosen = np.flatnonzero((scan.z >= low) & (scan.z < high))
    data, mask = (np.ascontiguousarray(part[:, :, chosen]) for part in (scan.data, scan.mask))
    affine = scan.grid.affine.copy()
    affine[2, 3] = scan.z[chosen[0]]
    grid = Grid(data.shape, affine)
    return NetworkInput(data, mask, grid, robust_scale(data, mask > 0.5))


def scans_of(
    labels: Path, person: str, modality: Any, seed: int, scanners_of: str
) -> dict[str, NetworkInput]:
    """A person by the three scanners that ``scanners_of`` visits."""
    subject = load_test_subject(labels / f"{person}_dseg.nii.gz", person, seed)
    scanners = off_range_scanners(scanners_of, modality, seed)
    scanners[VENDOR] = vendor_scanners(person, modality, seed)[VENDOR]
    return {
        name: scan_subject(subject, scanner, seed_of(seed, person, modality, name, "noise"))
        for name, scanner in scanners.items()
    }


def upper(image: NDArray[Any], frame: Slices) -> NDArray[Any]:
    """Of slices (X, Y, S), those that are measured."""
    return image[:, :, (frame.z >= MEASURED[0]) & (frame.z < MEASURED[1])]


def measure(labels: Path, person: str, modality: Any, seed: int) -> list[Row]:
    """Rows of MEASURES for every pair of scanners, reference and method."""
    own = scans_of(labels, person, modality, seed, person)
    other = scans_of(labels, REFERENCES[0], modality, seed, person)
    models = {SHIPPED: load_model()}
    rows: list[Row] = []
    for source, target in permutations([*OFF_RANGE, VENDOR], 2):
        scan, true = between(own[source], *SLAB), cut(between(own[target], *SLAB))
        plain = cut(scan)
        truth = attrs.evolve(true, data=upper(true.data, true), mask=upper(true.mask, true))
        references = {SAME: between(own[target], *BELOW), OTHER: between(other[target], *SLAB)}
        for kind, reference in references.items():
            profile = measure_profile(reference, models[SHIPPED].encoder)
            images = {NONE: plain.data, **run_networks(scan, profile, models)}
            images[MATCHED] = histogram_matching(
                plain.data, plain.mask, reference.data, reference.brain
            )
            about = {"subject": person, "modality": modality, "source": source, "target": target}
            for method in METHODS:
                found = scores(upper(images[method], true), truth)
                rows.append({**about, "reference": kind, "method": method, **found})
    return rows


def summary(rows: list[Row]) -> list[Row]:
    """Medians over people of their means over pairs, and in how many pairs a method is nearer than
    histogram matching."""
    out = []
    keys = dict.fromkeys((r["modality"], r["reference"], r["method"]) for r in rows)
    for modality, reference, method in keys:
        own = [r for r in rows if (r["modality"], r["reference"]) == (modality, reference)]
        mine = [r for r in own if r["method"] == method]
        matched = [r for r in own if r["method"] == MATCHED]
        people = list(dict.fromkeys(r["subject"] for r in mine))
        line: Row = {"modality": modality, "reference": reference, "method": method}
        line |= {"subjects": len(people), "pairs": len(mine)}
        for name in MEASURES:
            means = [np.mean([r[name] for r in mine if r["subject"] == who]) for who in people]
            line[name] = float(np.median(means))
        nearer = [a["rmse"] < b["rmse"] for a, b in zip(mine, matched, strict=True)]
        out.append(line | {"nearer": int(sum(nearer))})
    return out


def main(labels: Path, out: Path, *people: str) -> None:
    """Measure the people, two at a time, and write OUT_DIR/slab.tsv and slab_subjects.tsv."""
    set_up_process(1, 0)
    tasks = [(labels, person, "T1w", SEED) for person in people or PEOPLE]
    with ProcessPoolExecutor(2, mp_context=get_context("spawn"), initializer=start_worker) as pool:
        rows = [row for found in pool.map(measure, *zip(*tasks, strict=True)) for row in found]
    where = ("subject", "modality", "source", "target", "reference", "method")
    write_atomic(out / "slab_subjects.tsv", to_tsv(rows, (*where, *MEASURES)))
    table = summary(rows)
    write_atomic(out / "slab.tsv", to_tsv(table, tuple(table[0])))
    about = {
        "Command": " ".join(
            ["python -m bids_ihf.lab.benchmarks.slab LABELS_DIR OUT_DIR", *people]
        ),
        "Convention": CONVENTION,
        "Seed": SEED,
        "nearer": {"Description": "Pairs whose RMSE is below that of histogram matching"},
    }
    write_json(out / "slab.json", about)
    sys.stdout.write((out / "slab.tsv").read_text())


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:])
