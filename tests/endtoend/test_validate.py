"""The installed ``ihf validate`` on a part of simulated brains: two people, two scanners."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import nibabel
import numpy as np
import pytest

from bids_ihf.io.tsv import read_tsv
from tests.endtoend.conftest import ZOOM, command

BOX_MM = ((-44, 44), (-64, 24), (0, 25))
"""Part of the head inside the brain, RAS: quick to measure, and all of it counts as brain."""


@pytest.fixture(scope="module")
def travelers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A part of the brain of two people on two scanners."""
    folder = tmp_path_factory.mktemp("travelers")
    words = ("--subjects", "2", "--zoom", str(ZOOM), "--modalities", "T1w")
    done = command("ihf", "demo-data", folder / "bids", *words)
    assert done.code == 0, done.err
    for session in (folder / "bids").glob("sub-*/ses-philips"):
        shutil.rmtree(session)
    for path in (folder / "bids").glob("sub-*/ses-*/anat/*_T1w.nii.gz"):
        image = nibabel.load(path)
        data = np.asarray(image.dataobj)
        voxels = np.indices(data.shape).reshape(3, -1)
        world = image.affine[:3, :3] @ voxels + image.affine[:3, 3:]
        inside = np.ones(data.size, dtype=bool)
        for axis, (low, high) in zip(world, BOX_MM, strict=True):
            inside &= (axis > low) & (axis < high)
        cut = np.where(inside.reshape(data.shape), data, 0).astype(data.dtype)
        nibabel.save(nibabel.Nifti1Image(cut, image.affine), path)
    return folder / "bids"


def test_two_people_on_two_scanners(travelers: Path, tmp_path: Path) -> None:
    table = tmp_path / "volumes.tsv"
    names = [p.name for p in sorted(travelers.glob("sub-*/ses-*/anat/*_T1w.nii.gz"))]
    lines = [f"{name}\t{8000 + 10 * index}" for index, name in enumerate(names)]
    table.write_text("\n".join(["filename\thippocampus", *lines]) + "\n")
    before = {path: path.read_bytes() for path in travelers.rglob("*") if path.is_file()}
    words = ("--preprocessed", "--n-procs", "1", "--device", "cpu", "--atropos")
    volumes = ("--volumes-before", table, "--volumes-after", table)
    done = command(
        "ihf", "validate", travelers, tmp_path / "out", *words, *volumes, "--write-images"
    )
    assert done.code == 0, done.err
    assert done.out == f"{tmp_path / 'out' / 'validation.html'}\n"
    assert {path: path.read_bytes() for path in travelers.rglob("*") if path.is_file()} == before

    images = sorted((tmp_path / "out/harmonized").glob("sub-*/ses-*/anat/*_T1w.nii.gz"))
    assert len(images) == len(names) == 4
    name = images[0].name.replace("_desc-harmonized", "")
    (source,) = travelers.rglob(name)
    harmonized, original = nibabel.load(images[0]), nibabel.load(source)
    assert (harmonized.affine == original.affine).all()
    assert not np.array_equal(np.asarray(harmonized.dataobj), np.asarray(original.dataobj))
    sidecar = json.loads(images[0].with_name(images[0].name.replace("nii.gz", "json")).read_text())
    assert sidecar["HarmonizationTarget"].startswith("GE")

    _, volumes_table = read_tsv(tmp_path / "out/validation_volumes.tsv")
    rows = {(r["tool"], r["structure"], r["method"]): r for r in volumes_table}
    assert {tool for tool, _, _ in rows} >= {"Atropos", "volumes"}
    same = rows["volumes", "hippocampus", "ihf-harmony"]
    assert (same["avdp_change"], same["verdict"]) == ("0", "no clear difference")
    assert same["people"] == "2"
    _, pairs = read_tsv(tmp_path / "out/validation_pairs.tsv")
    assert {row["method"] for row in pairs} == {"untouched", "histogram matching", "ihf-harmony"}
    assert len(pairs) == 2 * 3
    assert all(0 < float(row["rmse"]) < 0.5 for row in pairs)
    assert {row["source_scanner"] != row["target_scanner"] for row in pairs} == {True}
    _, probes = read_tsv(tmp_path / "out/validation_probes.tsv")
    assert {row["features"] for row in probes} >= {"appearance", "histogram"}
    page = (tmp_path / "out/validation.html").read_text()
    assert "only large effects can be told from chance" in page


def test_nobody_on_two_scanners(travelers: Path, tmp_path: Path) -> None:
    words = ("--participant-label", "01")
    done = command("ihf", "validate", travelers, tmp_path / "out", *words)
    assert done.code == 18
    assert "1 of 1 people were scanned on two scanners" in done.last
    assert not (tmp_path / "out").exists()
