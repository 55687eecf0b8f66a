"""``ihf train`` from label maps to weights and targets that load, resumed or not."""

from __future__ import annotations

import json
import shutil
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from safetensors import safe_open

from bids_ihf.anat.harmonize import harmonize
from bids_ihf.errors import BadData, UsageError
from bids_ihf.io.tsv import read_tsv
from bids_ihf.lab.simulation.acquisition import scan
from bids_ihf.lab.simulation.anatomy import crop_to_brain
from bids_ihf.lab.simulation.label_anatomy import from_labels
from bids_ihf.lab.simulation.reference_segmentation import reference_segmentation
from bids_ihf.lab.simulation.vendor_scanners import typical_scanner
from bids_ihf.lab.simulation.virtual_subject import RegisteredSubject
from bids_ihf.lab.training import network_training, timed_run
from bids_ihf.lab.training.training_config import read_config
from bids_ihf.lab.training.training_run import train
from bids_ihf.network.checkpoint import load_model
from bids_ihf.network.encoder import Encoder
from bids_ihf.targets.target_file import read_target

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def trained(config_path: Path) -> Path:
    return train(config_path, device="cpu")


def test_weights_and_targets_load_and_name_their_origin(trained: Path) -> None:
    model = load_model(
        trained / "network.safetensors", encoder_path=trained / "encoder.safetensors"
    )
    assert model.name == "tiny"
    assert model.record["people"] == ["person-0", "person-1"]
    assert model.record["settings"]["seed"] == 3
    for vendor in ("siemens", "ge", "philips"):
        target = read_target(trained / f"target-{vendor}.safetensors")
        target.require_encoder(model.encoder_hash)
        assert target.modalities == ("FLAIR", "T1w", "T2w")


def test_the_log_has_the_losses(trained: Path) -> None:
    log = (trained / "train.log").read_text()
    assert "encoder 3/3: tissue" in log
    assert "network 4/4: supervised" in log


def test_every_validation_is_a_row_of_each_modality(trained: Path) -> None:
    _, rows = read_tsv(trained / "validation.tsv")
    steps = [(row["step"], row["modality"]) for row in rows]
    assert steps == [(n, m) for n in ("0", "2", "4") for m in ("T1w", "T2w", "FLAIR")]
    for row in rows:
        assert 0 < float(row["network"]) < 1
        # A curve to the target leaves less than no curve does; these networks were hardly trained.
    assert sum(float(r["curve"]) for r in rows) < sum(float(r["none"]) for r in rows)


def test_the_best_network_of_the_validations_is_written(trained: Path) -> None:
    with safe_open(trained / "state.safetensors", framework="pt") as file:
        best = float(file.metadata()["best"])
    _, rows = read_tsv(trained / "validation.tsv")
    ratio = {
        step: np.mean([float(r["network"]) / float(r["curve"]) for r in rows if r["step"] == step])
        for step in ("0", "2", "4")
    }
    assert best == pytest.approx(min(ratio.values()), rel=1e-3)


def test_an_interrupted_run_ends_as_an_undisturbed_one(
    trained: Path, config_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    again = config_path.with_name("again.toml")
    again.write_text(config_path.read_text().replace('output = "run"', 'output = "again"'))
    (again.parent / "again").mkdir()
    shutil.copy(trained / "encoder.safetensors", again.parent / "again")
    shutil.copytree(trained / "typical", again.parent / "again/typical")
    calls = 0
    real = network_training.batch_losses

    def stops_at_the_fourth(*arguments: object) -> object:
        nonlocal calls
        calls += 1
        if calls == 4:
            raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setattr(network_training, "batch_losses", stops_at_the_fourth)
    with pytest.raises(KeyboardInterrupt):
        train(again, device="cpu")
    monkeypatch.undo()
    train(again, device="cpu")
    first, second = (
        load_model(folder / "network.safetensors", encoder_path=folder / "encoder.safetensors")
        for folder in (trained, again.parent / "again")
    )
    assert first.hash == second.hash


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("width = 2", "widht = 2", r"\[encoder\] has no option widht"),
        ("[data]", "[data", "not a readable TOML"),
        ('source = "labels"', 'source = "labels"\nkind = "bids"', "set supervised = 0"),
        ('source = "labels"', 'source = "labels"\nkind = "magic"', r"\[data\]"),
        ("width = 2", 'kind = "resnet"', r"\[encoder\]"),
        ("width = 2", 'kind = "vgg19"\nfile = "shipped"', "remove one of them"),
        ("width = 2", 'weights = "vgg19.pth"', "weights are those of"),
    ],
)
def test_a_wrong_configuration_is_refused(
    config_path: Path, tmp_path: Path, old: str, new: str, message: str
) -> None:
    path = tmp_path / "config.toml"
    path.write_text(config_path.read_text().replace(old, new))
    with pytest.raises(UsageError, match=message):
        read_config(path)


