"""Profiles by slice position, and targets on disk."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import numpy as np
import pytest

from bids_ihf.errors import BadData, UsageError
from bids_ihf.targets.curve_estimate import quantile_curve
from bids_ihf.targets.intensity import (
    HISTOGRAM_BINS,
    HISTOGRAM_RANGE,
    IntensityScale,
    histogram,
    histogram_quantiles,
)
from bids_ihf.targets.profile import (
    POSITION_MM,
    Profile,
    aligned_by_median,
    merge_profiles,
    position_centre,
    slice_position,
)
from bids_ihf.targets.target import ANY_MODALITY, Target
from bids_ihf.targets.target_file import builtin_path, pack_target, read_target

if TYPE_CHECKING:
    from pathlib import Path


def profile(first: int, count: int, level: float = 0.0, high: float = 100.0) -> Profile:
    rng = np.random.default_rng(first + 50)
    rows = [
        histogram(rng.normal(level + 0.02 * k, 0.2, 500).astype(np.float32)) for k in range(count)
    ]
    embeddings = np.arange(count, dtype=np.float32)[:, None] + np.array([0.0, 10.0], np.float32)
    landmarks = np.array([0.1, 0.6, -0.5])
    return Profile(
        np.arange(first, first + count), np.stack(rows), embeddings,
        landmarks, tissues(landmarks), IntensityScale(0.0, high),
    )  # fmt: skip


def tissues(levels: np.ndarray, counts: tuple[int, ...] = (500, 400, 100)) -> np.ndarray:
    """Histograms of tissues with these mean levels and sizes."""
    rng = np.random.default_rng(0)
    values = [rng.normal(m, 0.05, 100_000) for m in levels]
    return np.stack(
        [
            histogram(v.astype(np.float32)) * (count / len(v))
            for v, count in zip(values, counts, strict=True)
        ]
    )


def test_positions_cover_space_without_gaps() -> None:
    z = np.arange(-30.0, 30.0, 0.5)
    assert np.abs(position_centre(slice_position(z)) - z).max() <= POSITION_MM / 2


def test_embeddings_are_linear_between_bins_and_constant_beyond() -> None:
    p = profile(0, 3)
    z = np.array(
        [
            -50.0,
            *position_centre(p.positions),
            position_centre(p.positions)[0] + POSITION_MM / 4,
            99.0,
        ]
    )
    np.testing.assert_allclose(p.embeddings_at(z)[:, 0], [0, 0, 1, 2, 0.25, 2], atol=1e-6)


def test_a_slab_is_matched_to_the_same_part_of_the_target() -> None:
    whole = profile(0, 20)
    slab = attrs.evolve(
        whole,
        positions=whole.positions[3:6],
        histograms=whole.histograms[3:6],
        embeddings=whole.embeddings[3:6],
    )
    elsewhere = attrs.evolve(slab, positions=slab.positions + 100)
    x = np.linspace(-0.5, 0.7, 20).astype(np.float32)
    np.testing.assert_allclose(whole.quantile_curve_from(slab)(x), x, atol=1e-3)
    assert np.abs(whole.quantile_curve_from(elsewhere)(x) - x).max() > 0.05


@pytest.mark.parametrize("counts", [(500, 400, 100), (300, 300, 400)])
def test_tissues_make_the_curve_whatever_the_share_of_each(counts: tuple[int, ...]) -> None:
    there = np.array([0.2, 0.7, -0.3])
    here = attrs.evolve(
        profile(0, 5), tissue_histograms=tissues(np.array([0.1, 0.6, -0.5]), counts)
    )
    other = attrs.evolve(
        profile(0, 5, level=0.4), landmarks=there, tissue_histograms=tissues(there)
    )
    x = np.array([-1.0, -0.5, 0.1, 0.6], np.float32)
    error = np.abs(other.curve_from(here)(x) - [-1.0, -0.3, 0.2, 0.7]).max()
    assert error < 0.09
    # Quantiles of the whole brain hold only where the shares are those of the target.
    plain = quantile_curve(
        here.tissue_histograms.sum(axis=0), other.tissue_histograms.sum(axis=0), 2.0
    )
    wrong = np.abs(plain(x) - [-1.0, -0.3, 0.2, 0.7]).max()
    assert counts[2] == 100 or wrong > 2 * error


def test_shares_of_another_protocol_are_the_scanners() -> None:
    # The same voxels; the other scanner shows half of grey matter as fluid, and little contrast.
    here = profile(0, 5)
    voxels = here.tissue_histograms.sum(axis=0)
    level = np.linspace(*HISTOGRAM_RANGE, HISTOGRAM_BINS)
    fluid = level < 0.1
    other = attrs.evolve(
        here,
        landmarks=np.array([0.55, 0.6, 0.5]),
        tissue_histograms=np.stack(
            [voxels * (~fluid & (level < 0.35)), voxels * (level >= 0.35), voxels * fluid]
        ),
    )
    x = np.array([-0.5, 0.1, 0.6], np.float32)
    like = attrs.evolve(other, landmarks=here.landmarks)
    off = [np.abs(each.tissue_curve_from(here)(x) - x).max() for each in (like, other)]
    assert off[1] < 0.5 * off[0]


def test_scans_behind_a_profile_are_counted() -> None:
    one = profile(0, 4)
    assert merge_profiles([one, merge_profiles([one, one])]).scan_count == 3


def test_without_tissues_quantiles_of_the_brain_make_the_curve() -> None:
    here = profile(0, 5)
    other = attrs.evolve(profile(0, 5, level=0.3), tissue_histograms=np.zeros((3, HISTOGRAM_BINS)))
    x = np.linspace(-0.5, 0.7, 20).astype(np.float32)
    np.testing.assert_array_equal(other.curve_from(here)(x), other.quantile_curve_from(here)(x))


def test_merging_weighs_people_alike_and_takes_medians() -> None:
    big = profile(0, 4)
    big = attrs.evolve(
        big,
        histograms=big.histograms * 100,
        embeddings=big.embeddings + 2,
        landmarks=np.array([np.nan, 0.8, -0.5]),
        scale=IntensityScale(0.0, 300.0),
    )
    merged = merge_profiles([profile(0, 4), big, profile(2, 4)])
    assert merged.positions.tolist() == [0, 1, 2, 3, 4, 5]
    assert merged.scale.high == pytest.approx(100, rel=0.05)
    assert merged.embeddings[0, 0] == pytest.approx(1.0)
    assert merged.histograms.sum() == pytest.approx(3.0)
    np.testing.assert_allclose(merged.landmarks, [0.1, 0.6, -0.5], atol=0.02)
    assert merged.tissue_histograms.sum() == pytest.approx(3.0)


def target() -> Target:
    return Target(
        "Here", "abc", {"T1w": profile(-3, 5), "T2w": profile(-2, 4)}, provenance={"scans": 2}
    )


def test_target_survives_the_disk(tmp_path: Path) -> None:
    path = tmp_path / "here.safetensors"
    path.write_bytes(pack_target(target()))
    read = read_target(path)
    assert (read.name, read.encoder_hash, read.modalities) == ("Here", "abc", ("T1w", "T2w"))
    assert read.provenance == {"scans": 2}
    original = target().profile("T2w")
    np.testing.assert_array_equal(read.profile("T2w").positions, original.positions)
    np.testing.assert_array_equal(read.profile("T2w").landmarks, original.landmarks)
    np.testing.assert_allclose(
        read.profile("T2w").tissue_histograms, original.tissue_histograms, rtol=1e-6
    )
    np.testing.assert_allclose(read.profile("T2w").embeddings, original.embeddings, rtol=1e-3)
    assert pack_target(target()) == path.read_bytes()
    assert len(read.hash) == 64


def test_a_target_without_the_modality_says_what_it_has() -> None:
    with pytest.raises(BadData, match=r"no dwi profile \(it has T1w, T2w\)"):
        target().profile("dwi")
    everything = Target("x", "abc", {ANY_MODALITY: profile(0, 2)})
    assert everything.profile("T2w") is everything.profiles[ANY_MODALITY]


def test_another_encoder_is_refused() -> None:
    target().require_encoder("abc")
    with pytest.raises(BadData, match="another encoder"):
        target().require_encoder("def")


def test_altered_and_foreign_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "here.safetensors"
    data = bytearray(pack_target(target()))
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(BadData, match="sha256"):
        read_target(path)
    path.write_bytes(b"no target at all")
    with pytest.raises(BadData, match="not a readable safetensors file"):
        read_target(path)


@pytest.mark.parametrize("name", ["siemens", "GE", "PHILIPS"])
def test_vendors_are_named_in_any_case(name: str) -> None:
    assert builtin_path(name).name == f"target-{name.lower()}.safetensors"


def test_an_unknown_target_lists_the_known_ones() -> None:
    with pytest.raises(UsageError, match="Siemens, GE, Philips"):
        builtin_path("Acme")


def test_profiles_are_aligned_by_median() -> None:
    """One brain of which one scan was scaled to a bright vessel: the same in scanner units."""
    plain, dark = profile_of_bells(white=0.5), profile_of_bells(white=0.2)
    dark = attrs.evolve(dark, scale=IntensityScale(0.0, 125.0))
    aligned = aligned_by_median([plain, dark])
    medians = [
        float(histogram_quantiles(p.histograms.sum(axis=0), np.array(0.5))) for p in aligned
    ]
    assert medians[0] == pytest.approx(medians[1], abs=0.01)
    for before, after in zip((plain, dark), aligned, strict=True):
        assert after.tissue_histograms.sum() == pytest.approx(before.tissue_histograms.sum())
        assert after.histograms.sum() == pytest.approx(before.histograms.sum())
        white = (p.scale.restore(p.landmarks.astype(np.float32)) for p in (before, after))
        np.testing.assert_allclose(*white, rtol=1e-5)
    assert aligned_by_median([plain]) == [plain]


def profile_of_bells(white: float) -> Profile:
    """Grey matter, white matter and CSF as bells; grey 0.1 above and CSF 1 below white."""
    level = np.linspace(*HISTOGRAM_RANGE, HISTOGRAM_BINS)
    landmarks = np.array([white + 0.1, white, white - 1])
    bells = np.exp(-0.5 * np.square((level - landmarks[:, None]) / 0.05))
    return Profile(
        np.arange(1), bells.sum(axis=0, keepdims=True), np.zeros((1, 4), np.float32), landmarks,
        bells, IntensityScale(0.0, 100.0),
    )  # fmt: skip
