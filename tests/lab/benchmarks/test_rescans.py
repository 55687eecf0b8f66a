"""Rescans of one person: a phantom by two scanners, one of them twice in a session."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

pytest.importorskip("dipy")

from bids_ihf.geometry.grid import Grid
from bids_ihf.io.nifti import read_volume
from bids_ihf.lab.benchmarks.dwi import rescans
from bids_ihf.lab.benchmarks.dwi.methods import (
    NO_HARMONIZATION,
    SHELL_MODEL,
    SHELL_MODEL_KNOWN_SCANNER,
    SHELL_MODEL_VENDOR_UNKNOWN,
)
from bids_ihf.lab.benchmarks.dwi.rescan_alignment import halfway_grid, rigid_map
from bids_ihf.lab.simulation.diffusion_session import start_session
from bids_ihf.lab.simulation.gradient_scheme import fsl_text, gradient_table
from bids_ihf.preprocessing.prepare import Prepared
from tests.lab.benchmarks.test_dwi import GRID_SIDE, SCANNERS, VOXEL_MM, traveler

if TYPE_CHECKING:
    from pathlib import Path

    from bids_ihf.pipeline.image_files import ImageFiles

SHELLS: dict[float, int] = {0: 2, 2000: 20}
SERIES = {"ses-1": {"run-1": "Siemens", "run-2": "Siemens"}, "ses-2": {"run-1": "GE"}}
AFFINE = np.diag([VOXEL_MM, VOXEL_MM, VOXEL_MM, 1.0])


@pytest.fixture
def dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A person in three series; their brain masks need not be searched for."""
    subject = traveler(3)
    root = tmp_path / "bids"
    for session, runs in SERIES.items():
        folder = root / f"sub-01/{session}/dwi"
        folder.mkdir(parents=True)
        for number, (run, scanner) in enumerate(runs.items()):
            stem = folder / f"sub-01_{session}_{run}_dwi"
            gradients = gradient_table(SHELLS, number)
            scan = start_session(subject.anatomy, SCANNERS[scanner], subject.seed)
            volumes = np.stack(list(scan.volumes(gradients, 7 + number)), axis=-1)
            nib.save(nib.Nifti1Image(volumes.astype(np.int16), AFFINE), f"{stem}.nii.gz")
            for kind, content in zip(("bval", "bvec"), fsl_text(gradients), strict=True):
                stem.with_name(f"{stem.name}.{kind}").write_bytes(content)
            vendor = {"Manufacturer": "Siemens" if session == "ses-1" else "Canon"}
            stem.with_name(f"{stem.name}.json").write_text(json.dumps(vendor))

    def prepared(files: ImageFiles, folder: Path, *, preprocessed: bool) -> Prepared:
        image = nib.Nifti1Image.from_filename(files.image)
        path = folder / "b0.nii"
        nib.save(nib.Nifti1Image(image.get_fdata(dtype=np.float32)[..., 0], AFFINE), path)
        volume = read_volume(path)
        ones = np.ones_like(volume.data)
        return Prepared(volume, ones, subject.brain, None, preprocessed, np.eye(4), None)

    monkeypatch.setattr(rescans, "prepare_files", prepared)
    return root


def test_what_the_scanner_changed_is_undone(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rescans.main([str(dataset), "-o", str(tmp_path / "out")])
    text = (tmp_path / "out/rescans.tsv").read_text().splitlines()
    names = text[0].split("\t")
    assert names == list(rescans.RESCAN_COLUMNS)
    rows = [dict(zip(names, line.split("\t"), strict=True)) for line in text[1:]]
    described = json.loads((tmp_path / "out/rescans.json").read_text())
    assert set(names) <= described.keys()

    def errors(sessions: str) -> dict[str, float]:
        return {
            row["method"]: float(row["mae"])
            for row in rows
            if (row["source"], row["sessions"], row["map"]) == ("all", sessions, "MD")
        }

    within, across = errors(rescans.SAME_SESSION), errors(rescans.BETWEEN_SESSIONS)
    assert across[NO_HARMONIZATION] > 2 * within[NO_HARMONIZATION]
    for method in (SHELL_MODEL_VENDOR_UNKNOWN, SHELL_MODEL_KNOWN_SCANNER):
        assert across[method] < 0.5 * across[NO_HARMONIZATION]
        assert within[method] < 1.5 * within[NO_HARMONIZATION]
    # Only Siemens has a typical profile.
    sources = {row["source"] for row in rows if row["method"] == SHELL_MODEL}
    assert sources == {"ses-1_run-1", "ses-1_run-2", "all"}
    assert (tmp_path / "out/fig-rescans.png").read_bytes()[1:4] == b"PNG"
    assert "between sessions" in capsys.readouterr().out


def test_both_series_are_interpolated_alike() -> None:
    shape = (GRID_SIDE, GRID_SIDE, GRID_SIDE)
    turn = np.eye(4)
    angle = np.radians(20)
    turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    shift = np.eye(4)
    shift[:3, 3] = 4.0, -2.0, 7.0
    source, target = Grid(shape, shift @ turn @ AFFINE), Grid(shape, AFFINE)
    halfway = halfway_grid(source, target, np.eye(4))
    steps = [np.linalg.inv(grid.affine) @ halfway.affine for grid in (source, target)]
    np.testing.assert_allclose(steps[0] @ steps[1], np.eye(4), atol=1e-9)
    mirrored = Grid(shape, AFFINE @ np.diag([-1.0, 1, 1, 1]))
    assert halfway_grid(mirrored, target, np.eye(4)) is target


def test_a_moved_series_is_found(dataset: Path) -> None:
    (first, *_others) = rescans.load_series(dataset, "01")
    affine = AFFINE.copy()
    affine[:3, 3] = 9.0, -5.0, 4.0  # the header alone says that the head has moved
    volume = first.prepared.volume
    data = ndimage.shift(volume.data, (1.0, 0.0, 0.0), order=1)
    moved = Prepared(
        type(volume)(data, affine, volume.header, volume.path),
        *(first.prepared.bias, first.prepared.mask, None, False, np.eye(4), None),
    )
    to_source = rigid_map(first.prepared, moved)
    np.testing.assert_allclose(to_source[:3, 3], [-15.0, 5.0, -4.0], atol=1.0)
    np.testing.assert_allclose(to_source[:3, :3], np.eye(3), atol=0.03)
