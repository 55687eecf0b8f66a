"""The parts of the benchmark of time and memory."""

from __future__ import annotations

import copy
import io
import os
import sys
import time
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest

from bids_ihf.anat.intensity_matching import IntensityMatched
from bids_ihf.bids.discovery import find_images, list_subjects
from bids_ihf.geometry.grid import Grid
from bids_ihf.lab.benchmarks.speed import machine, table
from bids_ihf.lab.benchmarks.speed.gpu_watch import GpuWatch
from bids_ihf.lab.benchmarks.speed.growth import growth_figure
from bids_ihf.lab.benchmarks.speed.inputs import (
    SLAB_SLICES,
    make_directions,
    make_large_dataset,
    make_slabs,
)
from bids_ihf.lab.benchmarks.speed.network import (
    NetworkCase,
    compare_layouts,
    compare_to_limit,
)
from bids_ihf.lab.benchmarks.speed.processes import ResourceWatch, descendants
from bids_ihf.lab.benchmarks.speed.stages import Stopwatch
from bids_ihf.network.checkpoint import load_model
from bids_ihf.targets.intensity import HISTOGRAM_BINS, IntensityCurve, IntensityScale
from bids_ihf.targets.network_input import NetworkInput
from bids_ihf.targets.profile import Profile

SLICES = np.arange(2, 7)


@pytest.fixture(scope="module")
def case() -> NetworkCase:
    """Slices of noise."""
    shape = (12, 14, 9)
    profile = Profile(
        positions=np.arange(3),
        histograms=np.ones((3, HISTOGRAM_BINS)),
        embeddings=np.zeros((3, 480), dtype=np.float32),
        landmarks=np.full(3, np.nan),
        tissue_histograms=np.zeros((3, HISTOGRAM_BINS)),
        scale=IntensityScale(0.0, 1.0),
    )
    data = np.random.default_rng(0).random(shape, dtype=np.float32)
    on_grid = NetworkInput(data, np.ones_like(data), Grid(shape, np.eye(4)), profile.scale)
    curve = IntensityCurve([-1.0, 1.0], [-1.0, 1.0])
    matched = IntensityMatched(
        on_grid, profile, profile, profile, curve, data, np.ones_like(data), 1.0
    )
    return NetworkCase(matched, SLICES)


@pytest.fixture(scope="module")
def measured(case: NetworkCase) -> dict[str, Any]:
    """Two rounds of the three layouts."""
    return compare_layouts(case, load_model(), rounds=2)


def test_layouts_are_compared_on_the_same_slices(measured: dict[str, Any]) -> None:
    assert measured["slices"] == len(SLICES)
    for name in ("network", "authors_layout", "hierarchyflow_layout"):
        rounds = measured[f"{name}_rounds_s"]
        assert len(rounds) == 2
        assert min(rounds) <= measured[f"{name}_s_per_volume"] <= max(rounds)
    work = [
        measured[f"{name}_gigamultiplyadds_per_volume"]
        for name in ("network", "hierarchyflow_layout", "authors_layout")
    ]
    assert work == sorted(work)
    ratios = [
        theirs / ours
        for theirs, ours in zip(
            measured["authors_layout_rounds_s"], measured["network_rounds_s"], strict=True
        )
    ]
    assert measured["authors_layout_over_network"] == pytest.approx(np.median(ratios))


def test_fraction_of_the_limit(case: NetworkCase) -> None:
    limit = machine.MachineLimit(multiply_adds_per_s=1e9, bytes_per_s=1e9)
    found = compare_to_limit(case, load_model(), 2.0, limit)
    assert found["arithmetic_alone_s"] == pytest.approx(found["network_gigamultiplyadds"])
    assert found["fraction_of_matrix_throughput"] == pytest.approx(found["arithmetic_alone_s"] / 2)
    assert found["fraction_of_memory_bandwidth"] == pytest.approx(
        found["network_gigabytes_moved"] / 2
    )


