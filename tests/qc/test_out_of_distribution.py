"""The out-of-distribution score, and the warning it gives rise to."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bids_ihf.errors import BadData
from bids_ihf.lab.benchmarks.reference_distribution import fit_reference_distribution
from bids_ihf.network.checkpoint import load_encoder
from bids_ihf.qc.assess import out_of_range_warning
from bids_ihf.qc.out_of_distribution import (
    ReferenceDistribution,
    ReferenceScans,
    pack_reference,
    read_reference,
    shipped_reference,
)
from bids_ihf.targets.intensity import HISTOGRAM_BINS, IntensityScale
from bids_ihf.targets.profile import Profile


def scan(scanner: float, subject: int, positions: int = 6, start: int = 0) -> Profile:
    """A profile whose embeddings differ by position, by scanner and a little by subject."""
    noise = np.random.default_rng(subject).normal(scale=0.05, size=8)
    position = np.arange(start, start + positions)
    embeddings = position[:, None] + scanner + noise
    return Profile(
        positions=position,
        histograms=np.ones((positions, HISTOGRAM_BINS)),
        embeddings=embeddings.astype(np.float32),
        landmarks=np.zeros(3),
        tissue_histograms=np.zeros((3, HISTOGRAM_BINS)),
        scale=IntensityScale(0.0, 1.0),
    )


@pytest.fixture(scope="module")
def reference() -> ReferenceDistribution:
    profiles = [scan(scanner, subject) for subject in range(5) for scanner in (-1.0, 0.0, 1.0)]
    subjects = [str(subject) for subject in range(5) for _ in range(3)]
    distribution, scores = fit_reference_distribution(profiles, subjects)
    assert max(scores) == pytest.approx(1)
    assert min(scores) > 0
    return distribution


def test_near_and_far(reference: ReferenceDistribution) -> None:
    assert reference.score(scan(0.0, 77)) < 2
    assert reference.score(scan(3.0, 77)) > 10


def test_a_slab_is_compared_at_its_positions(reference: ReferenceDistribution) -> None:
    """Positions differ more than scanners do; a partial head must not be out of range."""
    assert reference.score(scan(0.0, 77, positions=2, start=4)) < 2


def test_no_shared_position(reference: ReferenceDistribution) -> None:
    assert np.isnan(reference.score(scan(0.0, 77, start=40)))


def test_scans_of_the_same_subject_do_not_count() -> None:
    """With one subject apart from all others, the farthest scan is that subject's."""
    profiles = [scan(0.0, subject) for subject in range(4)] + [scan(2.0, 9), scan(2.0, 9)]
    _, scores = fit_reference_distribution(profiles, ["a", "b", "c", "d", "e", "e"])
    assert int(np.argmax(scores)) in {4, 5}


def test_one_subject_is_too_few() -> None:
    with pytest.raises(ValueError, match="two subjects"):
        fit_reference_distribution([scan(0.0, 1)], ["a"])


def test_scans_without_a_shared_position_are_refused() -> None:
    profiles = [scan(0.0, 1), scan(0.0, 2), scan(0.0, 3, start=40)]
    with pytest.raises(ValueError, match="no slice position"):
        fit_reference_distribution(profiles, ["a", "b", "c"])


def test_file(reference: ReferenceDistribution, tmp_path: Path) -> None:
    path = tmp_path / "familiar.safetensors"
    path.write_bytes(pack_reference(ReferenceScans("hash", {"T1w": reference}, {"seed": 1})))
    read = read_reference(path)
    assert (read.encoder_hash, read.record) == ("hash", {"seed": 1})
    score = read.modalities["T1w"].score(scan(0.5, 77))
    assert score == pytest.approx(reference.score(scan(0.5, 77)), rel=0.02)


def test_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadData):
        read_reference(tmp_path / "none.safetensors")


def test_the_warning_names_what_is_out_of_range() -> None:
    assert out_of_range_warning({"image": 1.0, "target": 0.5}) is None
    warning = out_of_range_warning({"image": 1.25, "target": 2.0})
    assert warning is not None
    assert "the image and the target (out-of-range score 2.00, limit 1)" in warning


def test_the_shipped_reference_is_of_the_shipped_encoder() -> None:
    reference = shipped_reference(load_encoder()[1])
    assert reference is not None, "measure again with 'ihf benchmark POOL --ranges'"
    assert set(reference.modalities) >= {"T1w", "T2w"}
    assert shipped_reference("of another encoder") is None
