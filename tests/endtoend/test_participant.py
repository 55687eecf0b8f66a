"""The installed BIDS App on a small dataset: what it writes, skips, redoes and gives back."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import nibabel
import numpy as np
import pytest

from bids_ihf.bids.scans_table import read_scans_table
from bids_ihf.pipeline.restore import restore
from tests.endtoend.conftest import BIN, PLAIN, App, Run, command
from tests.reports.browser import Browser, find_chromium

STEM = "sub-01/ses-ge/anat/sub-01_ses-ge"
OWN_KEYS = {
    "HarmonizationTarget",
    "HarmonizationTargetHash",
    "HarmonizationModel",
    "HarmonizationModelHash",
    "SourceVendor",
    "RoundTripMaxError",
    "Device",
    "ConfigurationHash",
    "IntensityScaling",
}
SAME = ("--output-spaces", "MNI152NLin2009aSym", "--session-label", "ge")


def outputs(suffix: str) -> list[str]:
    space = "space-MNI152NLin2009aSym"
    return [
        *(
            f"{STEM}_desc-{kind}_{suffix}{end}"
            for kind in ("harmonized", "change")
            for end in ENDS
        ),
        *(f"{STEM}_{space}_res-1_desc-harmonized_{suffix}{end}" for end in ENDS),
        f"{STEM}_from-{suffix}_to-MNI152NLin2009aSym_mode-image_xfm.mat",
    ]


ENDS = (".nii.gz", ".json")


def test_all_done(run: Run) -> None:
    assert run.done.code == 0, run.done.err
    assert "3 harmonized, 0 already done, 0 failed, 0 not processed" in run.done.err
    assert "Device: cpu" in run.done.err
    assert "Traceback" not in run.done.err
    assert run.done.out == ""


@pytest.mark.parametrize("suffix", ["T1w", "T2w"])
def test_outputs_are_named_as_promised(run: Run, suffix: str) -> None:
    missing = [name for name in outputs(suffix) if not (run.out / name).is_file()]
    assert missing == []


def test_everything_else_is_there(run: Run) -> None:
    for pattern, least in (
        ("dataset_description.json", 1),
        ("README.md", 1),
        (".bidsignore", 1),
        ("sub-01/ses-ge/sub-01_ses-ge_scans.tsv", 1),
        ("sub-01/ses-ge/sub-01_ses-ge_scans.json", 1),
        ("sub-01.html", 1),
        ("sub-01/figures/*.svg", 2),
        ("sub-01/log/*/ihf_harmony.toml", 1),
        ("sub-01/log/*/ihf_harmony.log", 1),
        (f"{STEM}_desc-brain*_mask.nii.gz", 2),
        (f"{STEM}_desc-brain*_mask.json", 2),
    ):
        assert len(list(run.out.glob(pattern))) >= least, pattern
    assert list(run.out.glob("sub-01/log/*/crash-*")) == []
    assert list(run.out.glob("**/*.tmp")) == []


@pytest.mark.parametrize("suffix", ["T1w", "T2w"])
def test_geometry_is_equal_to_the_bit(run: Run, bids: Path, suffix: str) -> None:
    source = nibabel.load(bids / f"{STEM}_{suffix}.nii.gz")
    for kind in (f"desc-harmonized_{suffix}", f"desc-change_{suffix}"):
        image = nibabel.load(run.out / f"{STEM}_{kind}.nii.gz")
        assert image.shape == source.shape
        assert image.affine.tobytes() == source.affine.tobytes()
        for field in ("qform_code", "sform_code", "pixdim", "xyzt_units"):
            assert image.header[field].tobytes() == source.header[field].tobytes(), field
        assert image.get_data_dtype().itemsize == 2  # whole steps


def test_sidecar(run: Run, bids: Path) -> None:
    sidecar = json.loads((run.out / f"{STEM}_desc-harmonized_T1w.json").read_text())
    raw = json.loads((bids / f"{STEM}_T1w.json").read_text())
    assert set(sidecar) >= OWN_KEYS
    assert sidecar["HarmonizationTarget"] == "Siemens"
    assert sidecar["SourceVendor"] == "GE"
    assert sidecar["Manufacturer"] == raw["Manufacturer"]
    assert sidecar["Sources"] == [f"bids:raw:{STEM}_T1w.nii.gz"]
    assert sidecar["SkullStripped"] is False
    assert sidecar["Device"] == "cpu"
    assert 0 <= sidecar["RoundTripMaxError"] <= 1e-5
    assert sidecar["ChangeMap"] == "compact"
    image = nibabel.load(run.out / f"{STEM}_desc-harmonized_T1w.nii.gz")
    assert sidecar["StoredStep"] == pytest.approx(image.dataobj.slope)
    assert sidecar["StoredMaxError"] == sidecar["StoredStep"] / 2


@pytest.mark.parametrize("stem", [f"{STEM}_{{}}T1w", "sub-01/ses-ge/dwi/sub-01_ses-ge_{}dwi"])
def test_the_original_is_restored(run: Run, bids: Path, tmp_path: Path, stem: str) -> None:
    restore(run.out / f"{stem.format('desc-harmonized_')}.nii.gz", None, tmp_path / "o.nii.gz")
    original = nibabel.load(bids / f"{stem.format('')}.nii.gz").get_fdata()
    restored = nibabel.load(tmp_path / "o.nii.gz").get_fdata()
    assert np.abs(restored - original).max() <= 1e-5 * original.max()


def test_results_are_small(run: Run, bids: Path) -> None:
    for stem in (f"{STEM}_{{}}T1w", "sub-01/ses-ge/dwi/sub-01_ses-ge_{}dwi"):
        sizes = [
            (run.out / f"{stem.format(f'desc-{kind}_')}.nii.gz").stat().st_size
            for kind in ("harmonized", "change")
        ]
        assert sum(sizes) <= 1.6 * (bids / f"{stem.format('')}.nii.gz").stat().st_size


def test_output_is_valid_bids(run: Run) -> None:
    done = subprocess.run(
        [str(BIN / "bids-validator-deno"), str(run.out), "--ignoreWarnings", "--format", "json"],
        capture_output=True,
        text=True,
        check=False,
    )
    found = json.loads(done.stdout)["issues"]["issues"]
    assert [issue for issue in found if issue["severity"] == "error"] == []
    assert done.returncode == 0


def test_series(run: Run, bids: Path) -> None:
    """The b-table is the source's to the byte, the grid to the bit, and shells are named."""
    stem = "sub-01/ses-ge/dwi/sub-01_ses-ge"
    source = nibabel.load(bids / f"{stem}_dwi.nii.gz")
    for kind in ("harmonized", "change"):
        image = nibabel.load(run.out / f"{stem}_desc-{kind}_dwi.nii.gz")
        assert image.shape == source.shape
        assert image.affine.tobytes() == source.affine.tobytes()
        assert image.get_data_dtype().kind in "iu"
        for table in ("bval", "bvec"):
            copied = (run.out / f"{stem}_desc-{kind}_dwi.{table}").read_bytes()
            assert copied == (bids / f"{stem}_dwi.{table}").read_bytes()
    assert nibabel.load(run.out / f"{stem}_desc-harmonized_dwi.nii.gz").get_fdata().min() >= 0
    sidecar = json.loads((run.out / f"{stem}_desc-harmonized_dwi.json").read_text())
    assert set(sidecar) >= OWN_KEYS
    assert [shell["TargetBValue"] for shell in sidecar["HarmonizationShells"]] == [1000, 2000]
    exponents = [shell["AttenuationExponent"] for shell in sidecar["HarmonizationShells"]]
    assert all(0.9 < exponent < 1.2 and exponent != 1 for exponent in exponents)
    assert (run.out / f"{stem}_desc-brain_mask.nii.gz").is_file()
    assert "changing, 26 of 26 volumes" in run.done.err
    in_template = f"{stem}_space-MNI152NLin2009aSym_res-1_desc-harmonized_dwi"
    for extension in ("nii.gz", "json", "bval", "bvec"):
        assert (run.out / f"{in_template}.{extension}").is_file()


