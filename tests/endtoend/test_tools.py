"""The installed ``ihf`` tools on a small dataset."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel
import numpy as np
import pytest

from tests.endtoend.conftest import App, command

STEM = "sub-01/ses-{0}/anat/sub-01_ses-{0}_{1}"


@pytest.fixture(scope="module")
def site(stripped: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A target built from one scan."""
    output = tmp_path_factory.mktemp("target") / "site.safetensors"
    reference = stripped / f"{STEM.format('philips', 'T1w')}.nii.gz"
    words = ("--name", "My site", "--preprocessed")
    done = command("ihf", "target", "build", reference, "-o", output, *words)
    assert done.code == 0, done.err
    assert "name: My site" in done.out
    return output


def test_list_and_show() -> None:
    done = command("ihf", "target", "list")
    assert [line.split("\t")[0] for line in done.out.splitlines()] == ["Siemens", "GE", "Philips"]
    assert all("T1w T2w" in line for line in done.out.splitlines())
    assert "modalities: FLAIR T1w T2w" in command("ihf", "target", "show", "GE").out


def test_own_target(site: Path, app: App, stripped: Path, tmp_path: Path) -> None:
    words = ("--target", site, "--session-label", "ge")
    done = app(stripped, tmp_path / "out", *words)
    assert done.code == 0, done.err
    assert "1 harmonized, 0 already done, 0 failed, 2 not processed" in done.err
    sidecar = tmp_path / "out" / f"{STEM.format('ge', 'desc-harmonized_T1w')}.json"
    assert json.loads(sidecar.read_text())["HarmonizationTarget"] == "My site"


def test_reference_image_is_the_target_built_from_it(
    site: Path, app: App, stripped: Path, tmp_path: Path
) -> None:
    reference = stripped / f"{STEM.format('philips', 'T1w')}.nii.gz"
    words = ("--session-label", "ge", "--modalities", "T1w")
    assert app(stripped, tmp_path / "a", "--target", reference, *words).code == 0
    assert app(stripped, tmp_path / "b", "--target", site, *words).code == 0
    name = f"{STEM.format('ge', 'desc-harmonized_T1w')}.nii.gz"
    assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_target_of_diffusion_series(app: App, series: Path, tmp_path: Path) -> None:
    """A scanner's series brought to itself, the scanner being known by it, stay as they are."""
    site = tmp_path / "site.safetensors"
    words = ("--bids-filter-file", _ge_only(tmp_path), "--preprocessed")
    done = command("ihf", "target", "build", series, "-o", site, *words)
    assert done.code == 0, done.err
    facts = dict(line.split(": ", 1) for line in done.out.splitlines())
    assert (facts["modalities"], facts["shells"], facts["dwi_scans"]) == ("dwi", "1000 2000", "1")
    words = ("--target", site, "--source-profile", site, "--session-label", "ge")
    assert app(series, tmp_path / "out", *words).code == 0
    name = "sub-01/ses-ge/dwi/sub-01_ses-ge_desc-harmonized_dwi.json"
    sidecar = json.loads((tmp_path / "out" / name).read_text())
    assert sidecar["SourceProfile"] == "site"
    for shell in sidecar["HarmonizationShells"]:
        for key in ("AttenuationExponent", "MeasuredExponent", "AnisotropyFactor"):
            assert shell[key] == pytest.approx(1, abs=1e-4)


def _ge_only(folder: Path) -> Path:
    path = folder / "filter.json"
    path.write_text(json.dumps({"dwi": {"session": "ge"}}))
    return path


def test_evaluate(stripped: Path, tmp_path: Path) -> None:
    scan = stripped / f"{STEM.format('ge', 'T1w')}.nii.gz"
    image = nibabel.load(scan)
    mask, table = tmp_path / "mask.nii.gz", tmp_path / "table.tsv"
    inside = (np.asarray(image.dataobj) > 0).astype(np.uint8)
    nibabel.save(nibabel.Nifti1Image(inside, image.affine), mask)
    # Against itself: the scans of other sessions lie on other grids.
    done = command("ihf", "evaluate", scan, scan, "--mask", mask, "-o", table)
    assert done.code == 0, done.err
    columns, values = (line.split("\t") for line in table.read_text().splitlines())
    assert float(dict(zip(columns, values, strict=True))["rmse_mask"]) == 0


def test_restore_of_something_else(bids: Path, tmp_path: Path) -> None:
    image = bids / f"{STEM.format('ge', 'T1w')}.nii.gz"
    done = command("ihf", "restore", image, "-o", tmp_path / "x.nii.gz")
    assert done.code == 65
    assert done.last.startswith(f"ihf: error: {image}")
    assert "--change" in done.last
