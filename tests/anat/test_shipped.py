"""The shipped weights and targets, on a simulated person none of them has seen."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from bids_ihf.anat.intensity_matching import match_intensities
from bids_ihf.io.paths import packaged_file
from bids_ihf.lab.benchmarks import virtual_subjects
from bids_ihf.lab.benchmarks.vendors.methods import compose_slices
from bids_ihf.lab.benchmarks.virtual_subjects import measured_slices, select_slices
from bids_ihf.lab.simulation.acquisition import scan as acquire
from bids_ihf.lab.simulation.anatomy import Anatomy, crop_to_brain
from bids_ihf.lab.simulation.demo_anatomy import demo_anatomy
from bids_ihf.lab.simulation.reference_segmentation import (
    reference_brain_mask,
    reference_segmentation,
)
from bids_ihf.lab.simulation.template_head import HEAD_SHAPE, draw_template_head
from bids_ihf.lab.simulation.vendor_scanners import typical_scanner
from bids_ihf.lab.simulation.virtual_subject import RegisteredSubject
from bids_ihf.network.checkpoint import load_model
from bids_ihf.preprocessing.bias_field import bias_field
from bids_ihf.qc.similarity import similarity_metrics
from bids_ihf.targets.network_input import to_network_input
from bids_ihf.targets.source_profile import SourceProfile
from bids_ihf.targets.target import BUILTIN_VENDORS
from bids_ihf.targets.target_file import builtin_path, read_target
from tests.network.round_trip import round_trip_error

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bids_ihf.lab.benchmarks.virtual_subjects import Slices
    from bids_ihf.network.checkpoint import ModelBundle
    from bids_ihf.targets.network_input import NetworkInput

SEED = 4711
MODALITIES = ("T1w", "T2w")
PAIRS = [pair for pair in product(BUILTIN_VENDORS, BUILTIN_VENDORS) if pair[0] != pair[1]]


@pytest.fixture(scope="module")
def model() -> ModelBundle:
    return load_model()


@pytest.fixture(scope="module", autouse=True)
def few_slices() -> Iterator[None]:
    """A slice of every 12 mm is measured: not a quarter of the time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(virtual_subjects, "SLICE_SPACING_MM", 12)
        yield


@pytest.fixture(scope="module")
def person() -> Anatomy:
    """With voxels of 2 mm."""
    head = draw_template_head()
    affine = np.diag([2.0, 2.0, 2.0, 1.0])
    affine[:3, 3] = head.affine[:3, 3] + 0.5
    shape = tuple(size // 2 for size in HEAD_SHAPE)
    return crop_to_brain(demo_anatomy(head, SEED, shape=shape, affine=affine))


@pytest.fixture(scope="module")
def scans(person: Anatomy) -> dict[tuple[str, str], NetworkInput]:
    """The brain by every vendor, bias corrected as in a run; mask and place are known."""
    brain = reference_brain_mask(person, csf_margin=2)
    segmentation = reference_segmentation(person, brain)
    subject = RegisteredSubject(
        "sub-01", person, SEED, brain, segmentation, np.eye(4), Path("sub-01.nii.gz")
    )
    found = {}
    for vendor, modality in product(BUILTIN_VENDORS, MODALITIES):
        image = acquire(person, typical_scanner(vendor, modality, SEED), SEED)
        image /= bias_field(image, person.affine, brain)
        found[vendor, modality] = to_network_input(subject.prepared(image))
    return found


def error(image: np.ndarray, truth: Slices) -> float:
    """RMSE in the brain, each image in its own 0.1-99.9 percentile range: contrast, not units."""

    def unit(data: np.ndarray) -> np.ndarray:
        low, high = np.percentile(data[truth.mask], (0.1, 99.9))
        return np.clip((data[truth.mask] - low) / (high - low), 0, 1)

    return float(np.sqrt(np.mean((unit(image) - unit(truth.data)) ** 2)))


@pytest.fixture(scope="module")
def harmonized(scans: dict[tuple[str, str], NetworkInput], model: ModelBundle) -> dict:
    """Slices of every scan harmonized to every vendor, by source, target and modality."""
    done = {}
    targets = {vendor: read_target(builtin_path(vendor)) for vendor in BUILTIN_VENDORS}
    for source, target, modality in product(BUILTIN_VENDORS, BUILTIN_VENDORS, MODALITIES):
        profile, maker = (targets[vendor].profile(modality) for vendor in (target, source))
        scan = scans[source, modality]
        matched = match_intensities(scan, profile, model, SourceProfile(maker))
        slices = measured_slices(scan)
        done[source, target, modality] = compose_slices(matched, model, slices)
    return done


@pytest.mark.parametrize("modality", MODALITIES)
@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_every_vendor_pair_comes_closer_than_doing_nothing(
    scans: dict, harmonized: dict, source: str, target: str, modality: str
) -> None:
    truth = select_slices(scans[target, modality])
    image = harmonized[source, target, modality]
    # The gain of a single scan is an accident of its session: contrast is judged without it.
    gain = np.median(truth.data[truth.mask]) / np.median(image[truth.mask])
    before, after, without_gain = (
        similarity_metrics(each, truth.data, truth.mask)["rmse_mask"]
        for each in (select_slices(scans[source, modality]).data, image, image * np.float32(gain))
    )
    assert after < before
    assert without_gain < 0.09


@pytest.mark.parametrize(
    "modality",
    [
        pytest.param(
            "T1w",
            marks=pytest.mark.xfail(
                strict=True,
                reason="known defect: the vendors' typical T1w protocols nearly agree (0.017); "
                "matching a single subject to the mean of others adds more than that (0.022)",
            ),
        ),
        "T2w",
    ],
)
def test_contrast_comes_closer_over_all_vendor_pairs(
    scans: dict, harmonized: dict, modality: str
) -> None:
    before, after = [], []
    for source, target in PAIRS:
        truth = select_slices(scans[target, modality])
        before.append(error(select_slices(scans[source, modality]).data, truth))
        after.append(error(harmonized[source, target, modality], truth))
    assert np.mean(after) < np.mean(before)


@pytest.mark.parametrize(("vendor", "modality"), list(product(BUILTIN_VENDORS, MODALITIES)))
def test_a_scan_of_the_target_itself_changes_little(
    scans: dict, harmonized: dict, vendor: str, modality: str
) -> None:
    assert (
        error(harmonized[vendor, vendor, modality], select_slices(scans[vendor, modality])) < 0.04
    )


def test_shipped_files_belong_together_and_are_small(model: ModelBundle) -> None:
    for vendor in BUILTIN_VENDORS:
        target = read_target(builtin_path(vendor))
        target.require_encoder(model.encoder_hash)
        assert target.modalities == ("FLAIR", *MODALITIES)
    size = sum(
        packaged_file(f"{name}.safetensors").stat().st_size for name in ("encoder", "network")
    )
    assert size < 20 * 2**20
    assert {"config", "people", "settings", "commit", "version"} <= set(model.record)


def test_the_shipped_network_inverts_itself(model: ModelBundle) -> None:
    import torch

    x = torch.rand(2, 3, 45, 61, generator=torch.Generator().manual_seed(0)) * 2 - 1
    assert round_trip_error(model.network, x) <= 1e-5
