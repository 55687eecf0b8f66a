"""A pool of a user's own unpaired scans, and training on it."""

from __future__ import annotations

import json
import logging
import shutil
from typing import TYPE_CHECKING, Any

import attrs
import nibabel as nib
import numpy as np
import pytest
import torch

from bids_ihf.errors import BadData, UsageError
from bids_ihf.io.paths import packaged_file
from bids_ihf.io.tensors import read_safetensors
from bids_ihf.lab.training import bids_pool as real
from bids_ihf.lab.training.bids_pool import prepare_pool
from bids_ihf.lab.training.training_config import read_config
from bids_ihf.lab.training.training_run import train
from bids_ihf.network.checkpoint import load_model
from bids_ihf.targets.build import load_target

if TYPE_CHECKING:
    from pathlib import Path

    from bids_ihf.lab.training.training_config import TrainConfig

CONFIG = """
name = "own"
output = "run"
threads = 1

[data]
kind = "bids"
source = "bids"
modalities = ["T1w", "T2w"]
preprocessed = true

[encoder]
file = "shipped"

[network]
start = "shipped"
supervised = 0
steps = 2
batch = 2
"""
# No subject was scanned at both sites; one has two sessions, and two runs in one of them.
SCANS = {
    "sub-a/ses-1/anat/sub-a_ses-1_run-1_T1w": "Hitachi Medical",
    "sub-a/ses-1/anat/sub-a_ses-1_run-2_T1w": "Hitachi Medical",
    "sub-a/ses-2/anat/sub-a_ses-2_T1w": "HITACHI",
    "sub-b/anat/sub-b_T1w": "Hitachi",
    "sub-d/anat/sub-d_T1w": "Acme-MR (prototype)",
    "sub-e/anat/sub-e_T1w": "Acme-MR (prototype)",
}
ACME = "Acme MR prototype"


def write_scan(root: Path, stem: str, manufacturer: str | None) -> Path:
    """A stripped brain: a bright ball in a grey one, of another size in every scan."""
    rng = np.random.default_rng([*stem.encode()])
    axis = np.linspace(-1, 1, 14)
    radius = np.sqrt(sum(a**2 for a in np.meshgrid(axis, axis, axis, indexing="ij")))
    brain = np.select([radius < rng.uniform(0.4, 0.5), radius < 0.8], [900.0, 500.0], 0.0)
    data = np.where(brain > 0, brain + rng.normal(0, 20, brain.shape), 0).astype(np.float32)
    path = root / f"{stem}.nii.gz"
    path.parent.mkdir(parents=True, exist_ok=True)
    affine = np.diag([4.0, 4.0, 4.0, 1.0])
    affine[:3, 3] = -28
    nib.save(nib.Nifti1Image(data, affine), path)
    fields = {} if manufacturer is None else {"Manufacturer": manufacturer}
    (root / f"{stem}.json").write_text(json.dumps(fields))
    return path


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study")
    for stem, manufacturer in SCANS.items():
        write_scan(folder / "bids", stem, manufacturer)
    description = {"Name": "own", "BIDSVersion": "1.10.0"}
    (folder / "bids/dataset_description.json").write_text(json.dumps(description))
    (folder / "config.toml").write_text(CONFIG)
    return folder


@pytest.fixture
def dataset(study: Path, tmp_path: Path) -> Path:
    """A copy of the dataset that a test may change."""
    shutil.copytree(study, tmp_path / "dataset")
    return tmp_path / "dataset"


def config(folder: Path) -> TrainConfig:
    return read_config(folder / "config.toml")


