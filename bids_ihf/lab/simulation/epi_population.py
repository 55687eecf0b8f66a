"""Diffusion scanners drawn around real protocols, with one weighted shell each."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np
from attrs import evolve, frozen

from bids_ihf.lab.simulation.epi_scanner import VENDOR_EPI_SCANNERS, EpiScanner, vendor_epi_scanner
from bids_ihf.lab.simulation.populations import draw_real_protocol
from bids_ihf.lab.simulation.vendor_scanners import vary

if TYPE_CHECKING:
    from bids_ihf.lab.simulation.protocol_table import RealProtocol

DIFFUSION = "dwi"
"""Modality of the rows of the table of protocols."""

UNSTATED_B_VALUES = (700.0, 1000.0, 1000.0, 1500.0, 2000.0, 2500.0, 3000.0)
"""b-values (s/mm2) of protocols that state none; most studies have 1000."""

MIN_SHELL_B_S_PER_MM2, MIN_DIRECTIONS = 500.0, 8
"""Smallest b-value of a shell whose maps are learned, and fewest directions: fewer have no order
2."""

UNSTATED_DIRECTIONS, UNSTATED_B0_VOLUMES = (12, 64), (1, 6)
"""Ranges of the numbers of volumes where the protocol states none."""

PIXEL_BOUNDS_MM, THICKNESS_BOUNDS_MM = (1.4, 3.6), (1.4, 6.0)
"""Bounds of the voxel; the table has 1.0 to 3.6 and 1.5 to 6 mm."""

UNSTATED_PIXEL_MM, UNSTATED_REPETITION_TIME_S = 2.0, 5.0
"""Where the protocol states none."""

TYPICAL_VOXEL_MM, TYPICAL_SHELLS_S_PER_MM2 = 2.0, (1000.0, 2000.0, 3000.0)
"""Side of the voxels of the vendors' typical series, and their b-values."""

TYPICAL_VOLUMES = (4, 24)
"""Their volumes at b 0 and at every other b-value."""

NOISE_VOXEL_MM3, NOISE_ECHO_TIME_S, WHITE_MATTER_T2_S = 27.0, 0.088, 0.07
"""Volume of the voxels that the vendors' noise is stated for, their echo time, and the relaxation
time of white matter."""

NOISE_BOUNDS = (0.008, 0.08)
"""Bounds of the noise relative to white matter: the signal at b 0 is 12 to 120 times the noise."""

DENOISED_PROBABILITY, DENOISED_NOISE = 0.4, 0.4
"""Probability that the series was denoised, and the noise that is left."""

SUM_OF_SQUARES_PROBABILITY = {"Siemens": 0.7, "GE": 0.5, "Philips": 0.1}
"""Probability that coils are combined by the sum of squares.  All Siemens sidecars that state it
do; of the others nothing is known."""

SUM_OF_SQUARES_COILS = (2, 6)
"""Range of the effective number of channels; correlations leave fewer than the coil has."""

B_SCALE_SD, B_EDGE_SD = 0.02, 0.02
"""Standard deviations of the effective b-values between scanners of a vendor; assumed."""

RANDOM_VARIATION = 2.0
"""How much more those of a random scanner vary."""

PSF_RANGES = ((0.5, 1.0), (0.6, 1.4), (0.2, 0.5))
"""Ranges of the full width at half maximum of the blur along right, anterior and superior, in
voxels; the average over the voxel comes on top."""


@frozen
class ShellProtocol:
    """One weighted shell of a series: its b-value and the highest one of the series in s/mm2, the
    numbers of volumes at b 0 and of directions, and the voxel (right, anterior, superior) in
    mm."""

    b: float
    b0_volumes: int
    directions: int
    voxel: tuple[float, float, float]
    highest_b: float


@frozen
class ShellScanner:
    """A scanner and the shell that it measures."""

    scanner: EpiScanner
    protocol: ShellProtocol

    def at(self, b: float) -> ShellScanner:
        """The same scanner at another b-value."""
        highest = max(b, self.protocol.highest_b)
        return evolve(self, protocol=evolve(self.protocol, b=b, highest_b=highest))


def typical_shell_scanner(vendor: str, b: float, seed: int) -> ShellScanner:
    """The scanner behind a vendor's diffusion target, with its number of volumes; units and
    everything but the noise of a scan do not vary."""
    scanner = vendor_epi_scanner(vendor, seed)
    scanner = evolve(scanner, units=VENDOR_EPI_SCANNERS[vendor].units)
    voxel = (TYPICAL_VOXEL_MM, TYPICAL_VOXEL_MM, TYPICAL_VOXEL_MM)
    b0_volumes, directions = TYPICAL_VOLUMES
    protocol = ShellProtocol(b, b0_volumes, directions, voxel, TYPICAL_SHELLS_S_PER_MM2[-1])
    return ShellScanner(scanner, protocol)


