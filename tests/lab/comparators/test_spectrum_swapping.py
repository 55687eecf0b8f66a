"""Spectrum swapping."""

from __future__ import annotations

import numpy as np
import pytest

from bids_ihf.lab.comparators.interface import MaskedImage
from bids_ihf.lab.comparators.spectrum_swapping import harmonize, low_frequencies, swap_spectrum

RNG = np.random.default_rng(3)


def pair() -> tuple[np.ndarray, np.ndarray]:
    """Two scans that stay above zero whatever is swapped."""
    return RNG.normal(10, 1, (40, 50, 2)), RNG.normal(14, 2, (40, 50, 2))


def test_phase_is_kept_and_low_amplitudes_are_the_references() -> None:
    source, reference = pair()
    block = low_frequencies(40, 50, 0.1)
    swapped = swap_spectrum(source, reference, block)
    before, target, after = (
        np.fft.fft2(image, axes=(0, 1)) for image in (source, reference, swapped)
    )
    assert np.allclose(np.exp(1j * np.angle(after)), np.exp(1j * np.angle(before)), atol=1e-3)
    assert np.allclose(np.abs(after[block]), np.abs(target[block]), rtol=1e-3)
    assert np.allclose(np.abs(after[~block]), np.abs(before[~block]), rtol=1e-3)


def test_block() -> None:
    assert low_frequencies(40, 50, 0.0).sum() == 1
    assert low_frequencies(40, 50, 0.1).sum() == 9 * 9
    assert low_frequencies(41, 51, 0.1)[-4:, 0].all()


def test_the_smallest_block_swaps_the_mean_alone() -> None:
    source, reference = pair()
    swapped = swap_spectrum(source, reference, low_frequencies(40, 50, 0.0))
    shift = reference.mean(axis=(0, 1)) - source.mean(axis=(0, 1))
    assert np.allclose(swapped, source + shift, atol=1e-4)


def test_a_scan_given_its_own_spectrum_stays() -> None:
    source, _ = pair()
    assert np.allclose(
        swap_spectrum(source, source, low_frequencies(40, 50, 0.2)), source, atol=1e-4
    )


def test_scans_are_brought_to_one_scale() -> None:
    """A reference in other units gives the same image in these units."""
    source, reference = pair()
    image, other = MaskedImage(source), MaskedImage(reference)
    plain = harmonize(image, [other])
    assert np.allclose(harmonize(image, [MaskedImage(7 * reference)]), 7 * plain, rtol=1e-4)
    assert np.allclose(harmonize(MaskedImage(5 * source), [other]), plain, rtol=1e-4)
    assert plain.mean() == pytest.approx(reference.mean(), rel=1e-4)


def test_never_negative() -> None:
    source = RNG.uniform(0, 1, (20, 20, 1))
    assert swap_spectrum(source, np.zeros_like(source), low_frequencies(20, 20, 0)).min() == 0


def test_shapes_must_agree() -> None:
    block = np.ones((4, 4), dtype=bool)
    with pytest.raises(ValueError, match="shapes differ"):
        swap_spectrum(np.ones((4, 4, 1)), np.ones((4, 5, 1)), block)
