"""The diffusion benchmark on a small phantom: maps, methods, scores, tables."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
from attrs import evolve

pytest.importorskip("dipy")

from bids_ihf.dwi.place_change import MapNetwork, measure_maps
from bids_ihf.dwi.shared_maps import shared_maps
from bids_ihf.errors import BadData
from bids_ihf.io.paths import packaged_file
from bids_ihf.lab.benchmarks.dwi.benchmark import (
    DwiOutcome,
    DwiPlan,
    MapPanel,
    evaluate_diffusion_subject,
)
from bids_ihf.lab.benchmarks.dwi.map_metrics import (
    BY_VOXEL,
    MIN_REGION_VOXELS,
    PRINCIPAL_DIRECTION,
    cubic_regions,
    map_differences,
    region_means,
)
from bids_ihf.lab.benchmarks.dwi.maps import Maps, noddi_fitter, tensor_maps
from bids_ihf.lab.benchmarks.dwi.methods import (
    METHOD_DESCRIPTIONS,
    NO_HARMONIZATION,
    REPEAT_SCAN,
    RISH_METHOD,
    SHELL_MODEL,
    SHELL_MODEL_KNOWN_SCANNER,
    SHELL_MODEL_NETWORK,
    ReferenceSeries,
    harmonize_by_all,
    pool_references,
    reference_series,
)
from bids_ihf.lab.benchmarks.dwi.networks import prepared_series, vendor_networks
from bids_ihf.lab.benchmarks.dwi.results import write_dwi_results
from bids_ihf.lab.benchmarks.dwi.tables import DWI_COLUMNS, aggregate, short_table
from bids_ihf.lab.benchmarks.dwi.traveling_subjects import DiffusionScan, DiffusionSubject
from bids_ihf.lab.benchmarks.virtual_subjects import REPEAT_SUFFIX
from bids_ihf.lab.comparators import rish
from bids_ihf.lab.simulation.anatomy import Anatomy
from bids_ihf.lab.simulation.diffusion_session import start_session
from bids_ihf.lab.simulation.epi_scanner import EpiScanner
from bids_ihf.lab.simulation.gradient_scheme import gradient_table
from bids_ihf.lab.simulation.tissues import SIMULATED_TISSUES, TISSUE_INDEX
from bids_ihf.targets.map_profiles import merge_maps
from bids_ihf.targets.target import BUILTIN_VENDORS
from tests.anat.test_harmonize import tiny_model

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from bids_ihf.lab.benchmarks.tables import Row

GRID_SIDE, VOXEL_MM = 22, 6.0
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

    axis = (np.arange(GRID_SIDE) - (GRID_SIDE - 1) / 2) * VOXEL_MM
    x, y, z = np.meshgrid(axis, axis, axis, indexing="ij")
    radius = np.sqrt(x**2 + y**2 + z**2)
    tissue = np.select([radius < 14, radius < 42, radius < 56], ["csf", "white", "grey"], "air")
    fractions = np.zeros(
        (len(SIMULATED_TISSUES), GRID_SIDE, GRID_SIDE, GRID_SIDE), dtype=np.float32
    )
    for name in ("white", "grey", "csf", "air"):
        fractions[TISSUE_INDEX[name]] = tissue == name
    brain = radius < 56
    texture = torch.zeros((GRID_SIDE, GRID_SIDE, GRID_SIDE))
    anatomy = Anatomy(
        torch.from_numpy(fractions),
        texture,
        np.diag([VOXEL_MM] * 3 + [1.0]),
        torch.from_numpy(brain),
    )
    neural = np.isin(tissue, ["white", "grey"])
    return DiffusionSubject(
        f"p{seed}", anatomy, seed, brain, radius < 50, neural, tissue == "white"
    )


def scans(subject: DiffusionSubject, noise: int) -> dict[str, DiffusionScan]:
    found = {}
    for number, (vendor, scanner) in enumerate(SCANNERS.items()):
        gradients = gradient_table(SHELLS, number)
        session = start_session(subject.anatomy, scanner, subject.seed)
        for k, suffix in enumerate(("", REPEAT_SUFFIX)):
            volumes = np.stack(list(session.volumes(gradients, noise + k)))
            found[vendor + suffix] = DiffusionScan(volumes, gradients)
    return found


@pytest.fixture(scope="module")
def subject() -> DiffusionSubject:
    return traveler(3)


@pytest.fixture(scope="module")
def scanned(subject: DiffusionSubject) -> dict[str, DiffusionScan]:
    return scans(subject, 10)


@pytest.fixture(scope="module")
def references() -> dict[str, ReferenceSeries]:
    """Scans of two other subjects by each scanner."""
    subjects = [traveler(seed) for seed in (1, 2)]
    series = [scans(subject, 20 + subject.seed) for subject in subjects]
    return {
        vendor: pool_references(
            [reference_series(scans[vendor], s) for s, scans in zip(subjects, series, strict=True)]
        )
        for vendor in BUILTIN_VENDORS
    }


def error(found: Maps, truth: Maps, subject: DiffusionSubject, name: str) -> float:
    pairs = dict(map_differences(found, truth, subject.neural, subject.white))
    return float(np.abs(pairs[name]).mean())


def test_tensor_maps_know_free_water_from_fibres(
    subject: DiffusionSubject, scanned: dict[str, DiffusionScan]
) -> None:
    maps = tensor_maps(scanned["Siemens"], subject.brain)
    csf = subject.brain & ~subject.neural
    assert np.median(maps.md[csf]) == pytest.approx(3.0, rel=0.1)
    assert 0.5 < np.median(maps.md[subject.white]) < 0.9
    assert maps.fa[subject.white].mean() > 2 * maps.fa[subject.neural & ~subject.white].mean()
    assert maps.scalars().keys() == {"FA", "MD"}


def test_methods_bring_mean_diffusivity_nearer(
    subject: DiffusionSubject,
    scanned: dict[str, DiffusionScan],
    references: dict[str, ReferenceSeries],
) -> None:
    truth = tensor_maps(scanned["Philips"], subject.neural)
    done = harmonize_by_all(scanned["GE"], subject, references["GE"], references["Philips"])
    assert done.keys() == METHOD_DESCRIPTIONS.keys() - {REPEAT_SCAN, SHELL_MODEL_NETWORK}
    errors = {
        name: error(tensor_maps(scan, subject.neural), truth, subject, "MD")
        for name, scan in done.items()
    }
    assert errors[SHELL_MODEL] < 0.4 * errors[NO_HARMONIZATION]
    assert errors[SHELL_MODEL_KNOWN_SCANNER] < 0.4 * errors[NO_HARMONIZATION]
    assert errors[RISH_METHOD] < 0.6 * errors[NO_HARMONIZATION]
    for scan in done.values():
        assert scan.volumes.min() >= 0


def test_the_network_is_measured_beside_the_shell_model(
    subject: DiffusionSubject,
    scanned: dict[str, DiffusionScan],
    references: dict[str, ReferenceSeries],
) -> None:
    model = tiny_model(identity=False)
    brain, no_bias = subject.brain, np.ones(int(subject.brain.sum()), dtype=np.float32)
    maps = measure_maps(
        shared_maps(scanned["Philips"].fits(brain), no_bias),
        prepared_series(scanned["Philips"], subject),
        *(brain, model.encoder),
    )
    network = MapNetwork(model, merge_maps([maps], [1000.0]))
    done = harmonize_by_all(
        scanned["GE"], subject, references["GE"], references["Philips"], network
    )
    alone, changed = done[SHELL_MODEL].volumes, done[SHELL_MODEL_NETWORK].volumes
    assert np.median(changed[:, brain] / np.maximum(alone[:, brain], 1)) == pytest.approx(
        1, abs=0.1
    )
    assert not np.allclose(changed[:, brain], alone[:, brain], rtol=1e-3)


def test_weights_that_saw_no_diffusion_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bids_ihf.lab.benchmarks.dwi.networks.knows_maps", lambda _: False)
    for name in ("network.safetensors", *(f"target-{v.lower()}.safetensors" for v in SCANNERS)):
        (tmp_path / name).write_bytes(packaged_file(name).read_bytes())
    with pytest.raises(BadData, match="was not trained on diffusion"):
        vendor_networks(tmp_path)


@pytest.fixture(scope="module")
def evaluated(
    subject: DiffusionSubject,
    scanned: dict[str, DiffusionScan],
    references: dict[str, ReferenceSeries],
) -> tuple[list[Row], MapPanel]:
    return evaluate_diffusion_subject(subject, scanned, references, None)


def test_rows_of_a_subject(evaluated: tuple[list[Row], MapPanel]) -> None:
    rows, panel = evaluated
    assert len({(row["source"], row["target"]) for row in rows}) == 6
    names = {"FA", "MD", "FA" + BY_VOXEL, "MD" + BY_VOXEL, PRINCIPAL_DIRECTION}
    assert {row["map"] for row in rows} == names
    methods = set(METHOD_DESCRIPTIONS) - {SHELL_MODEL_NETWORK}  # no network is given
    assert len(rows) == 6 * len(methods) * 5
    assert set(panel.maps) == methods
    over_all = {
        row["method"]: row["mae"]
        for row in aggregate(rows)
        if row["source"] == "all" and row["map"] == "MD"
    }
    assert over_all[SHELL_MODEL] < 0.5 * over_all[NO_HARMONIZATION]
    assert over_all[REPEAT_SCAN] < over_all[NO_HARMONIZATION]


def test_rish_of_one_scanner_changes_little(
    subject: DiffusionSubject,
    scanned: dict[str, DiffusionScan],
    references: dict[str, ReferenceSeries],
) -> None:
    features = references["GE"].features
    same = rish.harmonize(scanned["GE"], subject.brain, features, features, 1.0)
    before, after = (
        volumes[1:][:, subject.white].mean() for volumes in (scanned["GE"].volumes, same)
    )
    assert after / before == pytest.approx(1, abs=0.01)


def rows_of(*values: float) -> Iterator[Row]:
    labels = {"method": NO_HARMONIZATION, "map": "FA"}
    for number, value in enumerate(values):
        subject: Row = {"subject": f"s{number}", **labels, "mae": abs(value)}
        yield {**subject, "source": "GE", "target": "Siemens", "bias": value}
        yield {**subject, "source": "Siemens", "target": "GE", "bias": -value}


def test_bias_over_all_pairs_does_not_cancel() -> None:
    table = aggregate(list(rows_of(0.02, 0.04)))
    (over_all,) = [row for row in table if row["source"] == "all"]
    assert over_all["mae"] == pytest.approx(0.03)
    assert over_all["bias"] == pytest.approx(0.03)
    assert [row["bias"] for row in table if row["source"] == "GE"] == pytest.approx([0.03])


def test_regions_are_cubes_that_hold_enough() -> None:
    mask = np.zeros((8, 8, 8), dtype=bool)
    mask[:4, :4, :4] = True
    mask[4:, 4:, 7] = True
    labels, selected = cubic_regions(mask, MIN_REGION_VOXELS)
    assert len(selected) == 1
    values = np.where(mask, 3.0, 100.0).astype(np.float32)
    assert region_means(values, labels, selected).tolist() == [3.0]


def test_noddi_finds_what_was_put_in(subject: DiffusionSubject) -> None:
    pytest.importorskip("amico")
    from bids_ihf.lab.simulation.microstructure import diffusion_truth

    session = start_session(subject.anatomy, evolve(PLAIN, noise=0.005), subject.seed)
    truth = diffusion_truth(subject.anatomy, session.micro)
    few = np.zeros_like(subject.white)
    few[GRID_SIDE // 2 + 3 : GRID_SIDE // 2 + 6, 8:14, 8:14] = True
    few &= subject.white
    with noddi_fitter() as fitter:
        assert fitter is not None
        for seed in (5, 6):  # what is made for one table must not be used for another
            gradients = gradient_table({0: 2, 1000: 20, 2000: 20}, seed)
            scan = DiffusionScan(np.stack(list(session.volumes(gradients, 1))), gradients)
            maps = fitter.add_to(tensor_maps(scan, few), scan, few)
            assert maps.ndi is not None
            assert maps.odi is not None
            assert abs(np.median(maps.ndi[few] - truth.ndi[few])) < 0.1
            assert abs(np.median(maps.odi[few] - truth.odi[few])) < 0.1


def test_files_of_a_run(evaluated: tuple[list[Row], MapPanel], tmp_path: Path) -> None:
    plan = DwiPlan(tmp_path, ("p3",), ("p1", "p2"))
    table = write_dwi_results(tmp_path, plan, DwiOutcome(*evaluated))
    lines = (tmp_path / "dwi.tsv").read_text().splitlines()
    assert lines[0].split("\t") == ["source", "target", "method", "map", "mae", "bias"]
    assert len(lines) == len(table) + 1
    assert {line.split("\t")[0] for line in lines[1:]} == {*BUILTIN_VENDORS, "all"}
    explained = json.loads((tmp_path / "dwi.json").read_text())
    assert explained["People"] == ["p3"]
    assert set(DWI_COLUMNS) <= set(explained)
    assert explained["method"]["Levels"] == METHOD_DESCRIPTIONS
    assert (tmp_path / "fig-dwi.png").read_bytes()[1:4] == b"PNG"
    assert "shell model" in short_table(table)
