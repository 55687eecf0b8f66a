"""``ihf train`` from label maps to weights and targets that load, resumed or not."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from bids_ihf.errors import BadData, UsageError
from bids_ihf.lab.training import network_training
from bids_ihf.lab.training.training_config import read_config
from bids_ihf.lab.training.training_run import make_pool, train
from bids_ihf.network.checkpoint import load_model
from bids_ihf.targets.target import read_target

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
        assert target.modalities == ("T1w", "T2w")


def test_every_person_was_scanned_by_every_scanner(trained: Path, config_path: Path) -> None:
    pool = make_pool(read_config(config_path))
    seen = {(scan.person, scan.site, scan.modality) for scan in pool.scans}
    assert len(seen) == len(pool.scans) == 2 * 4 * 2
    assert trained.name == "run"


def test_an_interrupted_run_ends_as_an_undisturbed_one(
    trained: Path, config_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    again = config_path.with_name("again.toml")
    again.write_text(config_path.read_text().replace('output = "run"', 'output = "again"'))
    (again.parent / "again").mkdir()
    for path in (trained / "encoder.safetensors", *trained.glob("target-*.safetensors")):
        shutil.copy(path, again.parent / "again")
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
        ("width = 2", "widht = 2", r"\[encoder\] does not know widht"),
        ("[data]", "[data", "not a readable TOML"),
        ('source = "labels"', 'source = "labels"\nkind = "bids"', "set supervised = 0"),
        ('source = "labels"', 'source = "labels"\nkind = "magic"', r"\[data\]"),
    ],
)
def test_a_wrong_configuration_is_refused(
    config_path: Path, tmp_path: Path, old: str, new: str, message: str
) -> None:
    path = tmp_path / "config.toml"
    path.write_text(config_path.read_text().replace(old, new))
    with pytest.raises(UsageError, match=message):
        read_config(path)


def test_training_needs_two_people(config_path: Path, tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text(config_path.read_text())
    with pytest.raises(BadData, match="holds 0 of the label maps"):
        train(path, device="cpu")
