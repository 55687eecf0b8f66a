"""Simulated maps that the directions of a shell share, without simulating the directions.

The mean over directions and the energy of order 2 follow from the signal model of each tissue.
The noise floor acts on the deviations of the directions to first order, and on the mean to second
order; noise falls with the number of volumes.  Fibres of one voxel share an axis, as in
`diffusion_session`, apart from the coherence of `microstructure.UprightMicrostructure`.  Not
simulated: distortion, eddy currents, motion, and Gibbs ringing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from attrs import frozen

from bids_ihf.lab.simulation.diffusion_session import place_fields
from bids_ihf.lab.simulation.diffusion_signal import MIN_TISSUE_FRACTION, spin_echo_signal
from bids_ihf.lab.simulation.microstructure import (
    ISOTROPIC_DIFFUSIVITY_MM2_PER_S,
    NEURAL_TISSUES,
    upright_microstructure,
)
from bids_ihf.lab.simulation.noddi import watson_moment, zonal_signal
from bids_ihf.lab.simulation.tissues import MAX_TEXTURE_SD, TEXTURE_STEP_SD

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bids_ihf.lab.simulation.anatomy import Anatomy
    from bids_ihf.lab.simulation.epi_population import ShellScanner
    from bids_ihf.lab.simulation.epi_scanner import EpiScanner
    from bids_ihf.lab.simulation.microstructure import UprightMicrostructure

    Array = NDArray[np.float32]

DIFFUSION_TISSUES = (*NEURAL_TISSUES, *ISOTROPIC_DIFFUSIVITY_MM2_PER_S)
"""Tissues that have a signal."""

MIN_POWER = np.float32(1e-12)
"""Least square of the noise, so that nothing is divided by zero."""

ORDER_2_COEFFICIENTS = 5
"""Harmonics of order 2."""


@frozen(eq=False)
class ShellMaps:
    """Maps (X, Y, Z) of one shell in the scanner's units.

    b0, mean: mean signal without weighting, and over the directions of the shell; energy: root of
        the energy of order 2; variance: of the noise of one volume.
    """

    b0: Array
    mean: Array
    energy: Array
    variance: Array


def simulate_shell(
    anatomy: Anatomy, measured: ShellScanner, subject_seed: int, noise_seed: int
) -> ShellMaps:
    """The maps of a shell of an anatomy whose voxels are those of the scanner.

    ``anatomy`` lies along the axes of its world, and its tissues are blurred already;
    ``subject_seed`` draws the microstructure, ``noise_seed`` the noise alone.
    """
    scanner, protocol = measured.scanner, measured.protocol
    receive, noise, b_factor = place_fields(anatomy, scanner)
    micro = upright_microstructure(anatomy, subject_seed)
    signals = _noise_free(anatomy, micro, scanner, protocol.b * b_factor)
    receive *= np.float32(1 / spin_echo_signal(scanner, "white"))
    b0, mean, second = (signal * receive for signal in signals)
    energy = np.abs(second) * np.float32(np.sqrt(ORDER_2_COEFFICIENTS))
    rng = np.random.default_rng([noise_seed, scanner.field_seed])
    measured_b0, _ = _magnitude(b0, noise, scanner.coils)
    measured_mean, floor_power = _magnitude(mean, noise, scanner.coils)
    shrunk = energy * mean / measured_mean
    measured_mean += 0.5 * floor_power / measured_mean**3 * energy**2
    noise_b0 = noise / np.float32(np.sqrt(protocol.b0_volumes))
    noise_mean = noise / np.float32(np.sqrt(protocol.directions))
    shape = anatomy.shape
    measured_b0 += noise_b0 * rng.standard_normal(shape, dtype=np.float32)
    measured_mean += noise_mean * rng.standard_normal(shape, dtype=np.float32)
    units = np.float32(scanner.units)
    return ShellMaps(
        np.maximum(measured_b0, 0) * units,
        np.maximum(measured_mean, 0) * units,
        _noisy_energy(shrunk, noise_mean, rng) * units,
        np.square(noise * units),
    )


def _noise_free(
    anatomy: Anatomy, micro: UprightMicrostructure, scanner: EpiScanner, b: Array
) -> tuple[Array, Array, Array]:
    """Signal at b 0, mean over directions and zonal coefficient of order 2, (X, Y, Z) each."""
    size = b.size
    texture = np.clip(anatomy.texture.numpy(), -MAX_TEXTURE_SD, MAX_TEXTURE_SD).ravel()
    unweighted, mean, second = (np.zeros(size, dtype=np.float32) for _ in range(3))
    flat_b, coherence = b.ravel(), micro.coherence.ravel()
    for name in DIFFUSION_TISSUES:
        fraction = anatomy.fraction(name).ravel()
        voxels = np.flatnonzero(fraction > MIN_TISSUE_FRACTION)
        if not voxels.size:
            continue
        signal = fraction[voxels] * _textured(scanner, name, texture[voxels])
        unweighted[voxels] += signal
        if name in NEURAL_TISSUES:
            moment = watson_moment(2, micro.odi[name].ravel()[voxels])
            ndi = micro.ndi[name].ravel()[voxels]
            orders = zonal_signal(flat_b[voxels], ndi, moment)
            mean[voxels] += signal * orders[0]
            second[voxels] += signal * orders[1] * coherence[voxels]
        else:
            decay = np.float32(ISOTROPIC_DIFFUSIVITY_MM2_PER_S[name])
            mean[voxels] += signal * np.exp(-decay * flat_b[voxels])
    shape = b.shape
    return unweighted.reshape(shape), mean.reshape(shape), second.reshape(shape)


def _textured(scanner: EpiScanner, name: str, texture: Array) -> Array:
    """Signal (N,) at b 0 of a tissue with a texture (N,), linear in it."""
    level, high, low = (
        spin_echo_signal(scanner, name, step) for step in (0.0, TEXTURE_STEP_SD, -TEXTURE_STEP_SD)
    )
    slope = (high - low) / (2 * TEXTURE_STEP_SD)
    return np.float32(level) + np.float32(slope) * texture


def _magnitude(signal: Array, noise: Array, coils: int) -> tuple[Array, Array]:
    """Mean of the magnitude, and the square of the floor in it, for the root of the sum of squares
    of complex channels (Constantinides et al. 1997, Magn Reson Med 38:852).

    The mean is the root of S^2 + (2 n - 1 + c) s^2 with c = 0 at a high signal; without signal
    it is s sqrt(pi / 2) (2 n - 1)!! / (2^(n-1) (n-1)!), and c falls between as a Gaussian.
    """
    alone = np.sqrt(np.pi / 2)
    for n in range(2, coils + 1):
        alone *= (2 * n - 1) / (2 * n - 2)
    degrees = 2 * coils - 1
    power = np.maximum(np.square(noise), MIN_POWER)
    excess = np.float32(alone**2 - degrees) * np.exp(-np.square(signal) / (2 * power))
    floor_power = power * (np.float32(degrees) + excess)
    return np.asarray(np.sqrt(np.square(signal) + floor_power)), floor_power


def _noisy_energy(energy: Array, noise: Array, rng: np.random.Generator) -> Array:
    """Root of the energy with noise in all five harmonics, one of which holds the energy."""
    shape = energy.shape
    power = np.square(energy + noise * rng.standard_normal(shape, dtype=np.float32))
    # The squares of two normal numbers are together twice an exponential one.
    for _ in range((ORDER_2_COEFFICIENTS - 1) // 2):
        power += 2 * np.square(noise) * rng.standard_exponential(shape, dtype=np.float32)
    return np.asarray(np.sqrt(power))
