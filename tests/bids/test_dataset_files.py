from __future__ import annotations

import json
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from bids_ihf.bids.dataset_files import initialize_output, write_dataset_description
from bids_ihf.bids.images import SourceImage, gradient_table_paths, output_paths, sidecar_path
from bids_ihf.bids.scans_table import MEASURE_COLUMNS, update_scans_table
from bids_ihf.bids.sidecars import derivative_sidecar, mask_sidecar, write_json
from bids_ihf.bids.validation import find_validator
from bids_ihf.io.atomic import write_atomic
from bids_ihf.version import __version__


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    root = tmp_path / "raw data"
    root.mkdir()
    content = {"Name": "Two scanners", "BIDSVersion": "1.9.0", "License": "CC0"}
    (root / "dataset_description.json").write_text(
        json.dumps(content | {"DatasetDOI": "doi:10.1/abc"})
    )
    return root


def describe(out: Path, raw: Path) -> dict[str, Any]:
    write_dataset_description(out, raw)
    content = json.loads((out / "dataset_description.json").read_text())
    assert isinstance(content, dict)
    return content


def test_description(tmp_path: Path, raw: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for key, value in {"TYPE": "docker", "TAG": "ihf:1", "URI": ""}.items():
        monkeypatch.setenv(f"IHF_CONTAINER_{key}", value)
    content = describe(tmp_path / "out", raw)
    assert content["DatasetType"] == "derivative"
    assert content["License"] == "CC0"
    assert content["SourceDatasets"] == [{"DOI": "doi:10.1/abc"}]
    links = {"raw": (tmp_path / "raw%20data").as_uri().replace("%2520", "%20")}
    assert content["DatasetLinks"] == links
    assert "Two scanners" in str(content["Name"])
    (generator,) = content["GeneratedBy"]
    assert (generator["Name"], generator["Version"]) == ("ihf-harmony", __version__)
    assert generator["Container"] == {"Type": "docker", "Tag": "ihf:1"}


def test_description_outside_a_container_and_without_input_description(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for key in ("TYPE", "TAG", "URI"):
        monkeypatch.delenv(f"IHF_CONTAINER_{key}", raising=False)
    content = describe(tmp_path / "out", tmp_path / "study")
    assert "Container" not in content["GeneratedBy"][0]
    assert "License" not in content
    assert "study" in str(content["Name"])


def test_an_output_inside_the_input_is_linked_relatively(raw: Path) -> None:
    content = describe(raw / "derivatives" / "ihf-harmony", raw)
    assert content["DatasetLinks"] == {"raw": "../.."}


def test_the_input_is_linked_whatever_way_it_is_named(
    raw: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(raw)
    assert describe(Path("../out"), Path())["DatasetLinks"] == {"raw": raw.as_uri()}
    inside = describe(Path("../out/../raw data/derivatives/x"), Path("../raw data"))
    assert inside["DatasetLinks"] == {"raw": "../.."}


def test_another_version_is_warned_of_and_nothing_overwritten(
    tmp_path: Path, raw: Path, caplog: pytest.LogCaptureFixture
) -> None:
    out = tmp_path / "out"
    before = describe(out, raw)
    assert caplog.text == ""
    before["GeneratedBy"][0]["Version"] = "0.0.1"
    (out / "dataset_description.json").write_text(json.dumps(before))
    assert describe(out, raw) == before
    assert "begun by version 0.0.1" in caplog.text


def test_many_tasks_may_start_at_once(tmp_path: Path, raw: Path) -> None:
    out = tmp_path / "out"
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: initialize_output(out, raw), range(24)))
    assert sorted(path.name for path in out.iterdir()) == [
        ".bidsignore",
        "README.md",
        "dataset_description.json",
        "descriptions.json",
        "descriptions.tsv",
    ]
    assert (out / ".bidsignore").read_text() == (
        "*.html\nsub-*/figures\nsub-*/log\n*_xfm.*\n*_dwimap.*\n*_dwi.bval\n*_dwi.bvec\ngroup_*\n"
    )


def scan(raw: Path, name: str) -> SourceImage:
    path = raw / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"")
    return SourceImage.from_path(path, raw, {"Manufacturer": "SIEMENS", "EchoTime": 0.003})