def results(measured: dict[str, Any]) -> dict[str, Any]:
    """A whole result, the parts that are commands made up."""
    stages = {"n4_s": 11.0, "registration_s": 4.0, "compression_and_writing_s": 0.25}
    cpu = {
        **measured,
        "stages": stages,
        "limit": {
            "network_gigamultiplyadds": 270.0, "matrix_gigamultiplyadds_per_s": 90.0,
            "arithmetic_alone_s": 3.0, "fraction_of_matrix_throughput": 0.5,
            "network_gigabytes_moved": 26.0, "memory_gigabytes_per_s": 10.0,
            "memory_alone_s": 2.6, "fraction_of_memory_bandwidth": 0.43,
        },
        "participant_T1w_s": 24.0, "participant_peak_pss_gib": 1.5,
        "participant_T1w_T2w_dwi_s": 60.0, "starts": {"ihf_harmony_version_s": 0.2},
        "growth": [{"images": 10, "s": 25.0, "peak_pss_gib": 1.25}],
        "growth_by_voxels": [
            {"megavoxels": 1.2, "s": 9.0, "cpu_s": 12.0, "peak_pss_gib": 0.9},
            {"megavoxels": 9.8, "s": 27.0, "cpu_s": 40.0, "peak_pss_gib": 1.7},
        ],
        "growth_by_directions": [
            {"directions": 30, "s": 20.0, "cpu_s": 25.0, "peak_pss_gib": 1.5},
        ],
        "index_people": 1500, "index_all_s": 200.0, "index_one_of_them_s": 2.0,
    }  # fmt: skip
    return {"machine": machine.describe(), "command": "speed.py DEMO", "cpu": cpu}


def test_tables_say_which_goals_are_met(measured: dict[str, Any], tmp_path: Path) -> None:
    found = results(measured)
    text = table.page(found)
    assert "| bias field (N4) and registration | at most 8 s | 15 s | no |" in text
    assert "| participant with a T1w | at most 25 s | 24 s | yes |" in text
    assert "| participant with T1w, T2w, 30 directions | at most 50 s | 60 s | no |" in text
    assert "| 10 | 25 s | 2.50 s | 1.25 GiB |" in text
    assert "| 9.8 | 27.0 s | 40.0 s | 1.70 GiB |" in text
    assert "| 30 | 20.0 s | 25.0 s | 1.50 GiB |" in text
    assert "T1w and T2w of 1,500 subjects: 200 s" in text
    assert "GPU" not in text
    with_gpu = copy.deepcopy(found)
    with_gpu["gpu"] = {
        **measured, "limit": found["cpu"]["limit"], "name": "H200",
        "network_s_per_volume": 0.6, "memory_gib": 0.5, "overlapped_participants": 8,
        "overlapped_participants_s": 61.0, "overlapped_gpu_idle_fraction": 0.75,
    }  # fmt: skip
    text = table.page(with_gpu)
    assert "**H200**" in text
    assert "8 participants in one run: 61 s; the GPU was idle for 75 % of it." in text
    assert "| network, a volume, with transfers | at most 0.5 s | 0.6 s | no |" in text
    page = tmp_path / "page.md"
    page.write_text(f"before\n{table.BEGIN_MARK}\nold\n{table.END_MARK}\nafter\n")
    table.replace_tables(text, page)
    table.replace_tables(text, page)
    assert page.read_text() == f"before\n{table.BEGIN_MARK}\n{text}\n{table.END_MARK}\nafter\n"


def test_page_of_the_docs_has_a_place_for_the_tables() -> None:
    page = Path(__file__).parents[3] / "docs" / "performance.md"
    content = page.read_text(encoding="utf-8")
    assert content.count(table.BEGIN_MARK) == content.count(table.END_MARK) == 1


def test_growth_is_drawn(measured: dict[str, Any]) -> None:
    from PIL import Image

    cpu = results(measured)["cpu"]
    png = growth_figure(cpu)
    with Image.open(io.BytesIO(png)) as image:
        assert image.size == (1100, 320)
    slower = copy.deepcopy(cpu)
    slower["growth_by_voxels"][1]["s"] *= 2
    assert growth_figure(slower) != png
    assert growth_figure(cpu) == png


