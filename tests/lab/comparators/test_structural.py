"""Comparators bring the brain's intensities to those of the reference."""

from __future__ import annotations

from collections.abc import Callable

import attrs
import numpy as np
import pytest
from scipy import ndimage

from bids_ihf.errors import UsageError
from bids_ihf.lab.comparators import histogram_matching, nyul, z_score
from bids_ihf.lab.comparators.interface import MaskedImage

SHAPE = (24, 24, 24)
RNG = np.random.default_rng(0)
ANATOMY = ndimage.gaussian_filter(RNG.normal(size=SHAPE), 2)
ANATOMY = (ANATOMY - ANATOMY.min()) / np.ptp(ANATOMY)
MASK = np.zeros(SHAPE, dtype=bool)
MASK[4:20, 4:20, 4:20] = True
REFERENCE = MaskedImage((200 + 800 * ANATOMY).astype(np.float32), MASK)
SOURCE = MaskedImage((20 + 60 * ANATOMY**1.7).astype(np.float32), MASK)


@pytest.mark.parametrize("harmonize", [histogram_matching.harmonize, z_score.harmonize])
def test_several_references_count_as_one(harmonize: Callable[..., np.ndarray]) -> None:
    halves = [MaskedImage(REFERENCE.brain[::2]), MaskedImage(REFERENCE.brain[1::2])]
    whole = MaskedImage(np.concatenate([scan.data for scan in halves]))
    np.testing.assert_array_equal(harmonize(SOURCE, halves), harmonize(SOURCE, [whole]))


def test_histogram_matching_undoes_a_curve() -> None:
    found = histogram_matching.harmonize(SOURCE, [REFERENCE])
    np.testing.assert_allclose(found[MASK], REFERENCE.data[MASK], rtol=0.01)
    assert found.dtype == np.float32


def test_histogram_matching_keeps_the_order_outside() -> None:
    found = histogram_matching.harmonize(SOURCE, [REFERENCE])
    order = np.argsort(SOURCE.data, axis=None)
    assert (np.diff(found.ravel()[order]) >= -1e-3).all()
    dark, air = SOURCE.data.copy(), REFERENCE.data.copy()
    dark[0, 0, 0] = air[0, 0, 0] = 0
    found = histogram_matching.harmonize(MaskedImage(dark, MASK), [MaskedImage(air, MASK)])
    assert found[0, 0, 0] == 0


def test_nyul_brings_deciles_to_the_reference() -> None:
    pytest.importorskip("intensity_normalization")
    found = nyul.harmonize(SOURCE, [REFERENCE])
    deciles = np.arange(10, 91, 10)
    np.testing.assert_allclose(
        np.percentile(found[MASK], deciles),
        np.percentile(REFERENCE.data[MASK], deciles),
        rtol=0.01,
    )


def test_nyul_of_a_clipped_scan_is_finite() -> None:
    pytest.importorskip("intensity_normalization", reason="needs intensity-normalization")
    limit = np.percentile(SOURCE.data[SOURCE.mask], 30)
    clipped = attrs.evolve(SOURCE, data=np.maximum(SOURCE.data, limit))
    image = nyul.harmonize(clipped, [REFERENCE])
    assert np.isfinite(image).all()
    order = np.argsort(clipped.data, axis=None)
    assert (np.diff(image.ravel()[order]) >= -1e-3).all()


def test_z_score_brings_mean_and_spread_to_the_reference() -> None:
    found = z_score.harmonize(SOURCE, [REFERENCE])
    assert found[MASK].mean() == pytest.approx(REFERENCE.data[MASK].mean(), rel=1e-3)
    assert found[MASK].std() == pytest.approx(REFERENCE.data[MASK].std(), rel=1e-3)


def test_z_score_is_that_of_intensity_normalization() -> None:
    package = pytest.importorskip("intensity_normalization")
    image, mask = (package.create_image(data) for data in (SOURCE.data, MASK.astype(np.uint8)))
    score = package.ZScoreNormalizer().fit_transform(image, mask).get_data()
    expected = score * REFERENCE.brain.std() + REFERENCE.brain.mean()
    np.testing.assert_allclose(z_score.harmonize(SOURCE, [REFERENCE]), expected, rtol=1e-5)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nyul, "is_available", lambda: False)
    with pytest.raises(UsageError, match="intensity-normalization"):
        nyul.harmonize(SOURCE, [REFERENCE])