@pytest.mark.parametrize("suffix", ["T1w", "T2w"])
def test_restore(run: Run, bids: Path, tmp_path: Path, suffix: str) -> None:
    harmonized = run.out / f"{STEM}_desc-harmonized_{suffix}.nii.gz"
    output = tmp_path / "original.nii.gz"
    done = command("ihf", "restore", harmonized, "-o", output)
    assert done.code == 0, done.err
    original = nibabel.load(bids / f"{STEM}_{suffix}.nii.gz").get_fdata()
    difference = np.abs(nibabel.load(output).get_fdata() - original).max()
    assert difference <= 1e-5 * np.abs(original).max()


def test_rerun_skips(run: Run, app: App, bids: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in run.out.glob("**/*.nii.gz")}
    done = app(bids, run.out, "--target", "Siemens", *SAME, options=PLAIN)
    assert done.code == 0, done.err
    assert "0 harmonized, 3 already done" in done.err
    assert {path: path.stat().st_mtime_ns for path in run.out.glob("**/*.nii.gz")} == before


def test_dry_run_says_so(run: Run, app: App, bids: Path) -> None:
    done = app(bids, run.out, "--target", "Siemens", "--dry-run", *SAME, options=PLAIN)
    assert done.code == 0
    assert [line.split("\t")[1:] for line in done.out.splitlines()] == 3 * [
        ["GE", "Siemens", "skip: done"]
    ]


