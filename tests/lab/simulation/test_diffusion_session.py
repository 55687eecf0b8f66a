"""A simulated series: what the scanner does to the signal, repeats, noise floor."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from attrs import evolve

from bids_ihf.lab.simulation.diffusion_session import start_session
from bids_ihf.lab.simulation.diffusion_signal import spin_echo_signal
from bids_ihf.lab.simulation.epi_scanner import EpiScanner, vendor_epi_scanner
from bids_ihf.lab.simulation.gradient_scheme import gradient_table
from bids_ihf.lab.simulation.noddi import FREE_DIFFUSIVITY_MM2_PER_S
from bids_ihf.lab.simulation.tissues import TISSUE_INDEX

if TYPE_CHECKING:
    from bids_ihf.lab.simulation.anatomy import Anatomy

PLAIN = EpiScanner(
    "Test", 0.085, 4.0, psf=(0.0, 0.0, 0.0), noise=0.0, receive_bias=0.0, receive_edge=0.0,
    rounding=False,
)  # fmt: skip
TABLE = gradient_table({0: 1, 1000: 6}, 1)


def volumes(phantom: Anatomy, scanner: EpiScanner, seed: int = 1) -> np.ndarray:
    return np.stack(list(start_session(phantom, scanner, 7).volumes(TABLE, seed)))


def tissue(phantom: Anatomy, name: str) -> np.ndarray:
    return phantom.fraction(name) == 1


def test_free_water_decays_with_the_acting_b_value(phantom: Anatomy) -> None:
    csf = tissue(phantom, "csf")
    for scale in (1.0, 0.9):
        found = volumes(phantom, evolve(PLAIN, b_scale=scale))
        ratio = found[1][csf] / found[0][csf]
        assert np.allclose(ratio, np.exp(-1000 * scale * FREE_DIFFUSIVITY_MM2_PER_S), rtol=1e-3)


def test_white_matter_is_at_the_units(phantom: Anatomy) -> None:
    found = volumes(phantom, evolve(PLAIN, units=800.0))
    assert np.median(found[0][tissue(phantom, "white")]) == pytest.approx(800, rel=1e-3)
    ratio = spin_echo_signal(PLAIN, "csf") / spin_echo_signal(PLAIN, "white")
    csf = np.median(found[0][tissue(phantom, "csf")])
    assert csf == pytest.approx(800 * ratio, rel=1e-3)


def test_noise_alone_repeats_differently(phantom: Anatomy) -> None:
    noisy = evolve(PLAIN, noise=0.02)
    one, again, other = (volumes(phantom, noisy, seed) for seed in (1, 1, 2))
    assert np.array_equal(one, again)
    white = tissue(phantom, "white")
    difference = (one[0] - other[0])[white] / 500
    g = 1 + noisy.g_factor
    assert 0.02 < difference.std() / np.sqrt(2) < 0.02 * g


@pytest.mark.parametrize(("coils", "floor"), [(1, 1.253), (4, 2.74)])
def test_floor_in_the_air(phantom: Anatomy, coils: int, floor: float) -> None:
    scanner = evolve(PLAIN, noise=0.02, coils=coils, g_factor=0.0)
    air = tissue(phantom, "air")
    found = volumes(phantom, scanner)[1][air].mean() / 500
    assert found == pytest.approx(0.02 * floor, rel=0.02)


def test_vendors_differ_and_scans_of_one_a_little() -> None:
    one, other = vendor_epi_scanner("GE", 1), vendor_epi_scanner("GE", 2)
    assert one != other
    assert abs(one.b_scale / other.b_scale - 1) < 0.03
    assert vendor_epi_scanner("Philips", 1).b_scale > one.b_scale
    assert vendor_epi_scanner("GE", 1) == one


def test_averaging_keeps_the_tissue(phantom: Anatomy) -> None:
    coarse = phantom.averaged((2, 2, 2))
    assert coarse.shape == (20, 20, 20)
    assert np.allclose(coarse.zooms, 8)
    for name in ("white", "csf"):
        fine = phantom.fractions[TISSUE_INDEX[name]].sum()
        assert float(coarse.fractions[TISSUE_INDEX[name]].sum()) * 8 == pytest.approx(float(fine))
    assert np.allclose(coarse.affine[:3, 3] - phantom.affine[:3, 3], 2)
