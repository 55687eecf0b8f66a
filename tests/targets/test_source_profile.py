"""What is attributed to the scanner of a scan, and what to its subject."""

from __future__ import annotations

import attrs
import numpy as np
import pytest

from bids_ihf.targets.contrast import MAX_SUBJECT_Z, SUBJECT_LOG_CONTRAST_SD, WHITE_MATTER
from bids_ihf.targets.intensity import IntensityCurve, IntensityScale, histogram
from bids_ihf.targets.profile import Profile
from bids_ihf.targets.source_profile import (
    VENDOR_SCANNER_WEIGHT,
    SourceProfile,
    harmonization_curve,
    scanner_weight,
    source_profile_of,
)
from bids_ihf.targets.target import Target
from bids_ihf.targets.target_file import builtin_path, read_target, vendor_target

GREY, CSF = 0, 2
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
    """Grey matter brighter against white by so many standard deviations between subjects."""
    out = landmarks.copy()
    out[GREY] = (out[GREY] + 1) * np.exp(deviations * SUBJECT_LOG_CONTRAST_SD[0]) - 1
    return out


def at(curve: IntensityCurve, level: float) -> float:
    return float(curve(np.array([level], np.float32))[0])


@pytest.mark.parametrize("subjects", [None, 1, 9])
def test_the_deviation_of_a_subject_is_left_but_for_the_scanners_weight(
    subjects: int | None,
) -> None:
    """To its own scanner's target: grey matter keeps its deviation times 1 minus the weight."""
    scan = profile(with_grey(TYPICAL, 1.0))
    source = SourceProfile(profile(TYPICAL), subjects)
    weight = {None: 0.25, 1: 0.5, 9: 0.1}[subjects]
    image = at(harmonization_curve(scan, profile(TYPICAL), source), scan.landmarks[GREY])
    kept = (image - TYPICAL[GREY]) / (scan.landmarks[GREY] - TYPICAL[GREY])
    assert kept == pytest.approx(1 - weight, abs=0.02)


def test_without_a_source_the_deviation_of_a_subject_is_removed() -> None:
    scan = profile(with_grey(TYPICAL, 1.0))
    image = at(harmonization_curve(scan, profile(TYPICAL), None), scan.landmarks[GREY])
    assert image == pytest.approx(TYPICAL[GREY], abs=0.01)


def test_typical_tissues_come_to_the_targets() -> None:
    source = SourceProfile(profile(TYPICAL))
    curve = harmonization_curve(profile(TYPICAL), profile(TARGET), source)
    for tissue in range(3):
        assert at(curve, TYPICAL[tissue]) == pytest.approx(TARGET[tissue], abs=0.02)


def test_another_gain_changes_nothing() -> None:
    scan = with_grey(TYPICAL, 0.5)
    louder = (scan + 1) * 1.2 - 1
    source = SourceProfile(profile(TYPICAL))
    plain, loud = (
        harmonization_curve(profile(landmarks), profile(TARGET), source)
        for landmarks in (scan, louder)
    )
    for tissue in range(3):
        assert at(loud, louder[tissue]) == pytest.approx(at(plain, scan[tissue]), abs=0.02)


def test_what_subjects_do_not_explain_is_the_scanners() -> None:
    source = SourceProfile(profile(TYPICAL), 9)
    # The mean over two contrasts, of which one deviates.
    weights = [
        scanner_weight(profile(with_grey(TYPICAL, deviations * np.sqrt(2))), source)
        for deviations in (0.0, 1.0, MAX_SUBJECT_Z, 2 * MAX_SUBJECT_Z, 10 * MAX_SUBJECT_Z)
    ]
    assert weights[:3] == pytest.approx([0.1, 0.1, 0.1], abs=0.01)
    assert weights[3:] == pytest.approx([1 - 0.9 / 2**4, 1.0], abs=0.001)


def test_nulled_csf_is_no_sign_of_another_protocol() -> None:
    typical, brighter = TYPICAL.copy(), TYPICAL.copy()
    typical[CSF], brighter[CSF] = -0.95, -0.8
    nulled = SourceProfile(profile(typical))
    assert scanner_weight(profile(brighter), nulled) == VENDOR_SCANNER_WEIGHT
    brighter[CSF] = 0.3  # not nulled at all
    assert scanner_weight(profile(brighter), nulled) > 0.9
    typical[CSF], brighter[CSF] = -0.6, -0.2
    assert scanner_weight(profile(brighter), SourceProfile(profile(typical))) > 0.5


@pytest.mark.parametrize(
    "available", [[], [WHITE_MATTER], [GREY, CSF]], ids=["none", "white", "no white"]
)
def test_without_contrasts_the_curve_is_that_of_the_scan(available: list[int]) -> None:
    landmarks = np.full(3, np.nan)
    landmarks[available] = TYPICAL[available]
    scan = attrs.evolve(profile(TYPICAL), landmarks=landmarks)
    source = SourceProfile(profile(with_grey(TYPICAL, 1.0)))
    assert scanner_weight(scan, source) == 1.0
    x = np.linspace(-0.9, 0.9, 19).astype(np.float32)
    plain = profile(TARGET).curve_from(scan)
    np.testing.assert_array_equal(harmonization_curve(scan, profile(TARGET), source)(x), plain(x))


def test_sources_are_vendors_or_sites() -> None:
    vendor = source_profile_of(read_target(builtin_path("GE")), "T2w")
    assert vendor is not None
    assert vendor.subjects is None
    assert vendor.scanner_weight(VENDOR_SCANNER_WEIGHT) == VENDOR_SCANNER_WEIGHT
    site = Target("site", "hash", {"T1w": attrs.evolve(profile(TYPICAL), scan_count=4)})
    source = source_profile_of(site, "T1w")
    assert source is not None
    assert source.scanner_weight(VENDOR_SCANNER_WEIGHT) == pytest.approx(1 / 5)
    assert source_profile_of(site, "T2w") is None


def test_vendors_profiles_belong_to_their_encoder_alone() -> None:
    encoder_hash = read_target(builtin_path("Philips")).encoder_hash
    assert source_profile_of(vendor_target("Philips", encoder_hash), "T1w") is not None
    assert source_profile_of(vendor_target("Philips", "another encoder"), "T1w") is None
    assert source_profile_of(vendor_target("Canon", encoder_hash), "T1w") is None