def test_other_target_redoes(run: Run, app: App, bids: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    shutil.copytree(run.out, out)
    words = ("--target", "Philips", "--session-label", "ge", "--modalities", "T1w")
    done = app(bids, out, *words, options=PLAIN)
    assert done.code == 0, done.err
    assert "1 harmonized, 0 already done" in done.err
    sidecar = json.loads((out / f"{STEM}_desc-harmonized_T1w.json").read_text())
    assert sidecar["HarmonizationTarget"] == "Philips"
    # The template-space image of the first target may not stay beside the image of the second.
    assert list(out.glob("**/*space-*_T1w.*")) == []
    assert len(list(out.glob("**/*space-*_T2w.nii.gz"))) == 1


def test_group_level(run: Run, bids: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    shutil.copytree(run.out, out)
    done = command("ihf-harmony", bids, out, "group")
    assert done.code == 0, done.err
    rows = (out / "group_T1w.tsv").read_text().splitlines()
    assert len(rows) == 2
    assert set(json.loads((out / "group_T1w.json").read_text())) >= set(rows[0].split("\t"))
    assert "<html" in (out / "group.html").read_text()


def test_reports_only(run: Run, app: App, bids: Path) -> None:
    (run.out / "sub-01.html").unlink()
    done = app(bids, run.out, "--reports-only")
    assert done.code == 0, done.err
    assert (run.out / "sub-01.html").is_file()


def test_report_in_a_browser(run: Run, tmp_path: Path) -> None:
    """The page of a real run: every picture there, no complaint, the numbers of the table."""
    chromium = find_chromium()
    if chromium is None:
        pytest.skip("no Chromium on this machine")
    (table,) = run.out.glob("sub-01/ses-ge/*_scans.tsv")
    rows = {row["filename"].split("/")[-1].split(".")[0]: row for row in read_scans_table(table)}
    with Browser(chromium, tmp_path) as browser:
        browser.open(run.out / "sub-01.html", width=1024)
        assert browser.broken() == browser.complaints() == []
        shown = browser.numbers()
    assert len({name for name, _, _ in shown}) == 3
    for name, column, words in shown:
        stem, _, suffix = name.rpartition("_")
        value = float(rows[f"{stem}_desc-harmonized_{suffix}"][column])
        assert float(words) == pytest.approx(value, rel=1e-3, abs=1e-12)
