"""Scanning a phantom: each effect does what it says, alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from attrs import evolve

from bids_ihf.lab.simulation.acquisition import scan
from bids_ihf.lab.simulation.populations import typical_protocol
from bids_ihf.lab.simulation.random_scanners import random_scanner
from bids_ihf.lab.simulation.scanner import Scanner
from bids_ihf.lab.simulation.signal_equations import brain_contrast
from bids_ihf.lab.simulation.vendor_scanners import typical_scanner
from bids_ihf.targets.target import BUILTIN_VENDORS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bids_ihf.bids.names import Modality
    from bids_ihf.lab.simulation.anatomy import Anatomy

IDEAL = Scanner(
    protocol=typical_protocol("Siemens", "T1w"),
    receive_bias=0,
    receive_edge=0,
    transmit_bias=0,
    psf=(0, 0, 0),
    apodisation=0,
    noise=0,
    texture_gain=0,
    units=1000,
    rounding=False,
)


def where(phantom: Anatomy, name: str) -> NDArray[np.bool_]:
    """Voxels of a tissue well above the neck, where the coil loses nothing."""
    found = phantom.fraction(name) > 0.99
    found[:, :, : found.shape[2] // 2] = False
    return found


@pytest.mark.parametrize("modality", ["T1w", "T2w"])
@pytest.mark.parametrize("vendor", BUILTIN_VENDORS)
def test_ideal_scan_shows_the_protocols_contrast(
    phantom: Anatomy, vendor: str, modality: Modality
) -> None:
    protocol = typical_protocol(vendor, modality)
    image = scan(phantom, evolve(IDEAL, protocol=protocol), 0)
    contrast = brain_contrast(protocol)
    white = image[where(phantom, "white")].mean()
    assert white == pytest.approx(1000, rel=0.02)
    for name in ("grey", "csf"):
        ratio = image[where(phantom, name)].mean() / white
        assert ratio == pytest.approx(contrast[name], rel=0.02)


def test_same_arguments_same_bytes(phantom: Anatomy) -> None:
    scanner = typical_scanner("GE", "T2w", 3)
    first, second = (scan(phantom, scanner, 7) for _ in range(2))
    assert first.dtype == np.float32
    assert first.shape == phantom.shape
    assert first.tobytes() == second.tobytes()


def test_seed_draws_the_noise_alone(phantom: Anatomy) -> None:
    scanner = evolve(IDEAL, noise=0.05)
    inside = where(phantom, "white")
    one, other = (scan(phantom, scanner, seed)[inside] for seed in (1, 2))
    assert abs(np.corrcoef(one, other)[0, 1]) < 0.15
    assert scan(phantom, IDEAL, 1).tobytes() == scan(phantom, IDEAL, 2).tobytes()


def test_two_scanners_do_not_share_noise(phantom: Anatomy) -> None:
    inside = where(phantom, "white")
    one, other = (
        scan(phantom, evolve(IDEAL, noise=0.05, field_seed=field), 1)[inside] for field in (1, 2)
    )
    assert abs(np.corrcoef(one, other)[0, 1]) < 0.15


def test_noise_is_rician(phantom: Anatomy) -> None:
    """In air a Rayleigh distribution of mean sqrt(pi / 2) sigma; in white matter sigma."""
    image = scan(phantom, evolve(IDEAL, noise=0.05, g_factor=0), 0)
    air = image[phantom.fraction("air") > 0.99]
    assert air.mean() == pytest.approx(50 * np.sqrt(np.pi / 2), rel=0.03)
    assert image[where(phantom, "white")].std() == pytest.approx(50, rel=0.1)


def test_g_factor_raises_the_noise_in_the_middle(phantom: Anatomy) -> None:
    plain, raised = (
        scan(phantom, evolve(IDEAL, noise=0.05, g_factor=g), 0)[where(phantom, "white")].std()
        for g in (0.0, 1.0)
    )
    assert raised > 1.4 * plain


def test_blur_and_zero_filling_take_detail(phantom: Anatomy) -> None:
    zoom = float(phantom.zooms[0])

    def detail(scanner: Scanner) -> float:
        return float(np.abs(np.diff(scan(phantom, scanner, 0), axis=1)).max())

    sharp = detail(IDEAL)
    assert detail(evolve(IDEAL, psf=(8, 8, 8))) < 0.8 * sharp
    assert detail(evolve(IDEAL, pixel=(2 * zoom,) * 3, apodisation=1.0)) < 0.8 * sharp


def test_zero_filling_empties_the_edge_of_k_space(phantom: Anatomy) -> None:
    image = scan(phantom, evolve(IDEAL, pixel=(0.0, 2 * phantom.zooms[1], 0.0)), 0)
    spectrum = np.abs(np.fft.fft(image, axis=1)).sum(axis=(0, 2))
    high = np.abs(np.fft.fftfreq(image.shape[1])) > 0.3
    full = np.abs(np.fft.fft(scan(phantom, IDEAL, 0), axis=1)).sum(axis=(0, 2))
    # The magnitude folds negative lobes in air, so a little comes back.
    assert spectrum[high].sum() < 0.5 * full[high].sum()


def test_transmit_field_changes_the_contrast_at_the_centre(phantom: Anatomy) -> None:
    def ratio(scanner: Scanner) -> float:
        image = scan(phantom, scanner, 0)
        return float(image[where(phantom, "grey")].mean() / image[where(phantom, "white")].mean())

    assert ratio(evolve(IDEAL, transmit_bias=0.5)) > 1.015 * ratio(IDEAL)


def test_receive_bias_is_multiplicative_and_smooth(phantom: Anatomy) -> None:
    plain = scan(phantom, IDEAL, 0)
    ratio = scan(phantom, evolve(IDEAL, receive_bias=0.3, receive_edge=0.3), 0) / plain.clip(1)
    inside = where(phantom, "white") | where(phantom, "grey")
    assert ratio[inside].std() > 0.05
    steps = np.abs(np.diff(ratio, axis=0))[inside[1:] & inside[:-1]]
    assert steps.max() < 0.12


def test_texture_shows_with_opposite_signs(phantom: Anatomy) -> None:
    inside = where(phantom, "white")
    texture = phantom.texture.numpy()[inside]
    signs = []
    for modality in ("T1w", "T2w"):
        protocol = typical_protocol("Philips", modality)
        image = scan(phantom, evolve(IDEAL, protocol=protocol, texture_gain=1.0), 0)
        signs.append(np.corrcoef(image[inside], texture)[0, 1])
    assert signs[0] < -0.9
    assert signs[1] > 0.9


def test_units_rounding_and_gamma(phantom: Anatomy) -> None:
    image = scan(phantom, evolve(IDEAL, units=50, rounding=True), 0)
    assert np.array_equal(image, np.rint(image))
    curved = scan(phantom, evolve(IDEAL, gamma=1.5), 0)
    assert curved[where(phantom, "white")].mean() == pytest.approx(1000, rel=0.03)
    assert (
        curved[where(phantom, "grey")].mean()
        < scan(phantom, IDEAL, 0)[where(phantom, "grey")].mean()
    )


def test_anatomy_without_a_brain_is_scanned_all_the_same(phantom: Anatomy) -> None:
    empty = evolve(phantom, brain=phantom.brain & False)
    assert np.isfinite(scan(empty, IDEAL, 0)).all()


@pytest.mark.parametrize("modality", ["T1w", "T2w"])
def test_vendor_scanners_differ_between_scans_a_little(
    phantom: Anatomy, modality: Modality
) -> None:
    one, again, other = (typical_scanner("Siemens", modality, seed) for seed in (1, 1, 2))
    assert one == again
    assert one != other
    assert one.units == pytest.approx(other.units, rel=0.5)
    assert scan(phantom, one, 0).min() >= 0


def test_random_scanners_give_finite_images(phantom: Anatomy) -> None:
    for seed in range(6):
        for modality in ("T1w", "T2w"):
            image = scan(phantom, random_scanner(modality, seed), seed)
            assert np.isfinite(image).all()
            assert image.min() >= 0
            assert image.max() > 20
