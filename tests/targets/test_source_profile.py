"""What other people's scans tell of a scan's scanner."""

from __future__ import annotations

import attrs
import numpy as np
import pytest

from bids_ihf.targets.contrast import MAX_SUBJECT_Z, SUBJECT_LOG_CONTRAST_SD, WHITE_MATTER
from bids_ihf.targets.intensity import IntensityScale, histogram
from bids_ihf.targets.profile import Profile
from bids_ihf.targets.source_profile import (
    VENDOR_SCANNER_WEIGHT,
    SourceProfile,
    harmonization_curve,
    source_profile_of,
    vendor_source_profile,
)
from bids_ihf.targets.target import Target, builtin_path, read_target

GREY, FLUID = 0, 2
TYPICAL = np.array([-0.1, 0.5, -0.6])
TARGET = np.array([0.1, 0.6, -0.5])


def profile(landmarks: np.ndarray) -> Profile:
    """Three tissues, each narrow about its landmark."""
    rng = np.random.default_rng(3)
    drawn = [rng.normal(level, 0.02, 4000).astype(np.float32) for level in landmarks]
    tissues = np.stack([histogram(values) for values in drawn])
    return Profile(
        positions=np.arange(1),
        histograms=tissues.sum(axis=0, keepdims=True),
        embeddings=np.zeros((1, 4), np.float32),
        landmarks=landmarks,
        tissue_histograms=tissues,
        scale=IntensityScale(0.0, 1000.0),
    )


def with_grey(landmarks: np.ndarray, deviations: float) -> np.ndarray:
    """Grey matter brighter against white by so many standard deviations between people."""
    out = landmarks.copy()
    out[GREY] = (out[GREY] + 1) * np.exp(deviations * SUBJECT_LOG_CONTRAST_SD[0]) - 1
    return out


def at(curve: object, level: float) -> float:
    return float(curve(np.array([level], np.float32))[0])  # type: ignore[operator]


def test_the_persons_own_deviation_is_mostly_left() -> None:
    own = profile(with_grey(TYPICAL, 1.0))
    source = SourceProfile.of_vendor(profile(TYPICAL))
    image = at(harmonization_curve(own, profile(TYPICAL), source), own.landmarks[GREY])
    kept = (image - TYPICAL[GREY]) / (own.landmarks[GREY] - TYPICAL[GREY])
    assert kept == pytest.approx(1 - VENDOR_SCANNER_WEIGHT, abs=0.1)
    # Unknown, all of it is taken away.
    assert at(
        harmonization_curve(own, profile(TYPICAL), None), own.landmarks[GREY]
    ) == pytest.approx(TYPICAL[GREY], abs=0.01)


def test_typical_tissues_come_to_the_targets() -> None:
    source = SourceProfile.of_vendor(profile(TYPICAL))
    curve = harmonization_curve(profile(TYPICAL), profile(TARGET), source)
    for tissue in range(3):
        assert at(curve, TYPICAL[tissue]) == pytest.approx(TARGET[tissue], abs=0.02)


def test_another_gain_changes_nothing() -> None:
    own = with_grey(TYPICAL, 0.5)
    louder = (own + 1) * 1.2 - 1
    source = SourceProfile.of_vendor(profile(TYPICAL))
    plain, loud = (
        harmonization_curve(profile(each), profile(TARGET), source) for each in (own, louder)
    )
    for tissue in range(3):
        assert at(loud, louder[tissue]) == pytest.approx(at(plain, own[tissue]), abs=0.02)


def test_what_people_do_not_explain_is_the_scanners() -> None:
    source = SourceProfile.of_people(profile(TYPICAL), 9)
    # The mean over two contrasts, of which one deviates.
    shares = [
        source.share_of(profile(with_grey(TYPICAL, deviations * np.sqrt(2))))
        for deviations in (0.0, 1.0, MAX_SUBJECT_Z, 2 * MAX_SUBJECT_Z, 10 * MAX_SUBJECT_Z)
    ]
    assert shares[:3] == pytest.approx([0.1, 0.1, 0.1], abs=0.01)
    assert shares[3:] == pytest.approx([0.55, 0.91], abs=0.01)


@pytest.mark.parametrize(
    "known", [[], [WHITE_MATTER], [GREY, FLUID]], ids=["none", "white", "no white"]
)
def test_untold_tissues_leave_the_curve_as_it_was(known: list[int]) -> None:
    landmarks = np.full(3, np.nan)
    landmarks[known] = TYPICAL[known]
    own = attrs.evolve(profile(TYPICAL), landmarks=landmarks)
    source = SourceProfile.of_vendor(profile(with_grey(TYPICAL, 1.0)))
    assert source.share_of(own) == 1.0
    x = np.linspace(-0.9, 0.9, 19).astype(np.float32)
    plain = profile(TARGET).curve_from(own)
    np.testing.assert_array_equal(harmonization_curve(own, profile(TARGET), source)(x), plain(x))


def test_sources_are_vendors_or_sites() -> None:
    vendor = source_profile_of(read_target(builtin_path("GE")), "T2w")
    assert vendor is not None
    assert vendor.share == VENDOR_SCANNER_WEIGHT
    site = Target("site", "hash", {"T1w": attrs.evolve(profile(TYPICAL), scan_count=4)})
    found = source_profile_of(site, "T1w")
    assert found is not None
    assert found.share == pytest.approx(1 / 5)
    assert source_profile_of(site, "T2w") is None


def test_vendors_are_known_to_their_own_encoder_alone() -> None:
    own = read_target(builtin_path("Philips")).encoder_hash
    assert vendor_source_profile("Philips", "T1w", own) is not None
    assert vendor_source_profile("Philips", "T1w", "another encoder") is None
    assert vendor_source_profile("Canon", "T1w", own) is None
