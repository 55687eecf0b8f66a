"""Maps of a shell without its directions, against the series that has them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from attrs import evolve

from bids_ihf.dwi.shared_maps import shared_maps
from bids_ihf.dwi.shell_fit import fit_shells
from bids_ihf.dwi.shells import find_shells
from bids_ihf.lab.simulation import epi_population, microstructure
from bids_ihf.lab.simulation.diffusion_session import start_session
from bids_ihf.lab.simulation.epi_population import ShellProtocol, ShellScanner
from bids_ihf.lab.simulation.epi_scanner import EpiScanner
from bids_ihf.lab.simulation.gradient_scheme import gradient_table
from bids_ihf.lab.simulation.protocol_table import real_protocols
from bids_ihf.lab.simulation.shell_simulation import ShellMaps, simulate_shell

if TYPE_CHECKING:
    from bids_ihf.lab.simulation.anatomy import Anatomy

SUBJECT = 7
SCANNER = EpiScanner(
    "Test", 0.085, 4.0, b_scale=0.96, b_edge=-0.04, psf=(0.0, 0.0, 0.0), noise=0.0,
    g_factor=0.0, rounding=False,
)  # fmt: skip


@pytest.fixture(autouse=True)
def coherent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fibres as in a series, which has one axis a voxel; no texture at b 0, which it has not."""
    monkeypatch.setattr(microstructure, "FIBRE_COHERENCE", (1.0, 0.0))
    monkeypatch.setattr("bids_ihf.lab.simulation.shell_simulation.MAX_TEXTURE_SD", 0.0)


def maps(phantom: Anatomy, scanner: EpiScanner, b: float, volumes: tuple[int, int]) -> ShellMaps:
    measured = ShellScanner(scanner, ShellProtocol(b, *volumes, (4.0, 4.0, 4.0), b))
    return simulate_shell(phantom, measured, SUBJECT, 1)


def test_fields_of_an_upright_grid_are_those_of_any_grid(phantom: Anatomy) -> None:
    upright = microstructure.upright_microstructure(phantom, SUBJECT)
    drawn = microstructure.random_microstructure(phantom, SUBJECT, np.eye(4))
    for name in ("white", "grey"):
        assert np.allclose(upright.ndi[name], drawn.ndi[name], atol=1e-5)
        assert np.allclose(upright.odi[name], drawn.odi[name], atol=1e-5)


@pytest.mark.parametrize(("b", "floor"), [(1000.0, 0.0), (2500.0, 0.0), (1000.0, 0.05)])
def test_maps_are_those_of_a_series(phantom: Anatomy, b: float, floor: float) -> None:
    """With a noise floor, the average of many volumes is compared."""
    scanner = evolve(SCANNER, noise=floor / np.sqrt(7) if floor else 0.0, coils=4)
    found = maps(phantom, scanner, b, (400, 60000))
    table = gradient_table({0: 4, b: 90}, 1)
    session = start_session(phantom, scanner, SUBJECT)
    mask = phantom.brain.numpy() & (np.indices(phantom.shape)[2] % 4 == 0)
    fits = fit_shells(session.volumes(table, 1), table, find_shells(table.bvals), mask)
    expected = shared_maps(fits, np.ones(int(mask.sum()), np.float32))
    white, grey = (phantom.fraction(name)[mask] == 1 for name in ("white", "grey"))
    energy = expected.energies[0]
    assert energy is not None
    gain = np.median(found.b0[mask][white]) / np.median(expected.b0[white])
    for region in (white, grey):
        tolerance = 0.003 if not floor else 0.01
        mean = found.mean[mask][region] / gain
        assert np.median(mean / expected.means[0][region]) == pytest.approx(1, abs=tolerance)
    # The penalty of the fit takes a part of order 2.
    ratio = (found.energy[mask] / gain / energy)[white]
    assert np.median(ratio) == pytest.approx(1, abs=0.01 if not floor else 0.03)
    assert ratio.std() < 0.03 if not floor else True


@pytest.mark.parametrize("coils", [1, 4])
def test_the_noise_floor_is_that_of_its_channels(phantom: Anatomy, coils: int) -> None:
    air = phantom.fraction("air") == 1
    found = maps(phantom, evolve(SCANNER, noise=0.1, coils=coils), 1000.0, (1, 4000))
    channels = np.random.default_rng(0).normal(0, 0.1, (2 * coils, 20000))
    floor = np.sqrt((channels**2).sum(axis=0)).mean() * SCANNER.units
    assert found.mean[air].mean() == pytest.approx(floor, rel=0.02)


def test_noise_falls_with_the_volumes_and_lifts_the_energy(phantom: Anatomy) -> None:
    noisy = evolve(SCANNER, noise=0.04)
    few, many = (maps(phantom, noisy, 1000.0, (1, count)) for count in (10, 1000))
    csf = phantom.fraction("csf") == 1
    endless = maps(phantom, noisy, 1000.0, (1, 10**8))
    few_sd, many_sd = ((one.mean - endless.mean)[csf].std() for one in (few, many))
    assert few_sd / many_sd == pytest.approx(10, rel=0.05)
    expected = 0.04 * SCANNER.units * np.sqrt(5 / 10)
    assert np.sqrt((few.energy[csf] ** 2).mean()) == pytest.approx(expected, rel=0.03)


def test_scanners_follow_real_protocols() -> None:
    echo_times = [real.echo_time for real in real_protocols() if real.modality == "dwi"]
    drawn = [epi_population.draw_shell_scanner("any", seed) for seed in range(60)]
    assert drawn[3] == epi_population.draw_shell_scanner("any", 3)
    assert len({one.protocol.b for one in drawn}) > 4
    for one in drawn:
        nearest = min(echo_times, key=lambda time: abs(time - one.scanner.echo_time))
        assert one.scanner.echo_time == pytest.approx(nearest, rel=0.1)
        assert one.protocol.directions >= epi_population.MIN_DIRECTIONS
        assert one.protocol.b >= epi_population.MIN_SHELL_B_S_PER_MM2
    summed = [one.scanner.coils > 1 for one in drawn if one.scanner.vendor == "Siemens"]
    assert np.mean(summed) > 0.4
