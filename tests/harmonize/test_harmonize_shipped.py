"""The shipped weights and targets, on a simulated person none of them has seen."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

import numpy as np
import pytest

from bids_ihf.evaluation.metrics import evaluate_pair
from bids_ihf.harmonize.structural import harmonize
from bids_ihf.model.checkpoint import load_model, shipped
from bids_ihf.model.network import round_trip_error
from bids_ihf.simulation.anatomy import Anatomy, demo_anatomy
from bids_ihf.simulation.scanner import scan, vendor_scanner
from bids_ihf.targets.target import VENDORS, builtin_path, read_target
from bids_ihf.training.simulated import as_prepared, brain_mask, corrected, crop

if TYPE_CHECKING:
    from pathlib import Path

    from bids_ihf.model.checkpoint import Harmonizer
    from bids_ihf.spatial.prepare import Prepared

SEED = 4711
MODALITIES = ("T1w", "T2w")
PAIRS = [pair for pair in product(VENDORS, VENDORS) if pair[0] != pair[1]]


@pytest.fixture(scope="module")
def model() -> Harmonizer:
    return load_model()


@pytest.fixture(scope="module")
def person() -> Anatomy:
    return crop(demo_anatomy(SEED))


@pytest.fixture(scope="module")
def scans(person: Anatomy, tmp_path_factory: pytest.TempPathFactory) -> dict:
    """A slab of 24 mm through the ventricles, by every vendor, without receive bias."""
    path: Path = tmp_path_factory.mktemp("shipped") / "sub-01_T1w.nii.gz"
    brain = brain_mask(person, reach=2)
    middle = int(np.argwhere(brain)[:, 2].mean()) + 8
    cut = np.s_[:, :, middle - 12 : middle + 12]
    affine = person.affine.copy()
    affine[:3, 3] += affine[:3, 2] * (middle - 12)
    found = {}
    for vendor, modality in product(VENDORS, MODALITIES):
        image = scan(person, corrected(vendor_scanner(vendor, modality, SEED)), SEED)
        found[vendor, modality] = as_prepared(
            np.ascontiguousarray(image[cut]), brain[cut], affine, np.eye(4), path
        )
    return found


def error(image: np.ndarray, truth: Prepared) -> float:
    """RMSE in the brain, each image in its own 0.1-99.9 percentile range: contrast, not units."""

    def unit(data: np.ndarray) -> np.ndarray:
        low, high = np.percentile(data[truth.mask], (0.1, 99.9))
        return np.clip((data[truth.mask] - low) / (high - low), 0, 1)

    return float(np.sqrt(np.mean((unit(image) - unit(truth.volume.data)) ** 2)))


@pytest.fixture(scope="module")
def harmonized(scans: dict, model: Harmonizer) -> dict:
    """Every scan harmonized to every vendor, by source, target and modality."""
    done = {}
    for source, target, modality in product(VENDORS, VENDORS, MODALITIES):
        profile = read_target(builtin_path(target)).profile(modality)
        done[source, target, modality] = harmonize(scans[source, modality], profile, model).image
    return done


@pytest.mark.parametrize("modality", MODALITIES)
@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_every_vendor_pair_comes_closer_than_doing_nothing(
    scans: dict, harmonized: dict, source: str, target: str, modality: str
) -> None:
    truth = scans[target, modality]
    image = harmonized[source, target, modality]
    # The gain of a single scan is an accident of its session: contrast is judged without it.
    gain = np.median(truth.volume.data[truth.mask]) / np.median(image[truth.mask])
    before, after, without_gain = (
        evaluate_pair(each, truth.volume.data, truth.mask)["rmse_mask"]
        for each in (scans[source, modality].volume.data, image, image * np.float32(gain))
    )
    assert after < before
    assert without_gain < 0.09


@pytest.mark.parametrize("modality", MODALITIES)
def test_contrast_comes_closer_over_all_vendor_pairs(
    scans: dict, harmonized: dict, modality: str
) -> None:
    before, after = (
        np.mean([error(image(*pair), scans[pair[1], modality]) for pair in PAIRS])
        for image in (
            lambda source, _: scans[source, modality].volume.data,
            lambda source, target: harmonized[source, target, modality],
        )
    )
    assert after < before


@pytest.mark.parametrize("modality", MODALITIES)
@pytest.mark.parametrize("vendor", VENDORS)
def test_a_scan_of_the_target_itself_changes_little(
    scans: dict, harmonized: dict, vendor: str, modality: str
) -> None:
    assert error(harmonized[vendor, vendor, modality], scans[vendor, modality]) < 0.04


def test_shipped_files_belong_together_and_are_small(model: Harmonizer) -> None:
    for vendor in VENDORS:
        target = read_target(builtin_path(vendor))
        target.require_encoder(model.encoder_hash)
        assert target.modalities == MODALITIES
    size = sum(shipped(f"{name}.safetensors").stat().st_size for name in ("encoder", "network"))
    assert size < 20 * 2**20
    assert {"config", "people", "settings", "commit", "version"} <= set(model.record)


def test_the_shipped_network_inverts_itself(model: Harmonizer) -> None:
    import torch

    x = torch.rand(2, 3, 45, 61, generator=torch.Generator().manual_seed(0)) * 2 - 1
    assert round_trip_error(model.network, x) <= 1e-5
