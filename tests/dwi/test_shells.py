"""Shells from b-values, as scanners write them."""

from __future__ import annotations

import numpy as np
import pytest

from bids_ihf.dwi.shells import find_shells


def labels(*bvals: float) -> list[str]:
    return [shell.label for shell in find_shells(np.asarray(bvals, dtype=float))]


@pytest.mark.parametrize(
    ("bvals", "expected"),
    [
        ((0, 1000, 1000), ["b0", "b1000"]),
        ((5, 990, 1005, 1995, 2010, 2985, 3005, 0), ["b0", "b1000", "b2000", "b3000"]),
        ((1.25, 928.3, 928.3), ["b0", "b950"]),
        ((0, 500, 700, 1000), ["b0", "b500", "b700", "b1000"]),
        ((1000, 2000), ["b1000", "b2000"]),
    ],
)
def test_labels(bvals: tuple[float, ...], expected: list[str]) -> None:
    assert labels(*bvals) == expected


def test_every_volume_is_in_one_shell() -> None:
    bvals = np.array([2000, 0, 1000, 995, 2005, 20, 1004.0])
    shells = find_shells(bvals)
    assert [shell.volumes.tolist() for shell in shells] == [[1, 5], [2, 3, 6], [0, 4]]
    assert [shell.weighted for shell in shells] == [False, True, True]
    assert shells[1].b == pytest.approx((1000 + 995 + 1004) / 3)


def test_a_ramp_of_b_values_is_not_one_shell() -> None:
    spans = [
        np.ptp(np.arange(100.0, 3001, 40)[s.volumes])
        for s in find_shells(np.arange(100.0, 3001, 40))
    ]
    assert max(spans) <= 300
