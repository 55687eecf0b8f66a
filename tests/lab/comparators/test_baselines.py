"""Baselines bring the brain's intensities to those of the reference."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from bids_ihf.errors import UsageError
from bids_ihf.lab.comparators import baselines

SHAPE = (24, 24, 24)
RNG = np.random.default_rng(0)
ANATOMY = ndimage.gaussian_filter(RNG.normal(size=SHAPE), 2)
ANATOMY = (ANATOMY - ANATOMY.min()) / np.ptp(ANATOMY)
MASK = np.zeros(SHAPE, dtype=bool)
MASK[4:20, 4:20, 4:20] = True
REFERENCE = (200 + 800 * ANATOMY).astype(np.float32)
SOURCE = (20 + 60 * ANATOMY**1.7).astype(np.float32)


def test_histogram_matching_undoes_a_curve() -> None:
    found = baselines.histogram_matching(SOURCE, MASK, REFERENCE, MASK)
    np.testing.assert_allclose(found[MASK], REFERENCE[MASK], rtol=0.01)
    assert found.dtype == np.float32


def test_histogram_matching_keeps_the_order_outside() -> None:
    found = baselines.histogram_matching(SOURCE, MASK, REFERENCE, MASK)
    order = np.argsort(SOURCE, axis=None)
    assert (np.diff(found.ravel()[order]) >= -1e-3).all()
    dark = SOURCE.copy()
    dark[0, 0, 0] = 0
    air = REFERENCE.copy()
    air[0, 0, 0] = 0
    assert baselines.histogram_matching(dark, MASK, air, MASK)[0, 0, 0] == 0


def test_nyul_brings_deciles_to_the_reference() -> None:
    pytest.importorskip("intensity_normalization")
    found = baselines.nyul(SOURCE, MASK, [REFERENCE], [MASK])
    deciles = np.arange(10, 91, 10)
    np.testing.assert_allclose(
        np.percentile(found[MASK], deciles), np.percentile(REFERENCE[MASK], deciles), rtol=0.01
    )


def test_z_score_brings_mean_and_spread_to_the_reference() -> None:
    pytest.importorskip("intensity_normalization")
    found = baselines.z_score(SOURCE, MASK, REFERENCE, MASK)
    assert found[MASK].mean() == pytest.approx(REFERENCE[MASK].mean(), rel=1e-3)
    assert found[MASK].std() == pytest.approx(REFERENCE[MASK].std(), rel=1e-3)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(baselines, "has_extra", lambda: False)
    with pytest.raises(UsageError, match="intensity-normalization"):
        baselines.nyul(SOURCE, MASK, [REFERENCE], [MASK])
