"""What is written of one image, and in which order."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import attrs
import nibabel
import numpy as np
import pytest

from bids_ihf.anat import outputs as anat_outputs
from bids_ihf.anat.harmonize import Harmonized
from bids_ihf.bids.images import SourceImage
from bids_ihf.config import RunConfig
from bids_ihf.errors import CannotWrite
from bids_ihf.geometry.grid import Grid
from bids_ihf.io.nifti import read_volume
from bids_ihf.lab.benchmarks.reference_distribution import fit_reference_distribution
from bids_ihf.pipeline import outputs
from bids_ihf.pipeline.job import Job, ResolvedTarget
from bids_ihf.pipeline.plan import plan
from bids_ihf.preprocessing import outputs as preprocessing_outputs
from bids_ihf.qc import assess as quality
from bids_ihf.qc import out_of_distribution as familiar
from bids_ihf.reports.figures import FIGURE_DESCS, figure_name
from bids_ihf.targets.profile import Profile
from tests.datasets import write_dataset
from tests.reports.conftest import embeddings, evidence

TARGET = ResolvedTarget("GE", "GE", "t-hash", "ihf", "m-hash", "b-hash", ("T1w", "T2w"))


@pytest.fixture
def job(tmp_path: Path) -> Job:
    root = write_dataset(tmp_path / "bids")
    path = root / "sub-01/ses-A/anat/sub-01_ses-A_T1w.nii.gz"
    image = SourceImage.from_path(path, root, {"Manufacturer": "SIEMENS", "EchoTime": 0.003})
    return plan([image], RunConfig(root, tmp_path / "out"), TARGET)[0]


@pytest.fixture
def config(tmp_path: Path) -> RunConfig:
    return RunConfig(tmp_path / "bids", tmp_path / "out", device="cpu")


def write(job: Job, config: RunConfig) -> None:
    outputs.write_anat(job, *results(job), config, TARGET, "cpu", 0.5)


def results(job: Job) -> tuple[Any, Any]:
    volume = read_volume(job.image.path)
    mask = np.zeros(volume.data.shape, dtype=bool)
    mask[2:6, 2:6, 2:6] = True
    prepared = SimpleNamespace(
        volume=volume,
        grid=Grid(mask.shape, volume.affine),
        mask=mask,
        stripped=False,
        to_template=np.eye(4),
        similarity=0.9,
        coverage=0.95,
        seconds=1.5,
    )
    harmonized = Harmonized(
        image=volume.data + 2,
        change=np.full(volume.data.shape, 2, dtype=np.float32),
        scaling={"SourceLow": 0.0},
        round_trip_error=1e-7,
        qc=evidence(),
        modality="T1w",
        network_applied=True,
    )
    return prepared, harmonized


def test_all_is_written(job: Job, config: RunConfig) -> None:
    write(job, config)
    names = job.outputs
    for path in (names.harmonized, names.change, names.mask, names.transform):
        assert path.is_file()
    assert job.finished
    sidecar = json.loads(job.sidecar.read_text())
    assert sidecar["SourceVendor"] == "Siemens"
    assert sidecar["Manufacturer"] == "SIEMENS"
    assert sidecar["EchoTime"] == 0.003
    assert sidecar["ConfigurationHash"] == job.hash
    assert sidecar["IntensityScaling"] == {"SourceLow": 0.0}
    mask = nibabel.load(names.mask)
    assert mask.get_data_dtype() == np.uint8
    assert np.asarray(mask.dataobj).sum() == 64
    figures = config.out_dir / "sub-01" / "figures"
    drawn = {path.name for path in figures.glob("sub-01_ses-A_desc-*_T1w.svg")}
    assert drawn == {
        figure_name("sub-01_ses-A", kind, "T1w") for kind in set(FIGURE_DESCS) - {"fa"}
    }
    assert (figures / "sub-01_ses-A_desc-evidence_T1w.json").is_file()
    assert "HarmonizationWarning" not in sidecar
    table = (config.out_dir / "sub-01/ses-A/sub-01_ses-A_scans.tsv").read_text().splitlines()
    row = dict(zip(table[0].split("\t"), table[1].split("\t"), strict=True))
    assert row["batch"] == "Siemens"
    assert row["change_rms"] == "2"
    assert row["mask_volume_ml"] == "0.064"
    assert row["alignment_coverage"] == "0.95"
    assert row["seconds"] == "2"
    assert row["harmonization_warning"] == "no"
    assert float(row["distance_before"]) > float(row["distance_after"])
    assert float(row["wasserstein_white_before"]) == pytest.approx(0.15, abs=1e-3)
    assert float(row["wasserstein_white_after"]) == pytest.approx(0, abs=1e-6)
    dictionary = json.loads((config.out_dir / "sub-01/ses-A/sub-01_ses-A_scans.json").read_text())
    assert set(dictionary) == set(row)


def test_no_mark_of_completion_where_a_file_was_taken_away(
    job: Job, config: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outputs, "update_scans_table", lambda *_: job.outputs.change.unlink())
    with pytest.raises(CannotWrite, match=r"T1w\.nii\.gz was removed"):
        write(job, config)
    assert not job.sidecar.exists()


def test_image_out_of_range_is_flagged_and_written(
    job: Job, config: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Simulated scans that are all alike make any other look strange."""
    people = [replace_embeddings(evidence().target, seed) for seed in range(3)]
    known, _ = fit_reference_distribution(people, ["a", "b", "c"])
    reference = familiar.ReferenceScans("e-hash", {"T1w": known})
    monkeypatch.setattr(quality, "shipped_reference", lambda _encoder: reference)
    write(job, config)
    warning = json.loads(job.sidecar.read_text())["HarmonizationWarning"]
    assert "the image (out-of-range score" in warning
    assert job.outputs.harmonized.is_file()
    table = (config.out_dir / "sub-01/ses-A/sub-01_ses-A_scans.tsv").read_text().splitlines()
    row = dict(zip(table[0].split("\t"), table[1].split("\t"), strict=True))
    assert row["harmonization_warning"] == "yes"
    assert (
        float(row["out_of_range_score"])
        == float(row["out_of_range_source"])
        > familiar.MAX_OUT_OF_RANGE_SCORE
    )


