"""The diffusion benchmark on a small phantom: maps, methods, scores, tables."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
from attrs import evolve

pytest.importorskip("dipy")

from bids_ihf.lab.benchmarks.dwi import benchmark as dwi_benchmark
from bids_ihf.lab.benchmarks.dwi.benchmark import (
    DwiOutcome,
    DwiPlan,
    DwiRow,
    aggregate,
    measure_person,
)
from bids_ihf.lab.benchmarks.dwi.maps import Maps, tensor_maps
from bids_ihf.lab.benchmarks.dwi.methods import (
    DESCRIPTIONS,
    KNOWN,
    NONE,
    OURS,
    REPEAT,
    Knowledge,
    pool,
    results,
    sample,
)
from bids_ihf.lab.benchmarks.dwi.results import short_text, write_dwi_results
from bids_ihf.lab.benchmarks.dwi.scores import DIRECTION, VOXELS, region_means, regions, score
from bids_ihf.lab.benchmarks.dwi.travelers import AGAIN, DiffusionSubject, Scan
from bids_ihf.lab.comparators import rish as dwi_rish
from bids_ihf.lab.simulation.anatomy import Anatomy
from bids_ihf.lab.simulation.diffusion_session import start_session
from bids_ihf.lab.simulation.epi_scanner import EpiScanner
from bids_ihf.lab.simulation.gradient_scheme import gradient_table
from bids_ihf.lab.simulation.tissues import SIMULATED_TISSUES, TISSUE_INDEX
from bids_ihf.targets.target import BUILTIN_VENDORS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SIDE, ZOOM = 22, 6.0
SHELLS: dict[float, int] = {0: 2, 1000: 20}
# Without blur, distortion or bias: what is left is what the methods are for.
PLAIN = EpiScanner(
    "Siemens", 0.085, 4.0, psf=(0.0, 0.0, 0.0), noise=0.01, receive_bias=0.0, receive_edge=0.0
)
SCANNERS = {
    "Siemens": PLAIN,
    "GE": evolve(PLAIN, vendor="GE", b_scale=0.92, units=1500.0),
    "Philips": evolve(PLAIN, vendor="Philips", b_scale=1.06, units=900.0),
}


def traveler(seed: int) -> DiffusionSubject:
    import torch

    axis = (np.arange(SIDE) - (SIDE - 1) / 2) * ZOOM
    x, y, z = np.meshgrid(axis, axis, axis, indexing="ij")
    radius = np.sqrt(x**2 + y**2 + z**2)
    kind = np.select([radius < 14, radius < 42, radius < 56], ["csf", "white", "grey"], "air")
    fractions = np.zeros((len(SIMULATED_TISSUES), SIDE, SIDE, SIDE), dtype=np.float32)
    for name in ("white", "grey", "csf", "air"):
        fractions[TISSUE_INDEX[name]] = kind == name
    brain = radius < 56
    texture = torch.zeros((SIDE, SIDE, SIDE))
    anatomy = Anatomy(
        torch.from_numpy(fractions), texture, np.diag([ZOOM] * 3 + [1.0]), torch.from_numpy(brain)
    )
    neural = np.isin(kind, ["white", "grey"])
    return DiffusionSubject(f"p{seed}", anatomy, seed, brain, radius < 50, neural, kind == "white")


def scans(person: DiffusionSubject, noise: int) -> dict[str, Scan]:
    found = {}
    for number, (vendor, scanner) in enumerate(SCANNERS.items()):
        gradients = gradient_table(SHELLS, number)
        lying = start_session(person.anatomy, scanner, person.seed)
        for k, end in enumerate(("", AGAIN)):
            volumes = np.stack(list(lying.volumes(gradients, noise + k)))
            found[vendor + end] = Scan(volumes, gradients)
    return found


@pytest.fixture(scope="module")
def person() -> DiffusionSubject:
    return traveler(3)


@pytest.fixture(scope="module")
def own(person: DiffusionSubject) -> dict[str, Scan]:
    return scans(person, 10)


@pytest.fixture(scope="module")
def known() -> dict[str, Knowledge]:
    """What two other people's scans tell of each scanner."""
    people = [traveler(seed) for seed in (1, 2)]
    taken = [scans(person, 20 + person.seed) for person in people]
    return {
        vendor: pool([sample(t[vendor], p) for t, p in zip(taken, people, strict=True)])
        for vendor in BUILTIN_VENDORS
    }


def error(found: Maps, truth: Maps, person: DiffusionSubject, name: str) -> float:
    pairs = dict(score(found, truth, person.neural, person.white))
    return float(np.abs(pairs[name]).mean())


def test_tensor_maps_know_free_water_from_fibres(
    person: DiffusionSubject, own: dict[str, Scan]
) -> None:
    maps = tensor_maps(own["Siemens"], person.brain)
    csf = person.brain & ~person.neural
    assert np.median(maps.md[csf]) == pytest.approx(3.0, rel=0.1)
    assert 0.5 < np.median(maps.md[person.white]) < 0.9
    assert maps.fa[person.white].mean() > 2 * maps.fa[person.neural & ~person.white].mean()
    assert maps.named().keys() == {"FA", "MD"}


