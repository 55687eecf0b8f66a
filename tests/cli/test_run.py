"""Whole runs with stand-ins for the heavy steps: lists, skipping, failing, exit codes."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import tomllib
from pathlib import Path

import pytest

from bids_ihf.cli.app import main
from bids_ihf.errors import CannotWrite
from tests.cli.conftest import FakeSteps
from tests.datasets import SCANS, write_dataset, write_image

ANATOMICAL = sorted(Path(stem).name for stem in SCANS if not stem.endswith("dwi"))


def call(dataset: Path, *options: str, level: str = "participant", validate: bool = False) -> int:
    out = dataset.parent / "out"
    words = [str(dataset), str(out), level, "-w", str(dataset.parent / "work"), *options]
    if level == "participant" and "--n-procs" not in options:
        words += ["--n-procs", "1", "--target", "Siemens"]
    if level == "participant" and not validate:
        words.append("--skip-bids-validation")
    with pytest.raises(SystemExit) as end:
        main(words)
    assert isinstance(end.value.code, int)
    return end.value.code


def log_of(dataset: Path, subject: str) -> str:
    logs = (dataset.parent / "out" / f"sub-{subject}" / "log").glob("*/ihf_harmony.log")
    return "\n".join(path.read_text() for path in sorted(logs))


class TestDryRun:
    def test_lists_every_image(
        self, dataset: Path, fake_steps: FakeSteps, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert call(dataset, "--dry-run") == 0
        rows = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
        assert [row[0] for row in rows] == [f"{stem}.nii.gz" for stem in SCANS]
        assert {row[0].split("/")[0] for row in rows} == {"sub-01", "sub-02"}
        assert [row[1] for row in rows] == [*2 * ["Siemens"], *2 * ["GE"], "unknown", "Philips"]
        assert {row[2] for row in rows} == {"Siemens"}
        assert [row[3] for row in rows] == [*5 * ["harmonize"], "skip: the target has no dwi"]

    def test_names_an_image_of_another_contrast_than_its_name(
        self, dataset: Path, fake_steps: FakeSteps, capsys: pytest.CaptureFixture[str]
    ) -> None:
        t2w = dataset / "sub-01/ses-A/anat/sub-01_ses-A_T2w.nii.gz"
        t1_flair = t2w.with_name("sub-01_ses-A_FLAIR.nii.gz")
        shutil.copy(t2w, t1_flair)
        for path, inversion in ((t2w, 1.8), (t1_flair, 0.95)):
            sidecar = path.with_name(path.name.replace(".nii.gz", ".json"))
            sidecar.write_text(json.dumps({"InversionTime": inversion}))
        assert call(dataset, "--dry-run", "--participant-label", "01") == 0
        rows = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
        listed = {Path(row[0]).name: row[3] for row in rows}
        assert listed[t2w.name] == "skip: the target has no FLAIR"
        assert listed[t1_flair.name] == "harmonize as T1w"
        assert call(dataset, "--participant-label", "01") == 0
        log = log_of(dataset, "01")
        assert "its name says T2w, but InversionTime 1.8 s is that of FLAIR" in log
        assert "its name says FLAIR, but InversionTime 0.95 s is that of T1w" in log

    def test_writes_nothing(self, dataset: Path, fake_steps: FakeSteps) -> None:
        call(dataset, "--dry-run")
        assert not (dataset.parent / "out").exists()
        assert not (dataset.parent / "work").exists()

    def test_knows_what_is_done(
        self, dataset: Path, fake_steps: FakeSteps, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert call(dataset, "--participant-label", "01", "--modalities", "T1w") == 0
        assert call(dataset, "--dry-run", "--modalities", "T1w") == 0
        actions = [line.split("\t")[3] for line in capsys.readouterr().out.splitlines()]
        assert actions == ["skip: done", "skip: done", "harmonize"]

    def test_source_vendor_fills_the_gap_only(
        self, dataset: Path, fake_steps: FakeSteps, capsys: pytest.CaptureFixture[str]
    ) -> None:
        call(dataset, "--dry-run", "--source-vendor", "CANON_MEC")
        vendors = [line.split("\t")[1] for line in capsys.readouterr().out.splitlines()]
        assert vendors == [*2 * ["Siemens"], *2 * ["GE"], "Canon", "Philips"]


class TestRun:
    def test_all_done(self, dataset: Path, fake_steps: FakeSteps) -> None:
        assert call(dataset, validate=True) == 0
        assert sorted(fake_steps.harmonized) == ANATOMICAL
        out = dataset.parent / "out"
        description = json.loads((out / "dataset_description.json").read_text())
        assert description["DatasetType"] == "derivative"
        assert "the target has no dwi" in log_of(dataset, "02")
        assert "--source-vendor" in log_of(dataset, "02")
        assert "5 harmonized, 0 already done, 0 failed, 1 not processed" in log_of(dataset, "01")

    def test_settings_are_kept(self, dataset: Path, fake_steps: FakeSteps) -> None:
        call(dataset)
        (file,) = (dataset.parent / "out/sub-01/log").glob("*/ihf_harmony.toml")
        content = tomllib.loads(file.read_text())
        assert content["options"]["run_uuid"] == file.parent.name
        assert content["inputs"]["target_hash"] == "target-hash"
        assert len(content["inputs"]["dataset_description_sha256"]) == 64

    def test_t2w_is_registered_by_the_t1w_of_its_session(
        self, dataset: Path, fake_steps: FakeSteps
    ) -> None:
        call(dataset)
        t1w = fake_steps.t1w
        assert t1w["sub-01_ses-A_T2w.nii.gz"] == "prepare_sub-01_ses-A_T1w"
        assert t1w["sub-01_ses-B_T2w.nii.gz"] == "prepare_sub-01_ses-B_T1w"
        assert t1w["sub-01_ses-A_T1w.nii.gz"] is None

    def test_the_t1w_does_not_depend_on_the_selection(
        self, dataset: Path, fake_steps: FakeSteps
    ) -> None:
        assert call(dataset, "--modalities", "T2w", "--participant-label", "01") == 0
        assert fake_steps.t1w["sub-01_ses-A_T2w.nii.gz"] == "prepare_sub-01_ses-A_T1w"
        assert sorted(fake_steps.harmonized) == ["sub-01_ses-A_T2w", "sub-01_ses-B_T2w"]

    def test_preprocessed_images_stand_alone(self, dataset: Path, fake_steps: FakeSteps) -> None:
        call(dataset, "--preprocessed")
        assert set(fake_steps.t1w.values()) == {None}

    def test_intermediate_files_are_cleared(self, dataset: Path, fake_steps: FakeSteps) -> None:
        call(dataset)
        assert list((dataset.parent / "work").glob("**/prepared.npz")) == []


class TestSkip:
    def test_rerun_skips(self, dataset: Path, fake_steps: FakeSteps) -> None:
        call(dataset)
        fake_steps.harmonized.clear()
        assert call(dataset) == 0
        assert fake_steps.harmonized == []
        assert "0 harmonized, 5 already done, 0 failed" in log_of(dataset, "01")

    def test_other_target_redoes(
        self, dataset: Path, fake_steps: FakeSteps, request: pytest.FixtureRequest
    ) -> None:
        call(dataset)
        fake_steps.harmonized.clear()
        request.getfixturevalue("other_target")
        assert call(dataset) == 0
        assert sorted(fake_steps.harmonized) == ANATOMICAL

    @pytest.mark.parametrize("options", [["--random-seed", "1"], ["--preprocessed"]])
    def test_other_numbers_redo(
        self, dataset: Path, fake_steps: FakeSteps, options: list[str]
    ) -> None:
        call(dataset)
        fake_steps.harmonized.clear()
        call(dataset, *options)
        assert sorted(fake_steps.harmonized) == ANATOMICAL

    @pytest.mark.parametrize(
        "options",
        [["--batch-size", "1"], ["--omp-nthreads", "1"], ["--normalization", "syn"], ["-v"]],
    )
    def test_same_numbers_skip(
        self, dataset: Path, fake_steps: FakeSteps, options: list[str]
    ) -> None:
        call(dataset)
        fake_steps.harmonized.clear()
        call(dataset, *options)
        assert fake_steps.harmonized == []

    @pytest.mark.parametrize("pattern", ["sub-02_*harmonized*.json", "sub-02_*harmonized*.gz"])
    def test_missing_output_is_redone(
        self, dataset: Path, fake_steps: FakeSteps, pattern: str
    ) -> None:
        call(dataset)
        fake_steps.harmonized.clear()
        (file,) = (dataset.parent / "out").glob(f"**/{pattern}")
        file.unlink()
        call(dataset)
        assert fake_steps.harmonized == ["sub-02_T1w"]


class TestFailure:
    def test_others_go_on(
        self, dataset: Path, fake_steps: FakeSteps, capsys: pytest.CaptureFixture[str]
    ) -> None:
        fake_steps.bad.add("sub-02_T1w.nii.gz")
        assert call(dataset) == 1
        assert len(fake_steps.harmonized) == 4
        (crash,) = (dataset.parent / "out/sub-02/log").glob("*/crash-*.txt")
        assert "BadData" in crash.read_text()
        lines = [line for line in capsys.readouterr().err.splitlines() if "truncated" in line]
        assert len(lines) == 1
        assert "ERROR sub-02_T1w" in lines[0]
        assert "Traceback" not in capsys.readouterr().err
        assert "truncated" in log_of(dataset, "02")
        assert "truncated" not in log_of(dataset, "01")

    def test_unexpected_error(self, dataset: Path, fake_steps: FakeSteps) -> None:
        fake_steps.broken.add("sub-01_ses-A_T1w.nii.gz")
        assert call(dataset) == 1
        assert "unexpected error: RuntimeError: the sky fell" in log_of(dataset, "01")
        assert len(fake_steps.harmonized) == 4

    def test_sessions_share_a_mapping_without_the_one_that_failed(
        self, dataset: Path, fake_steps: FakeSteps
    ) -> None:
        for session in "ABC":
            stem = dataset / f"sub-01/ses-{session}/anat/sub-01_ses-{session}_T1w"
            write_image(stem.with_suffix(".nii.gz"))
            scanner = {"Manufacturer": "GE", "ManufacturersModelName": "Premier"}
            stem.with_suffix(".json").write_text(json.dumps(scanner))
        options = ("--longitudinal", "--participant-label", "01", "--modalities", "T1w")
        fake_steps.bad = {"sub-01_ses-B_T1w.nii.gz"}
        assert call(dataset, *options) == 1
        done = ["sub-01_ses-A_T1w", "sub-01_ses-C_T1w"]
        assert fake_steps.harmonized == done
        assert "sub-01_ses-A_T1w: harmonized without the scan that failed" in log_of(dataset, "01")
        assert call(dataset, *options) == 1
        assert fake_steps.harmonized == done  # nothing has changed
        fake_steps.bad = set()
        assert call(dataset, *options) == 0  # all are done again, with the mapping of three
        assert fake_steps.harmonized[2:] == [done[0], "sub-01_ses-B_T1w", done[1]]
        assert call(dataset, *options) == 0
        assert len(fake_steps.harmonized) == 5

    def test_t2w_without_its_t1w(self, dataset: Path, fake_steps: FakeSteps) -> None:
        fake_steps.bad.add("sub-01_ses-A_T1w.nii.gz")
        assert call(dataset) == 1
        assert sorted(fake_steps.harmonized) == [n for n in ANATOMICAL if n != "sub-01_ses-A_T1w"]
        assert fake_steps.t1w["sub-01_ses-A_T2w.nii.gz"] is None
        assert "registered by itself" in log_of(dataset, "01")

    def test_progress_counts_an_image_once(
        self, dataset: Path, fake_steps: FakeSteps, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Whether it fails, or waits for one that does."""
        fake_steps.bad.update(f"sub-01_ses-A_T{kind}w.nii.gz" for kind in (1, 2))
        assert call(dataset, "--participant-label", "01") == 1
        err = capsys.readouterr().err
        shown = re.findall(r" (\d)/4 sub-01_(\S+): (\w+)", err)
        assert [count for count, *_ in shown] == ["1", "2", "3", "4"]
        assert {name: result for _, name, result in shown} == {
            "ses-A_T1w": "failed",
            "ses-A_T2w": "failed",
            "ses-B_T1w": "harmonized",
            "ses-B_T2w": "harmonized",
        }

    def test_all_bad_data(self, dataset: Path, fake_steps: FakeSteps) -> None:
        fake_steps.bad.update(f"{name}.nii.gz" for name in ANATOMICAL)
        assert call(dataset) == 65
        assert call(dataset, "--participant-label", "02") == 65

    def test_only_failed_are_redone(self, dataset: Path, fake_steps: FakeSteps) -> None:
        fake_steps.bad.add("sub-02_T1w.nii.gz")
        call(dataset)
        fake_steps.bad.clear()
        fake_steps.harmonized.clear()
        assert call(dataset) == 0
        assert fake_steps.harmonized == ["sub-02_T1w"]

    def test_stop_on_first_crash(self, dataset: Path, fake_steps: FakeSteps) -> None:
        fake_steps.bad.update(f"{name}.nii.gz" for name in ANATOMICAL)
        assert call(dataset, "--stop-on-first-crash") == 1
        crashes = list((dataset.parent / "out").glob("**/crash-*.txt"))
        assert len(crashes) == 1

    @pytest.mark.parametrize("error", [KeyError("no"), MemoryError()])
    def test_report_that_fails(
        self,
        dataset: Path,
        fake_steps: FakeSteps,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
        error: Exception,
    ) -> None:
        def fail(*_: object) -> None:
            raise error

        module = sys.modules["bids_ihf.reports.participant"]
        monkeypatch.setattr(module, "build_participant_report", fail)
        assert call(dataset) == 1
        assert len(fake_steps.harmonized) == 5
        said = capsys.readouterr().err
        if isinstance(error, MemoryError):
            assert "sub-01: no report: not enough memory" in said
            assert "Traceback" not in said