def replace_embeddings(profile: Profile, seed: int) -> Profile:
    """A scan like the target's, of another person."""
    return attrs.evolve(profile, embeddings=embeddings(0.0, seed))


def test_sidecar_is_written_last(
    job: Job, config: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[Path] = []

    def note(path: Path, *_: object) -> None:
        written.append(path)

    for module in (anat_outputs, preprocessing_outputs):
        monkeypatch.setattr(module, "write_atomic", note)
        monkeypatch.setattr(module, "write_json", note)
    monkeypatch.setattr(anat_outputs, "require_written", lambda *_, **__: None)
    write(job, config)
    assert written[-2:] == [job.outputs.harmonized, job.sidecar]


def test_interrupted_writing_leaves_nothing_that_looks_done(
    job: Job, config: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(job, config)

    def fail(*_: object) -> None:
        raise OSError("killed")

    monkeypatch.setattr(outputs, "write_mask", fail)
    with pytest.raises(OSError, match="killed"):
        write(job, config)
    assert not job.finished
    assert not job.outputs.harmonized.exists()


def test_stale_template_image_is_removed(job: Job, config: RunConfig) -> None:
    job.outputs.folder.mkdir(parents=True)
    job.outputs.template_image.write_bytes(b"of another target")
    write(job, config)
    assert not job.outputs.template_image.exists()


def test_template_header(tmp_path: Path) -> None:
    data = np.ones((4, 5, 6), dtype=np.float32)
    affine = np.diag([1.0, 1.0, 1.0, 1.0])
    volume = anat_outputs.template_volume(data, affine, tmp_path / "x.nii.gz")
    assert volume.header["sform_code"] == volume.header["qform_code"] == 4
    assert volume.header.get_xyzt_units()[0] == "mm"
