"""``ihf train`` with a section [comparator]: weights that load, resumed or not."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from bids_ihf.errors import UsageError
from bids_ihf.io.tsv import read_tsv
from bids_ihf.lab.benchmarks import content_readout
from bids_ihf.lab.benchmarks.comparator_cost import (
    comparator_step_cost,
    comparator_volume_cost,
    network_step_cost,
    network_volume_cost,
)
from bids_ihf.lab.benchmarks.comparator_runs import best_validation
from bids_ihf.lab.comparators.learned.murd import MURD
from bids_ihf.lab.comparators.learned.weights import load_comparator
from bids_ihf.lab.training import comparator_validation
from bids_ihf.lab.training.comparator_training import ComparatorTrainer
from bids_ihf.lab.training.site_sampling import SiteSampler, random_windows
from bids_ihf.lab.training.template_subjects import template_subjects
from bids_ihf.lab.training.training_config import read_config
from bids_ihf.lab.training.training_run import train
from bids_ihf.lab.training.vendor_profiles import typical_profiles
from bids_ihf.network.checkpoint import load_encoder, load_model

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SECTION = """
[comparator]
kind = "murd"
channels = 4
blocks = 1
window = [64, 64]
steps = 4
batch = 2
save_every = 2
validate_every = 2
"""


@pytest.fixture(autouse=True, scope="module")
def few_slabs() -> Iterator[None]:
    patch = pytest.MonkeyPatch()
    patch.setattr(comparator_validation, "VALIDATION_SLABS", 1)
    yield
    patch.undo()


@pytest.fixture(scope="module")
def comparator_config(config_path: Path) -> Path:
    path = config_path.with_name("murd.toml")
    text = config_path.read_text().replace('output = "run"', 'output = "murd"')
    text = text.replace("width = 2", 'file = "shipped"')
    path.write_text(text.replace("[encoder]", 'modalities = ["T1w"]\n\n[encoder]') + SECTION)
    return path


@pytest.fixture(scope="module")
def trained(comparator_config: Path) -> Path:
    return train(comparator_config, device="cpu")


def test_weights_load_and_name_their_origin(trained: Path) -> None:
    encoder, digest = load_encoder()
    loaded = load_comparator(trained / "comparator.safetensors", encoder, digest)
    assert isinstance(loaded.model, MURD)
    assert loaded.model.settings.sites == ("Siemens T1w", "GE T1w", "Philips T1w")
    assert loaded.record["people"] == ["person-0", "person-1"]
    assert loaded.record["seconds_per_step"] > 0
    assert not (trained / "network.safetensors").exists()


def test_the_log_has_losses_and_validations(trained: Path) -> None:
    assert "comparator 4/4: reconstruction" in (trained / "train.log").read_text()
    _, rows = read_tsv(trained / "validation.tsv")
    assert [row["step"] for row in rows] == ["2", "4"]
    assert all(float(row["none"]) > 0 and float(row["comparator"]) > 0 for row in rows)


def test_an_interrupted_run_ends_as_an_undisturbed_one(
    trained: Path, comparator_config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    again = comparator_config.with_name("murd-again.toml")
    text = comparator_config.read_text()
    again.write_text(text.replace('output = "murd"', 'output = "murd-again"'))
    folder = again.parent / "murd-again"
    folder.mkdir()
    shutil.copytree(trained / "typical", folder / "typical")
    real = ComparatorTrainer._step

    def stops_at_the_third(self: ComparatorTrainer, batch: object, step: int) -> object:
        if step == 3:
            raise KeyboardInterrupt
        return real(self, batch, step)  # type: ignore[arg-type]

    monkeypatch.setattr(ComparatorTrainer, "_step", stops_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        train(again, device="cpu")
    monkeypatch.undo()
    monkeypatch.setattr(comparator_validation, "VALIDATION_SLABS", 1)
    train(again, device="cpu")
    encoder, digest = load_encoder()
    hashes = [
        load_comparator(one / "comparator.safetensors", encoder, digest).hash
        for one in (trained, folder)
    ]
    assert hashes[0] == hashes[1]


@pytest.fixture(scope="module")
def sampler(trained: Path, comparator_config: Path) -> SiteSampler:
    data = read_config(comparator_config).data
    encoder, digest = load_encoder()
    subjects = template_subjects(data.people_file, data.pool, data.people)
    profiles = typical_profiles(
        data.people_file, data.pool, data.people, (encoder, digest), trained / "typical",
        modalities=("T1w",), processes=1,
    )  # fmt: skip
    loaded = load_comparator(trained / "comparator.safetensors", encoder, digest)
    return SiteSampler(
        subjects, profiles, loaded.model.settings, modalities=("T1w",), batch=4, seed=1
    )


def test_rows_are_the_same_slices_by_two_sites(sampler: SiteSampler) -> None:
    first, again = sampler.chunk(0), sampler.chunk(0)
    assert len(first) == sampler.steps_per_chunk
    for one, other in zip(first, again, strict=True):
        assert torch.equal(one.source, other.source)
        assert torch.equal(one.target_site, other.target_site)
        assert (one.source_site != one.target_site).all()
    batch = first[0]
    brain = batch.mask > 0.5
    assert (batch.centre[~brain] == -1).all()
    assert (batch.truth[~brain] == -1).all()
    # The same tissue borders in source and truth, others in the reference.
    edges = [x[:, :, 1:].sub(x[:, :, :-1]).abs()[brain[:, :, 1:]].numpy() for x in (
        batch.centre, batch.truth, batch.reference[:, 1:2])]  # fmt: skip
    same, different = (np.corrcoef(edges[0], edges[k])[0, 1] for k in (1, 2))
    assert same > different


def test_windows_are_cut_alike_and_hold_brain(sampler: SiteSampler) -> None:
    batch = sampler.chunk(1)[0]
    torch.manual_seed(0)
    cut = random_windows(batch, (32, 48))
    assert cut.source.shape == (4, 3, 32, 48)
    assert cut.truth.shape == cut.mask.shape == (4, 1, 32, 48)
    assert (cut.mask.sum(dim=(1, 2, 3)) > 0).all()
    assert (cut.truth[cut.mask <= 0.5] == -1).all()
    assert random_windows(batch, ()) is batch


def test_the_site_is_read_out_of_images_and_codes(
    trained: Path, comparator_config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(content_readout, "PERMUTATION_COUNT", 2)
    assert trained.is_dir()
    rows = content_readout.readout_rows(comparator_config, slabs=1)
    assert [(row["modality"], row["read_from"]) for row in rows] == [
        ("T1w", "image"), ("T1w", "content"),
    ]  # fmt: skip
    assert all(0 <= row["accuracy"] <= 1 and row["slabs"] == 9 for row in rows)


def test_the_cost_of_a_volume_is_measured(trained: Path) -> None:
    row = comparator_volume_cost(trained / "comparator.safetensors", slices=2)
    encoder, digest = load_encoder()
    loaded = load_comparator(trained / "comparator.safetensors", encoder, digest)
    assert row["kind"] == "murd"
    assert row["parameters"] == sum(value.numel() for value in loaded.model.parameters())
    assert row["training_cpu_s"] == pytest.approx(4 * loaded.record["seconds_per_step"], abs=0.06)
    assert row["volume_cpu_s"] > 0
    _, rows = read_tsv(trained / "validation.tsv")
    best = min(rows, key=lambda r: float(r["comparator"]))
    assert best_validation(trained / "validation.tsv") == [best]


def test_the_cost_of_a_step_is_measured_and_nothing_written(trained: Path) -> None:
    before = sorted(trained.rglob("*"))
    row = comparator_step_cost(trained / "comparator.safetensors")
    assert row["step_cpu_s"] > 0
    assert row["step_memory_mb"] >= 0
    assert sorted(trained.rglob("*")) == before


def test_the_shipped_network_is_measured_alike() -> None:
    volume, step = network_volume_cost(None, slices=2), network_step_cost(None)
    shipped = load_model()
    assert volume["kind"] == shipped.name
    assert volume["parameters"] == sum(x.numel() for x in shipped.network.parameters())
    assert volume["volume_cpu_s"] > 0
    # A step goes through six slices, forwards and back.
    assert step["step_cpu_s"] > volume["volume_cpu_s"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('kind = "murd"', 'kind = "stargan"', r"\[comparator\]"),
        ("window = [64, 64]", "window = [64, 64, 3]", r"\[comparator\]"),
        ('source = "labels"', 'source = "labels"\nkind = "bids"', "is trained on simulated"),
    ],
)
def test_wrong_sections_are_refused(
    comparator_config: Path, tmp_path: Path, old: str, new: str, message: str
) -> None:
    path = tmp_path / "config.toml"
    text = comparator_config.read_text().replace("steps = 4\n", "steps = 4\nsupervised = 0\n", 1)
    path.write_text(text.replace(old, new))
    with pytest.raises(UsageError, match=message):
        read_config(path)