class TestProblems:
    """Images that cannot be harmonized fail by name, as others that fail; the rest is done."""

    @pytest.mark.parametrize("validate", [False, True])
    def test_a_broken_sidecar(
        self,
        dataset: Path,
        fake_steps: FakeSteps,
        validate: bool,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        sidecar = dataset / "sub-02/anat/sub-02_T1w.json"
        sidecar.write_bytes(b'{\n"InstitutionName": "Universit\xe4t"}')
        assert call(dataset, "--dry-run", validate=validate) == 1
        assert f"fail: {sidecar}, line 2: not UTF-8" in capsys.readouterr().out
        assert call(dataset, validate=validate) == 1
        assert len(fake_steps.harmonized) == 4
        assert f"{sidecar}, line 2: not UTF-8" in log_of(dataset, "02")
        (crash,) = (dataset.parent / "out/sub-02/log").glob("*/crash-*.json")
        assert json.loads(crash.read_text())["exit_code"] == 16

    def test_two_images_for_one_output(self, dataset: Path, fake_steps: FakeSteps) -> None:
        assert call(dataset) == 0
        write_image(dataset / "sub-01/ses-A/anat/sub-01_ses-A_T1w.nii")
        assert call(dataset) == 1
        assert "would have one output" in log_of(dataset, "01")
        assert (
            call(dataset, "--participant-label", "01", "-m", "T1w", "--session-label", "A") == 65
        )
        assert fake_steps.harmonized.count("sub-01_ses-A_T1w") == 1

    def test_copies_in_the_root_are_no_input(
        self, dataset: Path, fake_steps: FakeSteps, capsys: pytest.CaptureFixture[str]
    ) -> None:
        for copy in ("backup", "zz_old", "derivatives_old/fmriprep"):
            shutil.copytree(dataset / "sub-01", dataset / copy / "sub-01")
        assert call(dataset, "--dry-run") == 0
        files = [line.split("\t")[0] for line in capsys.readouterr().out.splitlines()]
        assert files == [f"{stem}.nii.gz" for stem in SCANS]


class TestDerivatives:
    def test_a_folder_that_matches_nothing(
        self, dataset: Path, fake_steps: FakeSteps, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert call(dataset, "-d", str(dataset)) == 0
        assert "no brain mask for 6 of 6 images" in capsys.readouterr().err
        assert call(dataset, "-d", str(dataset), "--brain-mask", "derivatives") == 65
        assert "no brain mask for 6 of 6 images" in capsys.readouterr().err

    def test_masks_of_some(
        self, dataset: Path, fake_steps: FakeSteps, capsys: pytest.CaptureFixture[str]
    ) -> None:
        masks = dataset.parent / "hd-bet"
        write_image(masks / "sub-02/anat/sub-02_T1w_bet_mask.nii.gz")
        assert call(dataset, "-d", str(masks), "-m", "T1w") == 0
        assert "no brain mask for 2 of 3 images" in capsys.readouterr().err


class TestOtherDataset:
    def test_is_refused_unless_allowed(
        self, dataset: Path, fake_steps: FakeSteps, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert call(dataset) == 0
        fake_steps.harmonized.clear()
        other = shutil.copytree(dataset, dataset.parent / "studyB")
        scan = "sub-02/anat/sub-02_T1w.nii.gz"
        for path in other.glob("sub-*/**/*.nii.gz"):
            path.write_bytes(path.read_bytes()[::-1])  # the same names and sizes
        assert call(other) == 2
        assert "is another dataset" in capsys.readouterr().err
        assert call(other, "--dry-run") == 2
        shutil.copy(dataset / scan, other / scan)
        assert call(other) == 0
        assert len(fake_steps.harmonized) == 4
        assert call(dataset, "--allow-other-dataset") == 0

    def test_the_same_at_another_path_is_recognised(
        self, dataset: Path, fake_steps: FakeSteps
    ) -> None:
        assert call(dataset) == 0
        fake_steps.harmonized.clear()
        moved = dataset.rename(dataset.parent / "moved")
        assert call(moved) == 0
        (moved / "dataset_description.json").write_text('{"Name": "renamed"}')
        assert call(moved) == 0
        assert fake_steps.harmonized == []
        shutil.rmtree(moved / "sub-01")  # another participant's job has a part of the dataset
        shutil.rmtree(moved / "sub-02/dwi")
        assert call(moved) == 0

    def test_other_participants_of_another_name_are_refused(
        self, dataset: Path, fake_steps: FakeSteps
    ) -> None:
        assert call(dataset) == 0
        other = write_dataset(dataset.parent / "studyB")
        shutil.rmtree(other / "sub-01")
        shutil.rmtree(other / "sub-02")
        write_image(other / "sub-03/anat/sub-03_T1w.nii.gz")
        (other / "dataset_description.json").write_text('{"Name": "study B"}')
        assert call(other) == 2


class TestExitCodes:
    def test_nothing_selected(
        self, dataset: Path, fake_steps: FakeSteps, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert call(dataset, "--session-label", "Z") == 18
        error = capsys.readouterr().err.splitlines()[-1]
        assert error.startswith("ihf-harmony: error: ")
        assert "sessions Z" in error
        assert "3 T1w" in error

    def test_no_such_participant(self, dataset: Path, fake_steps: FakeSteps) -> None:
        assert call(dataset, "--participant-label", "99") == 18

    def test_what_is_asked_for_by_name_and_the_target_lacks(
        self, dataset: Path, fake_steps: FakeSteps, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert call(dataset, "--participant-label", "02", "--modalities", "dwi") == 65
        assert "the target Siemens has no dwi profile; name a target" in capsys.readouterr().err
        assert call(dataset, "--participant-label", "02") == 0

    def test_invalid_bids(
        self, dataset: Path, fake_steps: FakeSteps, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (dataset / "dataset_description.json").write_text("{}")
        assert call(dataset, validate=True) == 16
        assert "--skip-bids-validation" in capsys.readouterr().err
        assert call(dataset) == 0

    def test_output_cannot_be_made(self, dataset: Path, fake_steps: FakeSteps) -> None:
        (dataset.parent / "out").write_text("a file in the way")
        assert call(dataset) == 73

    def test_work_dir_cannot_be_made(self, dataset: Path, fake_steps: FakeSteps) -> None:
        (dataset.parent / "work").write_text("a file in the way")
        assert call(dataset) == 73

    def test_group_without_participants(self, dataset: Path) -> None:
        assert call(dataset, level="group") == 18

    def test_plugin_file(self, dataset: Path, fake_steps: FakeSteps) -> None:
        file = dataset.parent / "plugin.yml"
        file.write_text("plugin: Linear\nplugin_args: {}\n")
        assert call(dataset, "--use-plugin", str(file)) == 0
        file.write_text("[]")
        assert call(dataset, "--use-plugin", str(file)) == 2

    def test_interrupt(
        self, dataset: Path, fake_steps: FakeSteps, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def interrupt(*_: object, **__: object) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr("bids_ihf.pipeline.batches.plan", interrupt)
        assert call(dataset) == 130

    def test_memory_runs_out_outside_the_steps(
        self,
        dataset: Path,
        fake_steps: FakeSteps,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        def starve(*_: object, **__: object) -> None:
            raise MemoryError

        monkeypatch.setattr("bids_ihf.pipeline.batches.plan", starve)
        assert call(dataset) == 75
        assert "ihf-harmony: error: not enough memory" in capsys.readouterr().err


def test_reports_only(dataset: Path, fake_steps: FakeSteps) -> None:
    call(dataset)
    fake_steps.harmonized.clear()
    shutil.rmtree(dataset / "sub-01")
    assert call(dataset, "--reports-only") == 0
    assert fake_steps.harmonized == []


class TestPages:
    @pytest.fixture
    def pages(self, dataset: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        """Pages in the order in which they are built; they are empty."""
        built: list[str] = []

        def build(out_dir: Path, subject: str, *_: object) -> None:
            built.append(subject)
            (out_dir / f"sub-{subject}.html").touch()

        module = sys.modules["bids_ihf.reports.participant"]
        monkeypatch.setattr(module, "build_participant_report", build)
        return built

    def test_built_as_each_participant_ends(
        self, dataset: Path, fake_steps: FakeSteps, pages: list[str],
        capsys: pytest.CaptureFixture[str],
    ) -> None:  # fmt: skip
        assert call(dataset) == 0
        assert sorted(pages) == ["01", "02"]
        lines = capsys.readouterr().err.splitlines()
        first_page = next(n for n, line in enumerate(lines) if "Report: " in line)
        images = [n for n, line in enumerate(lines) if ": harmonized" in line]
        assert images[0] < first_page < images[-1]

    def test_a_stopped_run_leaves_none_out(
        self, dataset: Path, fake_steps: FakeSteps, pages: list[str]
    ) -> None:
        call(dataset)
        pages.clear()
        assert call(dataset) == 0
        assert pages == []  # all are there and show everything
        (dataset.parent / "out/sub-01.html").unlink()
        assert call(dataset) == 0
        assert pages == ["01"]


def test_a_log_folder_that_cannot_be_written(
    dataset: Path, fake_steps: FakeSteps, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    def refuse(*_: object) -> None:
        raise CannotWrite("no room for a crash file.")

    fake_steps.bad.add("sub-02_T1w.nii.gz")
    monkeypatch.setattr("bids_ihf.pipeline.interfaces.write_failure", refuse)
    assert call(dataset) == 1
    assert "sub-02_T1w.nii.gz: truncated; fetch it again." in capsys.readouterr().err
    assert len(fake_steps.harmonized) == 4


def test_long_file_names(dataset: Path, fake_steps: FakeSteps) -> None:
    """A name near the system's limit of 255 bytes runs, and its failure is told."""
    name = f"sub-02_acq-{'x' * 220}_T1w.nii.gz"
    image = next(dataset.glob("sub-02/**/sub-02_T1w.nii.gz"))
    shutil.copy(image, image.with_name(name))
    fake_steps.bad.add(name)
    assert call(dataset) == 1
    assert len(fake_steps.harmonized) == 5
    assert "truncated" in log_of(dataset, "02")


def test_labels_with_a_plus(dataset: Path, fake_steps: FakeSteps) -> None:
    (dataset / "sub-02").rename(dataset / "sub-a+b")
    for path in sorted((dataset / "sub-a+b").rglob("sub-02*")):
        path.rename(path.with_name(path.name.replace("sub-02", "sub-a+b")))
    assert call(dataset, "--participant-label", "a+b") == 0
    assert fake_steps.harmonized == ["sub-a+b_T1w"]


def test_what_is_left_out_stands_in_the_log_of_its_participant(
    dataset: Path, fake_steps: FakeSteps
) -> None:
    """Discovery comes before the logs, whose participants it finds."""
    write_image(dataset / "sub-02/anat/sub-02_part-phase_T1w.nii.gz")
    (dataset / "sub-03").mkdir()
    assert call(dataset, "-d", str(dataset)) == 0
    assert "sub-02_part-phase_T1w.nii.gz is left out: a phase image" in log_of(dataset, "02")
    assert "part-phase" not in log_of(dataset, "01")
    for subject in ("01", "02"):
        assert "no brain mask for 6 of 6 images" in log_of(dataset, subject)
    assert not (dataset.parent / "out/sub-03").exists()


def test_a_path_whose_bytes_are_no_text(dataset: Path, fake_steps: FakeSteps) -> None:
    """A folder named in Latin-1, or any umlaut where the locale is plain ASCII."""
    root = dataset.parent / os.fsdecode(b"Gr\xf6\xdfe") / "bids"
    root.parent.mkdir()
    dataset.rename(root)
    assert call(root) == 0
    assert "5 harmonized" in log_of(root, "01")
    description = json.loads((root.parent / "out/dataset_description.json").read_text())
    assert description["DatasetLinks"]["raw"].endswith("/Gr%F6%DFe/bids")
    fake_steps.harmonized.clear()
    assert call(root) == 0
    assert fake_steps.harmonized == []
    fake_steps.bad.add("sub-02_T1w.nii.gz")
    shutil.rmtree(root.parent / "out/sub-02")
    assert call(root) == 65
    assert "truncated" in log_of(root, "02")