def test_training_needs_two_subjects(config_path: Path, tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text(config_path.read_text())
    with pytest.raises(BadData, match="holds 0 of the requested label maps"):
        train(path, device="cpu")


def test_paths_start_at_the_folder_of_the_configuration(config_path: Path) -> None:
    path = config_path.with_name("paths.toml")
    text = config_path.read_text().replace("width = 2", 'file = "my.safetensors"')
    path.write_text(text.replace("hidden =", 'start = "shipped"\nhidden ='))
    config = read_config(path)
    assert config.encoder.file == str(path.parent / "my.safetensors")
    assert config.network.start == "shipped"
    assert config.data.source == path.parent / "labels"


def test_a_timed_run_goes_on_on_another_machine(
    trained: Path, config_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What one machine packs, the next one trains further."""
    monkeypatch.setattr(timed_run, "VOLUME_SHAPE", (2, 16, 16))
    monkeypatch.setattr(timed_run, "PART_SIZE", 50_000)
    timed_run.pack_run(trained, tmp_path / "first")
    assert (tmp_path / "first/run/network.safetensors.part000").exists()
    text = config_path.read_text().replace("steps = 4", "steps = 40000")
    for name in ("people_file", "pool"):
        default = {"people_file": "people.safetensors", "pool": "pool"}[name]
        text = text.replace("[data]", f'[data]\n{name} = "{trained.parent / default}"')
    (tmp_path / "train.toml").write_text(text)
    arguments = ["timed_run", str(tmp_path / "train.toml"), str(tmp_path / "out")]
    arguments += ["--minutes", "0.001", "--from", str(tmp_path / "first")]
    monkeypatch.setattr(sys, "argv", arguments)
    timed_run.main()
    assert json.loads((tmp_path / "out/speed.json").read_text())["seconds_per_volume"] > 0
    _, rows = read_tsv(tmp_path / "out/validation.tsv")
    assert [row["step"] for row in rows if row["modality"] == "T1w"] == ["0", "2", "4", "5"]
    timed_run.unpack_run(tmp_path / "out", tmp_path / "again")
    assert (tmp_path / "again/state.safetensors").exists()


def test_fine_tuning_needs_the_same_architecture(config_path: Path, trained: Path) -> None:
    path = config_path.with_name("other.toml")
    text = config_path.read_text().replace("hidden =", 'start = "shipped"\nhidden =')
    path.write_text(text)
    with pytest.raises(UsageError, match="another architecture"):
        train(path, device="cpu")
    assert trained.is_dir()


@pytest.fixture(scope="module")
def vgg19(config_path: Path, trained: Path) -> Path:
    """Folder of a network that was trained with VGG19 of random weights, on the same pool."""
    weights = {f"features.{k}": v for k, v in Encoder(width=64).features.state_dict().items()}
    torch.save(weights, trained.parent / "vgg19.pth")
    path = config_path.with_name("vgg19.toml")
    text = config_path.read_text().replace('output = "run"', 'output = "vgg19"')
    text = text.replace("width = 2", 'kind = "vgg19"\nweights = "vgg19.pth"')
    text = text.replace("[encoder]", 'modalities = ["T1w"]\n\n[encoder]')
    path.write_text(text.replace("steps = 4", "steps = 1"))
    return train(path, device="cpu")


def test_the_encoder_of_the_paper_can_be_trained_with(vgg19: Path) -> None:
    model = load_model(vgg19 / "network.safetensors")
    assert (model.encoder.width, model.encoder.has_tissue_head) == (64, False)
    weights = torch.load(vgg19.parent / "vgg19.pth", weights_only=True)
    first = weights["features.0.weight"].half().float()
    assert torch.equal(model.encoder.features[0].weight, first)
    assert model.record["settings"]["encoder"]["kind"] == "vgg19"
    assert model.record["settings"]["encoder"]["weights"] == "vgg19.pth"


def test_a_network_with_the_encoder_of_the_paper_harmonizes(vgg19: Path) -> None:
    """Without a tissue read-out the landmarks are missing, and the curve does without them."""
    model = load_model(vgg19 / "network.safetensors")
    target = read_target(vgg19 / "target-ge.safetensors")
    target.require_encoder(model.encoder_hash)
    assert np.isnan(target.profile("T1w").landmarks).all()
    anatomy = crop_to_brain(from_labels(vgg19.parent / "labels/person-0_dseg.nii.gz", seed=7))
    brain = anatomy.brain.numpy()
    subject = RegisteredSubject(
        "person-0",
        anatomy,
        7,
        brain,
        reference_segmentation(anatomy, brain),
        np.eye(4),
        vgg19.parent / "person-0_T1w.nii.gz",
    )
    image = scan(anatomy, typical_scanner("Siemens", "T1w", 7), 7)
    result = harmonize(subject.prepared(image), target.profile("T1w"), model)
    assert result.image.shape == image.shape
    assert np.isfinite(result.image).all()
    assert np.abs(result.image - image)[brain].mean() > 0


def test_missing_imagenet_weights_are_one_sentence(
    config_path: Path, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    path = config_path.with_name("missing.toml")
    text = config_path.read_text().replace('output = "run"', 'output = "missing"')
    path.write_text(text.replace("width = 2", 'kind = "vgg19"'))
    with pytest.raises(BadData, match=r"vgg19-dcbb9e9d\.pth: there are no ImageNet weights"):
        train(path, device="cpu")
    assert trained.is_dir()