def write_image(path: Path, shape: tuple[int, ...] = (4, 4, 4)) -> None:
    image = nib.Nifti1Image(np.ones(shape, np.float32), np.eye(4))
    image.header.set_xyzt_units("mm", "sec")
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(image, path)


def fabricate(out: Path, image: SourceImage) -> None:
    """Write all that a run would write for one image."""
    named = output_paths(out, image)
    shape = (4, 4, 4, 2) if image.suffix == "dwi" else (4, 4, 4)
    fields = {"HarmonizationTarget": "Siemens", "ConfigurationHash": "abc", "SourceVendor": "GE"}
    for path, description in ((named.harmonized, "Harmonized."), (named.change, "Change.")):
        write_image(path, shape)
        content = derivative_sidecar(
            image, description=description, skull_stripped=False, extra=fields
        )
        write_json(sidecar_path(path), content)
    write_image(named.mask)
    write_json(sidecar_path(named.mask), mask_sidecar(image, description="Brain.", extra={}))
    write_image(named.template_image, shape)
    content = derivative_sidecar(
        image,
        description="In template space.",
        skull_stripped=False,
        extra={"Resolution": "1 mm isotropic"},
        same_grid=False,
    )
    write_json(sidecar_path(named.template_image), content)
    write_atomic(named.transform, b"x")
    write_json(sidecar_path(named.transform), {"Sources": [image.uri]})
    if image.suffix == "dwi":
        for path in (named.harmonized, named.change):
            bval, bvec = gradient_table_paths(path)
            write_atomic(bval, b"0 1000\n")
            write_atomic(bvec, b"0 1\n0 0\n0 0\n")
    words = {
        "source_vendor": "GE",
        "harmonization_target": "Siemens",
        "harmonization_warning": "no" if image.suffix == "T1w" else "yes",
    }
    row = {column: 0.5 for column in MEASURE_COLUMNS if column != "filename"}
    update_scans_table(out, image, row | words)
    subject = out / f"sub-{image.subject}"
    write_atomic(subject / "figures" / f"sub-{image.subject}_desc-x_T1w.svg", b"<svg/>")
    write_atomic(subject / "log" / "run" / "bids_ihf.toml", b"")
    write_atomic(out / f"sub-{image.subject}.html", b"<html></html>")


@pytest.mark.skipif(find_validator() is None, reason="needs bids-validator-deno")
def test_an_output_tree_is_valid_bids(tmp_path: Path, raw: Path) -> None:
    out = tmp_path / "ihf-harmony out"
    initialize_output(out, raw)
    for name in (
        "sub-01/anat/sub-01_T1w.nii.gz",
        "sub-01/anat/sub-01_T2w.nii.gz",
        "sub-01/dwi/sub-01_dir-AP_run-1_dwi.nii.gz",
        "sub-02/ses-A/anat/sub-02_ses-A_acq-x_rec-n_run-01_echo-2_part-mag_chunk-1_T2w.nii.gz",
    ):
        fabricate(out, scan(raw, name))
    write_atomic(out / "group_T1w.tsv", b"a\n1\n")
    write_atomic(out / "group.html", b"<html></html>")
    write_atomic(out / "logs" / "CITATION.md", b"Cite.")
    write_atomic(out / "sub-01" / "anat" / ".0123.tmp", b"left by a killed task")
    result = subprocess.run(
        [str(find_validator()), str(out), "--format", "json", "--ignoreWarnings"],
        env={"DENO_DIR": str(tmp_path / "deno"), "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert json.loads(result.stdout)["issues"]["issues"] == []
    assert result.returncode == 0
