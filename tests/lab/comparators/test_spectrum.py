"""Spectrum swapping."""

from __future__ import annotations

import numpy as np
import pytest

from bids_ihf.lab.comparators.spectrum import low_frequencies, swap_spectrum

RNG = np.random.default_rng(3)


def pair() -> tuple[np.ndarray, np.ndarray]:
    """Two scans that stay above zero whatever is swapped."""
    return RNG.normal(10, 1, (40, 50, 2)), RNG.normal(14, 2, (40, 50, 2))


def test_phase_is_kept_and_low_amplitudes_are_the_references() -> None:
    source, reference = pair()
    found = swap_spectrum(source, reference, 0.1)
    ours, theirs, got = (np.fft.fft2(each, axes=(0, 1)) for each in (source, reference, found))
    assert np.allclose(np.exp(1j * np.angle(got)), np.exp(1j * np.angle(ours)), atol=1e-3)
    low = low_frequencies(40, 50, 0.1)
    assert np.allclose(np.abs(got[low]), np.abs(theirs[low]), rtol=1e-3)
    assert np.allclose(np.abs(got[~low]), np.abs(ours[~low]), rtol=1e-3)


def test_block() -> None:
    assert low_frequencies(40, 50, 0.0).sum() == 1
    assert low_frequencies(40, 50, 0.1).sum() == 9 * 9
    assert low_frequencies(41, 51, 0.1)[-4:, 0].all()


def test_without_reach_the_mean_alone_is_swapped() -> None:
    source, reference = pair()
    found = swap_spectrum(source, reference, 0.0)
    shift = reference.mean(axis=(0, 1)) - source.mean(axis=(0, 1))
    assert np.allclose(found, source + shift, atol=1e-4)


def test_a_scan_given_its_own_spectrum_stays() -> None:
    source, _ = pair()
    assert np.allclose(swap_spectrum(source, source, 0.2), source, atol=1e-4)


def test_never_negative() -> None:
    source = RNG.uniform(0, 1, (20, 20, 1))
    assert swap_spectrum(source, np.zeros_like(source), 0.0).min() == 0


def test_shapes_must_agree() -> None:
    with pytest.raises(ValueError, match="shapes differ"):
        swap_spectrum(np.ones((4, 4, 1)), np.ones((4, 5, 1)))