def test_methods_bring_mean_diffusivity_nearer(
    person: DiffusionSubject, own: dict[str, Scan], known: dict[str, Knowledge]
) -> None:
    truth = tensor_maps(own["Philips"], person.neural)
    done = results(own["GE"], person, known["GE"], known["Philips"])
    assert done.keys() == DESCRIPTIONS.keys() - {REPEAT}
    errors = {
        name: error(tensor_maps(scan, person.neural), truth, person, "MD")
        for name, scan in done.items()
    }
    assert errors[OURS] < 0.4 * errors[NONE]
    assert errors[KNOWN] < 0.4 * errors[NONE]
    assert errors["RISH"] < 0.6 * errors[NONE]
    for scan in done.values():
        assert scan.volumes.min() >= 0


def test_rows_of_a_person(
    person: DiffusionSubject, own: dict[str, Scan], known: dict[str, Knowledge]
) -> None:
    looks: list[dwi_benchmark.DwiLook] = []
    rows = list(measure_person(person, own, known, None, looks))
    assert len({(row.source, row.target) for row in rows}) == 6
    assert {row.map for row in rows} == {"FA", "MD", "FA" + VOXELS, "MD" + VOXELS, DIRECTION}
    assert len(rows) == 6 * len(DESCRIPTIONS) * 5
    (look,) = looks
    assert set(look.found) == set(DESCRIPTIONS)
    table = aggregate(rows)
    own_all = {r.method: r for r in table if r.source == "all" and r.map == "MD"}
    assert own_all[OURS].mae < 0.5 * own_all[NONE].mae
    assert own_all[REPEAT].mae < own_all[NONE].mae


def test_rish_of_one_scanner_changes_little(
    person: DiffusionSubject, own: dict[str, Scan], known: dict[str, Knowledge]
) -> None:
    features = known["GE"].features
    same = dwi_rish.scaled(own["GE"], person, features, features, {0: 1.0})
    ratio = same[1:][:, person.white].mean() / own["GE"].volumes[1:][:, person.white].mean()
    assert ratio == pytest.approx(1, abs=0.01)


def rows_of(*values: float) -> Iterator[DwiRow]:
    for number, value in enumerate(values):
        yield DwiRow(f"s{number}", "GE", "Siemens", NONE, "FA", abs(value), value)
        yield DwiRow(f"s{number}", "Siemens", "GE", NONE, "FA", abs(value), -value)


def test_bias_of_all_does_not_cancel() -> None:
    table = aggregate(list(rows_of(0.02, 0.04)))
    (everything,) = [row for row in table if row.source == "all"]
    assert everything.mae == pytest.approx(0.03)
    assert everything.bias == pytest.approx(0.03)
    assert [row.bias for row in table if row.source == "GE"] == pytest.approx([0.03])


def test_regions_are_cubes_that_hold_enough() -> None:
    mask = np.zeros((8, 8, 8), dtype=bool)
    mask[:4, :4, :4] = True
    mask[4:, 4:, 7] = True
    labels, kept = regions(mask)
    assert len(kept) == 1
    values = np.where(mask, 3.0, 100.0).astype(np.float32)
    assert region_means(values, labels, kept).tolist() == [3.0]


def test_noddi_finds_what_was_put_in(person: DiffusionSubject) -> None:
    pytest.importorskip("amico")
    from bids_ihf.lab.benchmarks.dwi.maps import noddi
    from bids_ihf.lab.simulation.microstructure import diffusion_truth

    lying = start_session(person.anatomy, evolve(PLAIN, noise=0.005), person.seed)
    known = diffusion_truth(person.anatomy, lying.micro)
    few = np.zeros_like(person.white)
    few[SIDE // 2 + 3 : SIDE // 2 + 6, 8:14, 8:14] = True
    few &= person.white
    with noddi() as fitter:
        assert fitter is not None
        for seed in (5, 6):  # what is made for one table must not be used for another
            gradients = gradient_table({0: 2, 1000: 20, 2000: 20}, seed)
            scan = Scan(np.stack(list(lying.volumes(gradients, 1))), gradients)
            maps = fitter.add_to(tensor_maps(scan, few), scan, few)
            assert maps.ndi is not None
            assert maps.odi is not None
            assert abs(np.median(maps.ndi[few] - known.ndi[few])) < 0.1
            assert abs(np.median(maps.odi[few] - known.odi[few])) < 0.1


def test_files_of_a_run(
    person: DiffusionSubject, own: dict[str, Scan], known: dict[str, Knowledge], tmp_path: Path
) -> None:
    looks: list[dwi_benchmark.DwiLook] = []
    rows = tuple(measure_person(person, own, known, None, looks))
    plan = DwiPlan(tmp_path, ("p3",), ("p1", "p2"))
    table = write_dwi_results(tmp_path, plan, DwiOutcome(rows, looks[0]))
    lines = (tmp_path / "dwi.tsv").read_text().splitlines()
    assert lines[0].split("\t") == ["source", "target", "method", "map", "mae", "bias"]
    assert len(lines) == len(table) + 1
    assert {line.split("\t")[0] for line in lines[1:]} == {*BUILTIN_VENDORS, "all"}
    assert json.loads((tmp_path / "dwi.json").read_text())["People"] == ["p3"]
    assert (tmp_path / "fig-dwi.png").read_bytes()[1:4] == b"PNG"
    assert "shell model" in short_text(table)