@pytest.mark.parametrize("count", [3, 9])
def test_series_of_more_or_fewer_directions(tmp_path: Path, count: int) -> None:
    from bids_ihf.bids.gradient_tables import read_gradient_table

    rng = np.random.default_rng(1)
    series = tmp_path / "sub-09_dwi.nii.gz"
    data = rng.integers(0, 1000, (4, 5, 6, 7)).astype(np.int16)
    nibabel.save(nibabel.Nifti1Image(data, np.diag([2.0, 2, 2, 1])), series)
    directions = rng.normal(size=(3, 7))
    directions /= np.linalg.norm(directions, axis=0)
    b_values = np.array([0, 1000, 1000, 1000, 0, 1000, 1000])
    np.savetxt(tmp_path / "sub-09_dwi.bval", b_values[None], fmt="%g")
    np.savetxt(tmp_path / "sub-09_dwi.bvec", directions * (b_values > 0), fmt="%.6f")
    (tmp_path / "sub-09_dwi.json").write_text('{"Manufacturer": "GE"}')
    root = make_directions(tmp_path / "bids", series, count)
    (image,) = find_images(root, "01")
    made = nibabel.load(image.path)
    weighted = [1, 2, 3, 5, 6, 1, 2, 3, 5, 6][:count]
    np.testing.assert_array_equal(made.dataobj, data[..., [0, 4, *weighted]])
    stem = root / "sub-01/dwi/sub-01_dwi"
    files = stem.with_suffix(".bval"), stem.with_suffix(".bvec")
    gradients = read_gradient_table(image.path, *files, volume_count=made.shape[-1])
    assert gradients.bvals.tolist() == [0, 0, *[1000] * count]


def test_slabs_are_the_middle_of_the_brain(tmp_path: Path) -> None:
    data = np.arange(20 * 24 * 22, dtype=np.int16).reshape(20, 24, 22) + 1
    affine = np.array([[-1.0, 0, 0, 9], [0, 0, 1, -5], [0, -1, 0, 30], [0, 0, 0, 1]])
    scan = tmp_path / "sub-01_T1w.nii.gz"
    nibabel.save(nibabel.Nifti1Image(data, affine), scan)
    brain = np.zeros(data.shape, dtype=bool)
    brain[5:15, 8:20, 6:16] = True  # the second axis leads down
    root = make_slabs(tmp_path / "slabs", scan, brain, 2)
    assert list_subjects(root) == ["0001", "0002"]
    slab = nibabel.load(root / "sub-0002/anat/sub-0002_T1w.nii.gz")
    assert slab.shape == (20, 22, SLAB_SLICES)
    values = np.asarray(slab.dataobj)
    inside = values[values > 0]
    assert set(inside.tolist()) <= set(data[brain].tolist())
    index = np.argwhere(values > 0)[0]
    world = slab.affine @ [*index, 1]
    voxel = np.rint(np.linalg.inv(affine) @ world).astype(int)[:3]
    assert data[tuple(voxel)] == values[tuple(index)]


def test_large_dataset_is_found(tmp_path: Path) -> None:
    root = make_large_dataset(tmp_path / "large", 3)
    assert list_subjects(root) == ["0001", "0002", "0003"]
    assert [image.suffix for image in find_images(root, "0002")] == ["T1w", "T2w"]


@pytest.mark.parametrize(("shown", "idle"), [("0\\n90", 1.0), ("40\\n0", 0.0)])
def test_how_long_the_first_gpu_idles(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shown: str, idle: float
) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text(f"#!/bin/sh\nprintf '{shown}\\n'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    with GpuWatch() as watch:
        time.sleep(1)
    assert watch.samples
    assert watch.idle_fraction == idle


def test_without_a_gpu_nothing_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with GpuWatch() as watch:
        time.sleep(0.5)
    assert watch.idle_fraction is None


def test_memory_of_a_command_and_its_children_is_seen(tmp_path: Path) -> None:
    import subprocess

    hold = "import time; x = bytearray(150 * 2**20); time.sleep(1.5)"
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {hold!r}])"
    process = subprocess.Popen([sys.executable, "-c", parent])
    with ResourceWatch(process.pid, tmp_path) as watch:
        assert process.pid in descendants(process.pid)
        process.wait()
    assert 0.14 < watch.memory_gib <= watch.rss_gib < 0.3


def test_stopwatch_keeps_the_middle() -> None:
    waits = iter((0.0, 0.02, 0.3))
    watch = Stopwatch(3)

    def run() -> str:
        import time

        time.sleep(next(waits))
        return "done"

    assert watch("stage", run) == "done"
    assert 0.02 <= watch.seconds["stage_s"] < 0.3