def draw_shell_scanner(vendor: str, seed: int, *, wide: bool = False) -> ShellScanner:
    """A scanner around one of the real protocols of a vendor (or of any); with ``wide`` the
    effective b-values vary more than between scanners that work as specified."""
    rng = np.random.default_rng([seed, *vendor.encode(), *DIFFUSION.encode()])
    real = draw_real_protocol(vendor, DIFFUSION, rng)
    typical = VENDOR_EPI_SCANNERS.get(real.vendor)
    if typical is None:
        typical = VENDOR_EPI_SCANNERS[str(rng.choice(sorted(VENDOR_EPI_SCANNERS)))]
    protocol = _shell_protocol(real, rng)
    variation = RANDOM_VARIATION if wide else 1.0
    normal = rng.standard_normal(2)
    x, y, z = (
        float(size * rng.uniform(*bounds))
        for size, bounds in zip(protocol.voxel, PSF_RANGES, strict=True)
    )
    summed = rng.random() < SUM_OF_SQUARES_PROBABILITY[typical.vendor]
    field_strength = real.field_strength or 3.0
    scanner = EpiScanner(
        real.vendor,
        echo_time=vary(real.echo_time, 0.02, rng),
        repetition_time=vary(real.repetition_time or UNSTATED_REPETITION_TIME_S, 0.03, rng),
        b_scale=typical.b_scale + B_SCALE_SD * variation * float(normal[0]),
        b_edge=typical.b_edge + B_EDGE_SD * variation * float(normal[1]),
        psf=(x, y, z),
        noise=_noise(typical.noise, protocol, real, rng),
        coils=int(rng.integers(SUM_OF_SQUARES_COILS[0], SUM_OF_SQUARES_COILS[1] + 1))
        if summed
        else 1,
        g_factor=float(rng.uniform(0.1, 0.8)),
        receive_bias=vary(typical.receive_bias, 0.3, rng),
        receive_edge=float(rng.uniform(-0.1, 0.4)),
        field_seed=int(rng.integers(2**31)),
        units=vary(typical.units, 0.4, rng),
        field_strength=field_strength,
    )
    return ShellScanner(scanner, protocol)


def _noise(
    typical: float, protocol: ShellProtocol, real: RealProtocol, rng: np.random.Generator
) -> float:
    """Noise relative to white matter: it falls with the volume of the voxel and the field, and
    grows as the signal decays with the echo time."""
    noise = typical * NOISE_VOXEL_MM3 / float(np.prod(protocol.voxel))
    noise *= 3.0 / (real.field_strength or 3.0)
    noise *= float(np.exp((real.echo_time - NOISE_ECHO_TIME_S) / WHITE_MATTER_T2_S))
    noise = vary(noise, 0.3, rng)
    if rng.random() < DENOISED_PROBABILITY:
        noise *= DENOISED_NOISE
    return float(np.clip(noise, *NOISE_BOUNDS))


def _shell_protocol(real: RealProtocol, rng: np.random.Generator) -> ShellProtocol:
    """One shell of a protocol; what it does not state is drawn."""
    pixel = float(np.clip(real.pixel or UNSTATED_PIXEL_MM, *PIXEL_BOUNDS_MM))
    thickness = float(np.clip(real.thickness or pixel, *THICKNESS_BOUNDS_MM))
    volumes = stated_volumes(real.b_values)
    shells = [b for b in volumes if b >= MIN_SHELL_B_S_PER_MM2]
    b = float(rng.choice(shells or UNSTATED_B_VALUES))
    directions = volumes.get(b) or 0
    if directions < MIN_DIRECTIONS:
        directions = int(rng.integers(*UNSTATED_DIRECTIONS))
    b0_volumes = volumes.get(0.0) or int(rng.integers(*UNSTATED_B0_VOLUMES))
    highest = max([b, *shells])
    return ShellProtocol(b, b0_volumes, directions, (pixel, pixel, thickness), highest)


def stated_volumes(b_values: str | None) -> dict[float, int]:
    """Number of volumes by b-value (s/mm2) that a row of the table states; 0 if it does not.

    >>> stated_volumes("0:5 1000:50"), stated_volumes("1000 (trace)"), stated_volumes("n/a (DSI)")
    ({0.0: 5, 1000.0: 50}, {1000.0: 0}, {})
    """
    pairs = re.findall(r"(\d+):(\d+|n/a)", b_values or "")
    if not pairs and (alone := re.match(r"(\d+) \(", b_values or "")):
        pairs = [(alone[1], "0")]
    return {float(b): int(count) if count.isdigit() else 0 for b, count in pairs}