@pytest.fixture
def prepared(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the scans that are prepared, in order."""
    names: list[str] = []
    genuine = real.prepare

    def prepare(path: Path, **options: Any) -> object:
        names.append(path.name.split(".")[0])
        return genuine(path, **options)

    monkeypatch.setattr(real, "prepare", prepare)
    return names


def test_every_scan_has_its_subject_site_and_arrays(dataset: Path) -> None:
    pool = prepare_pool(config(dataset))
    assert [(scan.subject, scan.site) for scan in pool.scans] == [
        ("a", "Hitachi"), ("a", "Hitachi"), ("a", "Hitachi"), ("b", "Hitachi"),
        ("d", ACME), ("e", ACME),
    ]  # fmt: skip
    slices = [pool.data(scan)[24].astype(float) for scan in pool.scans]
    assert all(np.abs(a - b).max() > 0 for i, a in enumerate(slices) for b in slices[:i])
    assert all(len(pool.data(s)) == len(pool.mask(s)) == len(s.z) for s in pool.scans)
    assert len(list(dataset.glob("pool/**/*.npy"))) == 2 * len(SCANS)


def test_a_second_run_prepares_only_subjects_whose_files_changed(
    dataset: Path, prepared: list[str]
) -> None:
    first = prepare_pool(config(dataset))
    prepared.clear()
    again = prepare_pool(config(dataset))
    assert prepared == []
    assert [attrs.astuple(s)[:5] for s in again.scans] == [
        attrs.astuple(s)[:5] for s in first.scans
    ]
    shutil.copy(
        dataset / "bids/sub-e/anat/sub-e_T1w.nii.gz", dataset / "bids/sub-b/anat/sub-b_T1w.nii.gz"
    )
    (dataset / "bids/sub-d/anat/sub-d_T1w.json").write_text('{"Manufacturer": "Canon"}')
    changed = prepare_pool(config(dataset))
    assert prepared == ["sub-b_T1w", "sub-d_T1w"]
    assert {scan.subject: scan.site for scan in changed.scans}["d"] == "Canon"
    assert not list(dataset.glob("pool/sub-d/*Acme*"))


def test_an_interrupted_run_resumes_with_the_next_subject(
    dataset: Path, prepared: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = real.prepare

    def stops(path: Path, **options: Any) -> object:
        if "sub-d" in path.name:
            raise KeyboardInterrupt
        return counted(path, **options)

    monkeypatch.setattr(real, "prepare", stops)
    with pytest.raises(KeyboardInterrupt):
        prepare_pool(config(dataset))
    monkeypatch.setattr(real, "prepare", counted)
    prepared.clear()
    assert len(prepare_pool(config(dataset)).scans) == len(SCANS)
    assert prepared == ["sub-d_T1w", "sub-e_T1w"]


def test_a_subject_with_a_truncated_index_is_prepared_again(
    dataset: Path, prepared: list[str]
) -> None:
    prepare_pool(config(dataset))
    index = dataset / "pool/sub-b/index.json"
    complete = index.read_text()
    index.write_text(complete[:50])
    prepared.clear()
    assert len(prepare_pool(config(dataset)).scans) == len(SCANS)
    assert prepared == ["sub-b_T1w"]
    assert index.read_text() == complete


def test_subjects_that_left_the_dataset_leave_the_pool(dataset: Path) -> None:
    prepare_pool(config(dataset))
    shutil.rmtree(dataset / "bids/sub-b")
    assert {scan.subject for scan in prepare_pool(config(dataset)).scans} == {"a", "d", "e"}
    assert not (dataset / "pool/sub-b").exists()


def test_unusable_scans_are_omitted(dataset: Path, caplog: pytest.LogCaptureFixture) -> None:
    broken = dataset / "bids/sub-b/anat/sub-b_T1w.nii.gz"
    broken.write_bytes(broken.read_bytes()[:2000])
    nameless = write_scan(dataset / "bids", "sub-f/anat/sub-f_T1w", None)
    single = write_scan(dataset / "bids", "sub-a/ses-2/anat/sub-a_ses-2_T2w", "Hitachi")
    with caplog.at_level(logging.WARNING):
        pool = prepare_pool(config(dataset))
    assert {scan.subject for scan in pool.scans} == {"a", "d", "e"}
    assert {scan.modality for scan in pool.scans} == {"T1w"}
    assert f"Omitted: {broken}" in caplog.text
    assert f"Omitted: the sidecar of {nameless} has no Manufacturer" in caplog.text
    assert "Omitted: all T2w" in caplog.text
    assert single.exists()
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        prepare_pool(config(dataset))
    assert "Some scans of sub-b were omitted" in caplog.text


def test_a_t2w_is_registered_by_the_t1w_of_its_session(
    dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_scan(dataset / "bids", "sub-a/ses-2/anat/sub-a_ses-2_T2w", "Hitachi")
    write_scan(dataset / "bids", "sub-b/anat/sub-b_acq-x_T2w", "Hitachi")
    write_scan(dataset / "bids", "sub-d/anat/sub-d_T2w", "Canon")
    genuine, t1w_references = real.prepare, {}

    def prepare(path: Path, *, t1w_reference: Any, **options: Any) -> object:
        t1w_references[path.name] = t1w_reference and t1w_reference.volume.path.name
        return genuine(path, t1w_reference=t1w_reference, **options)

    monkeypatch.setattr(real, "prepare", prepare)
    settings = config(dataset)
    settings = attrs.evolve(settings, data=attrs.evolve(settings.data, modalities=("T2w",)))
    pool = prepare_pool(settings)
    assert [scan.modality for scan in pool.scans] == ["T2w"] * 3
    assert t1w_references == {
        "sub-a_ses-2_T1w.nii.gz": None,
        "sub-a_ses-2_T2w.nii.gz": "sub-a_ses-2_T1w.nii.gz",
        "sub-b_T1w.nii.gz": None,
        "sub-b_acq-x_T2w.nii.gz": "sub-b_T1w.nii.gz",
        "sub-d_T1w.nii.gz": None,
        "sub-d_T2w.nii.gz": "sub-d_T1w.nii.gz",
    }


def test_one_site_is_refused_before_anything_is_prepared(
    dataset: Path, prepared: list[str]
) -> None:
    for subject in ("d", "e"):
        shutil.rmtree(dataset / f"bids/sub-{subject}")
    with pytest.raises(BadData, match=r"fewer than two manufacturers \(Hitachi\)"):
        prepare_pool(config(dataset))
    assert prepared == []


def test_the_pool_cannot_be_the_dataset(dataset: Path) -> None:
    text = (dataset / "config.toml").read_text()
    (dataset / "config.toml").write_text(text.replace("[data]", '[data]\npool = "bids"'))
    with pytest.raises(UsageError, match="the pool is the dataset itself"):
        prepare_pool(config(dataset))


@pytest.fixture(scope="module")
def trained(study: Path) -> Path:
    return train(study / "config.toml", device="cpu")


def test_the_shipped_network_is_fine_tuned(trained: Path) -> None:
    model = load_model(trained / "network.safetensors")
    assert model.name == "own"
    assert model.record["people"] == ["a", "b", "d", "e"]
    before, header = read_safetensors(
        packaged_file("network.safetensors"), "ihf-harmony network 1"
    )
    assert header["encoder"] == model.encoder_hash
    after = model.network.state_dict()
    moved = max(float((after[key] - before[key]).abs().max()) for key in before)
    assert 0 < moved < 0.01


@pytest.mark.parametrize(("file", "name"), [("hitachi", "Hitachi"), ("acme-mr-prototype", ACME)])
def test_every_site_is_a_target(trained: Path, file: str, name: str) -> None:
    target = load_target(str(trained / f"target-{file}.safetensors"), load_model())
    assert (target.name, target.modalities) == (name, ("T1w",))
    assert torch.isfinite(torch.from_numpy(target.profile("T1w").embeddings)).all()
