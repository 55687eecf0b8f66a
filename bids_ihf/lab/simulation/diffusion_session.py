"""A simulated diffusion series: spin-echo EPI of one scanner, volume by volume."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from attrs import evolve, frozen
from scipy.ndimage import gaussian_filter, map_coordinates

from bids_ihf.lab.simulation import smooth_fields
from bids_ihf.lab.simulation.diffusion_signal import DiffusionSignal
from bids_ihf.lab.simulation.microstructure import random_microstructure

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from bids_ihf.bids.gradient_tables import GradientTable
    from bids_ihf.lab.simulation.anatomy import Anatomy
    from bids_ihf.lab.simulation.epi_scanner import EpiScanner
    from bids_ihf.lab.simulation.microstructure import Microstructure

    Array = NDArray[np.float32]

SINUS_CENTRE_MM, SINUS_SIGMA_MM = (0.0, 55.0, -25.0), 22.0
"""Centre, relative to that of the brain (RAS), and width of the air that distorts an EPI most."""

MIN_DISPLACEMENT_VOXELS = 0.01
"""Rows in which nothing is displaced by more than this are not resampled."""

MIN_WHITE_MATTER_FRACTION = 0.9
"""White-matter fraction of the voxels that calibrate the units."""


@frozen(eq=False)
class DiffusionSession:
    """A subject in a scanner.

    anatomy: axes in RAS order.
    receive, noise_level, b_factor: (X, Y, Z) coil sensitivity, standard deviation of the noise,
        and effective over nominal b-value.
    calibration: brings white matter to about 1 at b 0.
    """

    anatomy: Anatomy
    micro: Microstructure
    scanner: EpiScanner
    receive: Array
    noise_level: Array
    b_factor: Array
    calibration: float

    def volumes(self, gradients: GradientTable, seed: int) -> Iterator[Array]:
        """Each volume (X, Y, Z) in the scanner's units, non-negative; ``bvecs`` in RAS axes.

        ``seed`` draws the thermal noise alone, so two seeds are a repeat scan.
        """
        signal = self.signal()
        rows = zip(gradients.bvals, gradients.bvecs, strict=True)
        for number, (b, direction) in enumerate(rows):
            image = self._noise_free_image(signal(float(b), direction))
            yield self._stored(self._with_noise(image, [seed, number]))

    def signal(self) -> DiffusionSignal:
        """The signal of the subject's tissues in this scanner."""
        return DiffusionSignal(self.anatomy, self.micro, self.scanner, self.b_factor)

    def _noise_free_image(self, image: Array) -> Array:
        """Blurred, weighted by the coil sensitivity, displaced and calibrated."""
        sigma = np.asarray(self.scanner.psf) / smooth_fields.FWHM_PER_SIGMA / self.anatomy.zooms
        image = gaussian_filter(image, sigma) * self.receive
        return self._displaced(image) * np.float32(self.calibration)

    def _displaced(self, image: Array) -> Array:
        """The residual distortion near the frontal sinus, along the phase encoding."""
        distortion = self.scanner.distortion
        if not distortion:
            return image
        shift = _sinus_field(self.anatomy) * np.float32(distortion / self.anatomy.zooms[1])
        shifted = np.flatnonzero((np.abs(shift) > MIN_DISPLACEMENT_VOXELS).any(axis=(1, 2)))
        rows = slice(shifted[0], shifted[-1] + 1)
        coordinates = np.indices(image[rows].shape, dtype=np.float32)
        coordinates[1] += shift[rows]
        displaced = image.copy()
        displaced[rows] = map_coordinates(image[rows], coordinates, order=1, mode="nearest")
        return displaced

    def _with_noise(self, image: Array, seed: list[int]) -> Array:
        """Root of the sum of squares of ``coils`` complex channels (Constantinides et al. 1997,
        Magn Reson Med 38:852), the signal in one of them."""
        rng = np.random.default_rng([*seed, self.scanner.field_seed])
        power = np.zeros_like(image)
        for channel in range(2 * self.scanner.coils):
            noise = rng.standard_normal(image.shape, dtype=np.float32) * self.noise_level
            power += (image + noise) ** 2 if channel == 0 else noise**2
        return np.sqrt(power)

    def _stored(self, image: Array) -> Array:
        image = image * np.float32(self.scanner.units)
        return np.rint(image) if self.scanner.rounding else image


def start_session(
    anatomy: Anatomy,
    scanner: EpiScanner,
    subject_seed: int,
    pose: NDArray[np.float64] | None = None,
) -> DiffusionSession:
    """Put a subject into a scanner; ``subject_seed`` and ``pose`` are those of
    `random_microstructure`."""
    micro = random_microstructure(anatomy, subject_seed, np.eye(4) if pose is None else pose)
    receive, noise_level, b_factor = place_fields(anatomy, scanner)
    session = DiffusionSession(
        anatomy, micro, scanner, receive, noise_level, b_factor, calibration=1.0
    )
    white = anatomy.fraction("white") > MIN_WHITE_MATTER_FRACTION
    if not white.any():
        return session
    unweighted = session.signal()(0.0, np.zeros(3)) * session.receive
    return evolve(session, calibration=1 / float(np.median(unweighted[white])))


def place_fields(anatomy: Anatomy, scanner: EpiScanner) -> tuple[Array, Array, Array]:
    """Coil sensitivity, standard deviation of the noise, and effective over nominal b-value,
    (X, Y, Z) each."""
    axes = smooth_fields.centred_axes(anatomy.shape, anatomy.zooms, anatomy.brain_centre())
    device = anatomy.fractions.device
    distance = smooth_fields.radius_squared(axes, device).cpu().numpy()
    rng = np.random.default_rng(scanner.field_seed)
    log_receive = smooth_fields.random_waves(axes, rng, device).cpu().numpy()
    log_receive *= scanner.receive_bias
    log_receive += scanner.receive_edge * (np.minimum(distance, 1.6) - 0.4)
    noise_level = scanner.noise * (1 + scanner.g_factor * np.exp(-2 * distance))
    b_factor = scanner.b_scale * (1 + scanner.b_edge * np.minimum(distance, 2.0))
    fields = np.exp(log_receive), noise_level, b_factor
    receive, noise_level, b_factor = (field.astype(np.float32) for field in fields)
    return receive, noise_level, b_factor


def _sinus_field(anatomy: Anatomy) -> Array:
    """1 at the frontal sinus, falling to 0 away from it."""
    centre = anatomy.brain_centre() + np.asarray(SINUS_CENTRE_MM) / anatomy.zooms
    x, y, z = (
        (((np.arange(n) - c) * zoom / SINUS_SIGMA_MM) ** 2).reshape(smooth_fields.axis_shape(axis))
        for axis, (n, c, zoom) in enumerate(zip(anatomy.shape, centre, anatomy.zooms, strict=True))
    )
    return np.exp(-0.5 * (x + y + z)).astype(np.float32)
