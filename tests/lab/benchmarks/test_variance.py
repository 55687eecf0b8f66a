"""Variance explained by scanners and subjects, where it is known."""

from __future__ import annotations

import numpy as np
import pytest

from bids_ihf.lab.benchmarks.metrics.variance import variance_fractions
from tests.qc.test_readout import FEATURE_COUNT, crossed


def test_variance_is_split_between_factors() -> None:
    data, scanner, subject = crossed(3, 1)
    found = variance_fractions(data * np.linspace(0.1, 9, FEATURE_COUNT) + 5, scanner, subject)
    assert found.scanner + found.subject + found.residual == pytest.approx(1)
    # Drawn as 9 : 1 : 1; deviations of four scanners hold three quarters of their variance.
    assert 0.65 < found.scanner < 0.85
    assert 0.06 < found.subject < 0.2


def test_one_factor_may_explain_all() -> None:
    _, scanner, subject = crossed(0, 0)
    alike = variance_fractions(np.ones((24, 2)) * subject[:, None], scanner, subject)
    assert (alike.scanner, alike.subject) == pytest.approx((0, 1))


def test_the_design_must_be_balanced() -> None:
    data, scanner, subject = crossed(0, 0)
    with pytest.raises(ValueError, match="equally often"):
        variance_fractions(data[1:], scanner[1:], subject[1:])
