"""A diffusion series through the network, and where it is left out."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING

import attrs
import nibabel
import numpy as np
import pytest

from bids_ihf.dwi import place_change, series_fit
from bids_ihf.dwi.mean_b0 import mean_b0_image
from bids_ihf.dwi.outputs import MATCHED_MODEL
from bids_ihf.errors import UsageError
from bids_ihf.pipeline import references, resources, worker
from bids_ihf.pipeline.image_files import ImageFiles
from bids_ihf.pipeline.plan import plan
from bids_ihf.pipeline.references import target_from_references
from bids_ihf.targets.map_profiles import DIFFUSION_MAPS, has_maps, serves_series
from bids_ihf.targets.target import Target
from bids_ihf.targets.target_file import as_stored, pack_target, read_target
from tests.anat.test_harmonize import tiny_model
from tests.pipeline import test_series
from tests.pipeline.test_series import RESOLVED, STEM, files_of, image_of, prepared_of, root

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

    from bids_ihf.config import RunConfig
    from bids_ihf.network.checkpoint import ModelBundle
    from bids_ihf.pipeline.job import Job

__all__ = ["root"]

TRAINED = {
    "settings": {
        "data": {"modalities": ["T1w", *DIFFUSION_MAPS]},
        "network": {"for_series": True},
    }
}
RUN = attrs.evolve(RESOLVED, map_network=True)


@pytest.fixture
def model() -> ModelBundle:
    return attrs.evolve(tiny_model(identity=False), record=TRAINED)


@pytest.fixture(autouse=True)
def small_brains(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(series_fit, "MASK_EROSION_MM", 1.0)


def built_target(root: Path, model: ModelBundle, monkeypatch: pytest.MonkeyPatch) -> Target:
    """From the series itself, prepared as in these tests."""
    monkeypatch.setattr(references, "prepare_files", lambda *_, **__: prepared_of(root))
    image = image_of(root)
    reference = ImageFiles(image.path, "dwi", bval=image.bval, bvec=image.bvec)
    return target_from_references([reference], "site", model)


def harmonized(
    root: Path, out: Path, target: Target, model: ModelBundle, monkeypatch: pytest.MonkeyPatch
) -> Job:
    config: RunConfig = test_series.RunConfig(root, out)
    monkeypatch.setattr(worker, "load_target_cached", lambda *_: target)
    monkeypatch.setattr(resources, "load_model_cached", lambda *_: model)
    (job,) = plan([image_of(root)], config, RUN)
    worker._harmonize_series(job, prepared_of(root), config, RUN, 1)
    return job


def test_a_built_target_holds_the_statistics_of_its_maps(
    root: Path, model: ModelBundle, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "site.safetensors"
    path.write_bytes(pack_target(built_target(root, model, monkeypatch)))
    target = read_target(path)
    assert sorted(target.profiles) == ["b0", "shell-energy-b1000", "shell-mean-b1000"]
    assert target.modalities == ()
    assert has_maps(target.profiles)
    assert target.profiles["b0"].embeddings.shape[1] == model.encoder.size


def test_the_network_changes_a_series_smoothly_and_the_sidecar_says_so(
    root: Path, tmp_path: Path, model: ModelBundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = built_target(root, model, monkeypatch)
    job = harmonized(root, tmp_path / "out", target, model, monkeypatch)
    unknowing = attrs.evolve(model, record={})
    plain = harmonized(root, tmp_path / "plain", target, unknowing, monkeypatch)
    sidecar, plain_sidecar = (json.loads(one.sidecar.read_text()) for one in (job, plain))
    assert sidecar["NetworkApplied"] is True
    assert sidecar["HarmonizationModel"].endswith(RUN.model_name)
    assert plain_sidecar["NetworkApplied"] is False
    images = [nibabel.load(one.outputs.harmonized).get_fdata() for one in (job, plain)]
    assert images[0].min() >= 0
    mask = prepared_of(root).mask
    b0 = [image[..., 0] for image in images]
    ratio = b0[0][mask] / np.maximum(b0[1][mask], 1e-3)
    low, high = place_change.MEAN_RATIO_BOUNDS
    assert ratio.std() > 1e-4
    assert (ratio > low - 1e-3).all()
    assert (ratio < high + 1e-3).all()
    for kind in ("bval", "bvec"):
        written = job.outputs.harmonized.with_name(f"sub-1_desc-harmonized_dwi.{kind}")
        assert written.read_bytes() == (root / f"{STEM}.{kind}").read_bytes()
    # The network's part of the mean is the same in all directions.
    assert not np.array_equal(images[0], images[1])


def test_a_target_without_maps_is_told_once_and_the_shell_model_serves(
    root: Path,
    tmp_path: Path,
    model: ModelBundle,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    target = Target("old", "e", {}, test_series.TARGET)
    with caplog.at_level(logging.WARNING):
        job = harmonized(root, tmp_path / "out", target, model, monkeypatch)
    assert json.loads(job.sidecar.read_text())["NetworkApplied"] is False
    assert caplog.text.count("has no statistics of the maps of diffusion series") == 1


def test_matched_people_take_the_place_of_the_shell_model(
    root: Path, tmp_path: Path, model: ModelBundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(references, "prepare_files", lambda *_, **__: prepared_of(root))
    image = image_of(root)
    one = ImageFiles(image.path, "dwi", bval=image.bval, bvec=image.bvec)
    path = tmp_path / "site.safetensors"
    path.write_bytes(pack_target(target_from_references([one], "site", model, matched=True)))
    target = read_target(path)
    assert target.matched is not None
    assert as_stored(target).hash == target.hash
    config: RunConfig = test_series.RunConfig(root, tmp_path / "out", source_profile=path)
    monkeypatch.setattr(worker, "load_target_cached", lambda *_: target)
    monkeypatch.setattr(resources, "load_model_cached", lambda *_: model)
    resolved = attrs.evolve(RUN, matched=True)
    (job,) = plan([image], config, resolved)
    worker._harmonize_series(job, prepared_of(root), config, resolved, 1)
    sidecar = json.loads(job.sidecar.read_text())
    assert sidecar["HarmonizationModel"] == MATCHED_MODEL
    assert sidecar["NetworkApplied"] is False
    before, after = (
        nibabel.load(name).get_fdata() for name in (image.path, job.outputs.harmonized)
    )
    mask = prepared_of(root).mask
    # The same people on both sides: nothing but the units at b 0 could change.
    assert np.median(np.abs(after / np.maximum(before, 1) - 1)[mask]) < 0.02


def test_matched_people_need_series(model: ModelBundle) -> None:
    with pytest.raises(UsageError, match="--matched is for diffusion series"):
        target_from_references([], "site", model, matched=True)


def test_networks_that_were_not_shown_to_help_series_change_none(model: ModelBundle) -> None:
    assert serves_series(model)
    settings = TRAINED["settings"]
    for changed in (
        {},
        {**settings, "data": {"modalities": ["T1w", "b0"]}},
        {**settings, "network": {}},
        {"data": settings["data"]},
    ):
        assert not serves_series(attrs.evolve(model, record={"settings": changed}))


def test_weights_and_target_are_part_of_what_a_series_is_made_with(
    root: Path, tmp_path: Path
) -> None:
    def identity(**changes: Any) -> str:
        resolved = attrs.evolve(RUN, **changes)
        (job,) = plan([image_of(root)], test_series.RunConfig(root, tmp_path), resolved)
        return job.hash

    alone = identity(map_network=False)
    assert alone == identity(map_network=False, model_hash="other")
    assert len({alone, identity(), identity(model_hash="other"), identity(target_hash="o")}) == 4


def test_ratios_keep_the_levels_of_the_shell_model(
    root: Path, model: ModelBundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = built_target(root, model, monkeypatch)
    prepared = prepared_of(root)
    with mean_b0_image(files_of(root), root):
        fitted = series_fit.fit_series(files_of(root), prepared)
    network = place_change.MapNetwork(model, target.profiles)
    ratios = place_change.place_ratios(
        fitted.corrected_maps, (1000.0,), prepared, fitted.head, fitted.interior, network
    )
    assert ratios is not None
    for ratio in (*ratios.means, *ratios.deviations):
        assert np.median(ratio[fitted.interior]) == pytest.approx(1, abs=1e-3)
    outside = ~prepared.mask[fitted.head]
    far = outside & (np.abs(ratios.means[0] - 1) > 0.15)
    assert not far.any()
