"""A simulated diffusion series: spin-echo EPI of one vendor, volume by volume."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from attrs import evolve, frozen

from bids_ihf.lab.simulation import smooth_fields
from bids_ihf.lab.simulation.microstructure import (
    ISOTROPIC_DIFFUSIVITY_MM2_PER_S,
    LEGENDRE_ORDERS,
    NEURAL_TISSUES,
    neurite_signal,
    random_microstructure,
    stick_series,
    watson_moment,
)
from bids_ihf.lab.simulation.tissues import SIMULATED_TISSUES, TISSUE_INDEX, tissue

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from bids_ihf.bids.gradient_tables import GradientTable
    from bids_ihf.lab.simulation.anatomy import Anatomy
    from bids_ihf.lab.simulation.microstructure import Microstructure

    Array = NDArray[np.float32]
    Voxels = NDArray[np.intp]

MIN_TISSUE_FRACTION = 0.01
"""Least share of a voxel for a tissue to count."""

SINUS_CENTRE_MM, SINUS_SIGMA_MM = (0.0, 55.0, -25.0), 22.0
"""Centre (from the brain's, RAS mm) and reach of the air that distorts an EPI most."""


@frozen
class EpiScanner:
    """One diffusion protocol on one scanner.

    echo_time, repetition_time: seconds; field_strength: tesla.
    b_scale: b-value that acts at the isocentre, over the nominal one (calibration, and what
        imaging gradients add).
    b_edge: by how much that factor changes from the centre to 90 mm from it, with the square of
        the distance (nonlinear gradients; Malyarenko et al. 2014, Magn Reson Med 71:1312).
    psf: full width at half maximum in mm of the Gaussian blur along right, anterior (the phase
        encoding), superior.
    noise: standard deviation in each channel, relative to white matter at b 0; the vendors' are
        those of 3 mm voxels.
    coils: channels joined by the root of the sum of their squares; 1 gives Rician noise.
    g_factor: by how much more the noise is at the brain's centre than far from it.
    receive_bias, receive_edge, field_seed: as of `scanner.Scanner`.
    distortion: mm along the phase encoding near the frontal sinus that correction has left.
    fat: what fat suppression leaves.
    units: the stored value of white matter at b 0.
    """

    vendor: str
    echo_time: float
    repetition_time: float
    b_scale: float = 1.0
    b_edge: float = 0.0
    psf: tuple[float, float, float] = (1.5, 2.0, 1.0)
    noise: float = 0.016
    coils: int = 1
    g_factor: float = 0.4
    receive_bias: float = 0.1
    receive_edge: float = 0.15
    field_seed: int = 0
    distortion: float = 0.0
    fat: float = 0.1
    units: float = 500.0
    field_strength: float = 3.0
    rounding: bool = True


# Echo and repetition times after the ABCD study (Casey et al. 2018, Dev Cogn Neurosci 32:43).
# All else is our own choice of what is typical, measured on no scanner: b-values that act a few
# per cent off the nominal ones, GE's channels joined by the sum of squares.
VENDOR_EPI_SCANNERS: dict[str, EpiScanner] = {
    "Siemens": EpiScanner(
        "Siemens", 0.088, 4.1, 1.00, -0.02, (1.4, 2.0, 0.8), 0.016, 1, 0.4, 0.08, 0.10,
        distortion=0.4, units=420.0,
    ),
    "GE": EpiScanner(
        "GE", 0.0819, 4.1, 0.95, -0.05, (1.8, 2.8, 1.2), 0.016, 4, 0.3, 0.14, 0.40,
        distortion=-0.5, units=1900.0,
    ),
    "Philips": EpiScanner(
        "Philips", 0.089, 5.3, 1.04, 0.01, (1.0, 1.6, 0.6), 0.021, 1, 0.5, 0.10, -0.10,
        distortion=0.5, units=900.0,
    ),
}  # fmt: skip


def vendor_epi_scanner(vendor: str, seed: int) -> EpiScanner:
    """Return a typical scanner of "Siemens", "GE" or "Philips" with a scan's small changes."""
    rng = np.random.default_rng([seed, *vendor.encode(), *b"dwi"])
    typical = VENDOR_EPI_SCANNERS[vendor]

    def around(value: float, amount: float) -> float:
        return float(value * np.exp(amount * rng.standard_normal()))

    width = around(1.0, 0.04)
    return evolve(
        typical,
        field_seed=int(rng.integers(2**31)),
        b_scale=around(typical.b_scale, 0.005),
        psf=(width * typical.psf[0], width * typical.psf[1], width * typical.psf[2]),
        noise=around(typical.noise, 0.08),
        receive_bias=around(typical.receive_bias, 0.15),
        receive_edge=around(typical.receive_edge, 0.15),
        distortion=around(typical.distortion, 0.2)
        if typical.distortion > 0
        else -around(-typical.distortion, 0.2),
        units=around(typical.units, 0.05),
    )


@frozen(eq=False)
class DiffusionSession:
    """A person who lies in a scanner: anatomy (axes in RAS order), microstructure, sensitivity."""

    anatomy: Anatomy
    micro: Microstructure
    scanner: EpiScanner
    receive: Array
    level: Array
    b_factor: Array
    calibration: float

    def volumes(self, gradients: GradientTable, seed: int) -> Iterator[Array]:
        """Each volume (X, Y, Z) in the scanner's units, never negative; ``bvecs`` in RAS axes.

        ``seed`` draws the thermal noise alone, so two seeds are a repeat scan.
        """
        water = _Water(self)
        rows = zip(gradients.bvals, gradients.bvecs, strict=True)
        for number, (b, direction) in enumerate(rows):
            image = self._seen(water.signal(float(b), direction))
            yield self._stored(self._with_noise(image, [seed, number]))

    def ideal(self, gradients: GradientTable) -> Iterator[Array]:
        """The same volumes without noise and its floor."""
        water = _Water(self)
        for b, direction in zip(gradients.bvals, gradients.bvecs, strict=True):
            yield self._seen(water.signal(float(b), direction)) * np.float32(self.scanner.units)

    def _seen(self, image: Array) -> Array:
        """Blurred, under the coils' sensitivity, displaced; white matter at about 1 for b 0."""
        from scipy.ndimage import gaussian_filter

        sigma = np.asarray(self.scanner.psf) / 2.3548 / self.anatomy.zooms
        image = gaussian_filter(image, sigma) * self.receive
        return self._displaced(image) * np.float32(self.calibration)

    def _displaced(self, image: Array) -> Array:
        from scipy.ndimage import map_coordinates

        reach = self.scanner.distortion
        if not reach:
            return image
        shift = _sinus(self.anatomy) * np.float32(reach / self.anatomy.zooms[1])
        touched = np.flatnonzero((np.abs(shift) > 0.01).any(axis=(1, 2)))
        rows = slice(touched[0], touched[-1] + 1)
        places = np.indices(image[rows].shape, dtype=np.float32)
        places[1] += shift[rows]
        moved = image.copy()
        moved[rows] = map_coordinates(image[rows], places, order=1, mode="nearest")
        return moved

    def _with_noise(self, image: Array, seed: list[int]) -> Array:
        """Root of the sum of squares of ``coils`` complex channels (Constantinides et al. 1997,
        Magn Reson Med 38:852), the signal in one of them."""
        rng = np.random.default_rng([*seed, self.scanner.field_seed])
        power = np.zeros_like(image)
        for channel in range(2 * self.scanner.coils):
            noise = rng.standard_normal(image.shape, dtype=np.float32) * self.level
            power += (image + noise) ** 2 if channel == 0 else noise**2
        return np.sqrt(power)

    def _stored(self, image: Array) -> Array:
        image = image * np.float32(self.scanner.units)
        return np.rint(image) if self.scanner.rounding else image


def start_session(
    anatomy: Anatomy, scanner: EpiScanner, person: int, pose: NDArray[np.float64] | None = None
) -> DiffusionSession:
    """Lay a person (seed ``person``) into a scanner; ``pose`` as of `microstructure`."""
    micro = random_microstructure(anatomy, person, np.eye(4) if pose is None else pose)
    axes = smooth_fields.centred_axes(anatomy.shape, anatomy.zooms, _centre(anatomy))
    distance = sum(
        (axis**2).reshape([-1 if k == i else 1 for k in range(3)]) for i, axis in enumerate(axes)
    )
    rng = np.random.default_rng(scanner.field_seed)
    device = anatomy.fractions.device
    log = smooth_fields.random_waves(axes, rng, device).cpu().numpy() * scanner.receive_bias
    log += scanner.receive_edge * (np.minimum(distance, 1.6) - 0.4)
    one = DiffusionSession(
        anatomy,
        micro,
        scanner,
        receive=np.exp(log, dtype=np.float32),
        level=(scanner.noise * (1 + scanner.g_factor * np.exp(-2 * distance))).astype(np.float32),
        b_factor=(scanner.b_scale * (1 + scanner.b_edge * np.minimum(distance, 2.0))).astype(
            np.float32
        ),
        calibration=1.0,
    )
    white = anatomy.fractions[TISSUE_INDEX["white"]].cpu().numpy() > 0.9
    sharp = _Water(one).signal(0.0, np.zeros(3)) * one.receive
    return evolve(one, calibration=1 / float(np.median(sharp[white]))) if white.any() else one


def _centre(anatomy: Anatomy) -> NDArray[np.float64]:
    return np.argwhere(anatomy.brain.cpu().numpy()).mean(axis=0)


def _sinus(anatomy: Anatomy) -> Array:
    """1 beside the frontal sinus, falling to 0 away from it."""
    centre = _centre(anatomy) + np.asarray(SINUS_CENTRE_MM) / anatomy.zooms
    squares = [
        (((np.arange(n) - c) * zoom / SINUS_SIGMA_MM) ** 2).reshape(
            [-1 if k == axis else 1 for k in range(3)]
        )
        for axis, (n, c, zoom) in enumerate(zip(anatomy.shape, centre, anatomy.zooms, strict=True))
    ]
    return np.exp(-0.5 * (squares[0] + squares[1] + squares[2])).astype(np.float32)


class _Water:
    """The signal of all tissues, with what does not depend on the gradient computed once."""

    def __init__(self, one: DiffusionSession) -> None:
        fractions = one.anatomy.fractions.cpu().numpy()
        self._shape = one.anatomy.shape
        self._parts: list[_Neural | _Isotropic] = []
        for name in (*NEURAL_TISSUES, *ISOTROPIC_DIFFUSIVITY_MM2_PER_S):
            share = fractions[TISSUE_INDEX[name]]
            where = np.flatnonzero(share.ravel() > MIN_TISSUE_FRACTION)
            if not where.size:
                continue
            weight = share.ravel()[where] * np.float32(spin_echo_signal(one.scanner, name))
            b_factor = one.b_factor.ravel()[where]
            if name in NEURAL_TISSUES:
                self._parts.append(_Neural(where, weight, b_factor, one.micro, name))
            else:
                self._parts.append(
                    _Isotropic(where, weight, b_factor, ISOTROPIC_DIFFUSIVITY_MM2_PER_S[name])
                )

    def signal(self, b: float, direction: NDArray[np.float64]) -> Array:
        """Signal (X, Y, Z) for a gradient along ``direction`` (RAS) of nominal ``b``, s/mm2."""
        out = np.zeros(int(np.prod(self._shape)), dtype=np.float32)
        for part in self._parts:
            out[part.where] += part.signal(b, direction)
        return out.reshape(self._shape)


class _Isotropic:
    """Tissue that diffuses alike in all directions."""

    def __init__(self, where: Voxels, weight: Array, b_factor: Array, diffusivity: float) -> None:
        self.where, self._weight = where, weight
        self._decay = diffusivity * b_factor
        self._known: dict[float, Array] = {}

    def signal(self, b: float, _direction: NDArray[np.float64]) -> Array:
        if b not in self._known:
            self._known[b] = self._weight * np.exp(-b * self._decay)
        return self._known[b]


class _Neural:
    """Nervous tissue; what belongs to a b-value is computed once."""

    def __init__(
        self, where: Voxels, weight: Array, b_factor: Array, micro: Microstructure, name: str
    ) -> None:
        odi = micro.odi[name].ravel()[where]
        self.where, self._weight, self._b_factor = where, weight, b_factor
        self._ndi = micro.ndi[name].ravel()[where]
        self._moments = tuple(watson_moment(order, odi) for order in LEGENDRE_ORDERS)
        self._axis = micro.axis.reshape(3, -1)[:, where]
        self._known: dict[float, Array] = {}

    def signal(self, b: float, direction: NDArray[np.float64]) -> Array:
        if b == 0:
            return self._weight
        acting = np.float32(b) * self._b_factor
        if b not in self._known:
            self._known[b] = stick_series(acting, self._moments)
        square = (direction.astype(np.float32) @ self._axis) ** 2
        sticks = self._known[b]
        return self._weight * neurite_signal(acting, square, self._ndi, self._moments[1], sticks)


def spin_echo_signal(scanner: EpiScanner, name: str) -> float:
    """Signal of a tissue at b 0: density, recovery, decay; fat less what is suppressed."""
    relaxation = tissue(name).relaxation(scanner.field_strength)
    recovery = 1 - np.exp(-scanner.repetition_time / relaxation.t1)
    signal = relaxation.density * recovery * np.exp(-scanner.echo_time / relaxation.t2)
    return float(signal * (scanner.fat if name == "fat" else 1.0))


def pooled(anatomy: Anatomy, factor: int) -> Anatomy:
    """An anatomy on voxels ``factor`` times as large, each the mean of what it covers."""
    import torch
    from torch.nn import functional

    if factor == 1:
        return anatomy
    shape = [n // factor * factor for n in anatomy.shape]
    box = tuple(slice(n) for n in shape)
    affine = anatomy.affine.copy()
    affine[:3, 3] += affine[:3, :3] @ np.full(3, (factor - 1) / 2)
    affine[:3, :3] *= factor

    def mean(volumes: torch.Tensor) -> torch.Tensor:
        return functional.avg_pool3d(volumes[None], factor)[0]

    whole = (slice(None), *box)
    return evolve(
        anatomy,
        fractions=torch.cat(
            [mean(anatomy.fractions[k : k + 1][whole]) for k in range(len(SIMULATED_TISSUES))]
        ),
        texture=mean(anatomy.texture[None][whole])[0],
        affine=affine,
        brain=mean(anatomy.brain[None].float()[whole])[0] >= 0.5,
    )
