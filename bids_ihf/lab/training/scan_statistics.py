"""Statistics of a whole simulated scan from the sparse sample of a brain: bias correction and
intensity scale, without simulating the whole scan."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import numpy as np
import torch
from attrs import frozen
from torch.nn import functional

from bids_ihf.lab.simulation import k_space, smooth_fields
from bids_ihf.lab.simulation.acquisition import scan
from bids_ihf.lab.simulation.file_history import FileHistory
from bids_ihf.lab.simulation.tissues import TISSUE_INDEX
from bids_ihf.targets.intensity import robust_scale

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bids_ihf.lab.simulation.anatomy import Anatomy
    from bids_ihf.lab.simulation.epi_scanner import EpiScanner
    from bids_ihf.lab.simulation.scanner import Scanner
    from bids_ihf.lab.training.brain_samples import BrainSample
    from bids_ihf.targets.intensity import IntensityScale

    Axes = list[NDArray[np.float32]]

PROBE_SIDE_VOXELS = 32
"""Side of the volume on which the blur and the noise of a scanner are measured, voxels."""

PROBE_FREQUENCY = 3 / PROBE_SIDE_VOXELS
"""Frequency at which the blur is measured, cycles per voxel: a Gaussian of the same attenuation
stands for it."""

PROBE_LEVEL, PROBE_NOISE = 10.0, 0.01
"""Signal of the probe, so high that its noise is normal, and the noise that is added."""

NO_BLUR = (0.0, 0.0, 0.0)
"""Point spread, and pixel, of a scanner that blurs nothing."""

BIAS_DEGREE = 4
"""Degree of the polynomial that stands for the field that N4 finds."""

MAX_BIAS_EXTRAPOLATION = 0.2
"""How far the logarithm of the field may leave its range in the brain."""

WHITE_MATTER_PORTION = 0.15
"""Portion of the brain voxels, those with most white matter, that the field is fitted to and the
units are calibrated on."""

RESIDUAL_BIAS, RESIDUAL_BIAS_LOG_SD = 0.012, 0.4
"""Median standard deviation of the field that N4 leaves, relative, and the standard deviation of
its logarithm between scans."""


@frozen
class ScannerBlur:
    """What a scanner and the interpolation after it do to sharp voxels.

    blur, thickness: standard deviations (mm) of a Gaussian the same along each axis, and of
        another across the slices.
    noise: factor of the standard deviation of the noise.
    """

    blur: float
    thickness: float
    noise: float


@frozen(eq=False)
class BiasCorrection:
    """The field by which a scan is divided, and the gain that calibrates its units.

    coefficients: of the polynomial that N4 would find, of the monomials by `_exponents`.
    bounds: smallest and largest logarithm of the field.
    residual: standard deviation of what remains; residual_seed draws its shape.
    """

    coefficients: NDArray[np.float64]
    bounds: tuple[float, float]
    gain: float
    residual: float
    residual_seed: int

    def factor(self, anatomy: Anatomy) -> torch.Tensor:
        """What the voxels (X, Y, Z) of a scan of an anatomy are multiplied by."""
        axes = smooth_fields.centred_axes(anatomy.shape, anatomy.zooms, anatomy.brain_centre())
        rng = np.random.default_rng(self.residual_seed)
        log_factor = smooth_fields.random_waves(axes, rng, anatomy.texture.device)
        log_factor *= self.residual
        log_factor -= _polynomial(axes, self.coefficients).clamp_(*self.bounds)
        return log_factor.exp_().mul_(self.gain)


@frozen(eq=False)
class ScanStatistics:
    """Of a scan: its blur, its bias correction, and the intensity scale of the corrected image."""

    blur: ScannerBlur
    correction: BiasCorrection
    scale: IntensityScale


def interpolated(volume: torch.Tensor, shifts: tuple[float, float, float]) -> torch.Tensor:
    """A volume (X, Y, Z) as blurred as by linear interpolation between voxels, but not shifted.

    ``shifts``, 0 to 1 along each axis, are where between two voxels the interpolated ones lie.
    The kernel is symmetric, with the variance f (1 - f) of (1 - f, f).
    """
    for axis, shift in enumerate(shifts):
        weight = shift * (1 - shift) / 2
        if weight:
            both = volume.roll(1, axis).add_(volume.roll(-1, axis))
            volume = (volume * (1 - 2 * weight)).add_(both, alpha=weight)
    return volume


def measure_blur(scanner: Scanner, shifts: tuple[float, float, float]) -> ScannerBlur:
    """Measure blur and noise of a scanner on a small probe, with the interpolation of a slab."""
    shape, zooms = (PROBE_SIDE_VOXELS,) * 3, np.ones(3)
    far = torch.full(shape, 100.0)  # far from the centre, where no unfolding raises the noise
    probe = torch.full(shape, PROBE_LEVEL)
    probe[tuple(n // 2 for n in shape)] += 1
    plain = attrs.evolve(scanner, noise=0.0, g_factor=0.0, acceleration=(1.0, 1.0, 1.0))
    filtered = FileHistory(denoising=scanner.history.denoising)
    with torch.no_grad():
        image = _sharpened(k_space.acquire(probe, zooms, plain, far, 0), scanner)
        resampled = interpolated(image, scanner.history.resampling)
        impulse = interpolated(resampled, shifts) - PROBE_LEVEL
        noisy = attrs.evolve(plain, noise=PROBE_NOISE)
        level = torch.full(shape, PROBE_LEVEL)
        image = _sharpened(k_space.acquire(level, zooms, noisy, far, scanner.field_seed), scanner)
        stored = filtered.apply(image.numpy(), np.ones(shape, dtype=bool), zooms)
        resampled = interpolated(torch.from_numpy(stored), scanner.history.resampling)
        noise = interpolated(resampled, shifts)
    variances = sorted(_gaussian_variance(impulse, axis) for axis in range(3))
    along = max(0.0, (variances[0] + variances[1]) / 2)
    return ScannerBlur(
        blur=float(np.sqrt(along)),
        thickness=float(np.sqrt(max(0.0, variances[2] - along))),
        noise=float(noise.std()) / PROBE_NOISE,
    )


def _history_of_intensities(history: FileHistory) -> FileHistory:
    """The steps of a file's history that change single voxels."""
    return FileHistory(clipping=history.clipping, grey_levels=history.grey_levels)


def _gaussian_variance(impulse: torch.Tensor, axis: int) -> float:
    """Variance (voxels squared) of the Gaussian that attenuates `PROBE_FREQUENCY` as much."""
    line = impulse.sum(dim=[k for k in range(3) if k != axis])
    spectrum = torch.fft.rfft(line).abs()
    ratio = spectrum[round(PROBE_FREQUENCY * PROBE_SIDE_VOXELS)] / spectrum[0]
    return -np.log(max(float(ratio), 1e-3)) / (2 * np.pi**2 * PROBE_FREQUENCY**2)


def _sharpened(volume: torch.Tensor, scanner: Scanner) -> torch.Tensor:
    if not scanner.sharpening:
        return volume
    mean = functional.avg_pool3d(
        functional.pad(volume[None, None], (1,) * 6, mode="circular"), 3, stride=1
    )
    return volume + scanner.sharpening * (volume - mean[0, 0])


def scan_statistics(
    sample: BrainSample, scanner: Scanner, shifts: tuple[float, float, float], seed: int
) -> ScanStatistics:
    """Statistics of a subject's scan; ``seed`` draws its noise and what N4 leaves.

    Raises
    ------
    ValueError
        The brain has one intensity.
    """
    blur = measure_blur(scanner, shifts)
    sharp = attrs.evolve(
        scanner, psf=NO_BLUR, pixel=NO_BLUR, elliptical=False, partial_fourier=1.0,
        apodisation=0.0, thickness=0.0, spacing=0.0, distortion=0.0, sharpening=0.0,
        noise=scanner.noise * blur.noise, history=_history_of_intensities(scanner.history),
    )  # fmt: skip
    anatomies = [sample.anatomy(voxel, blur.blur, blur.thickness) for voxel in range(2)]
    images = [scan(anatomy, sharp, 2 * seed + n) for n, anatomy in enumerate(anatomies)]
    correction = bias_correction(anatomies, images, scanner, seed)
    values = np.stack(
        [
            image * correction.factor(anatomy).numpy()
            for image, anatomy in zip(images, anatomies, strict=True)
        ]
    )
    return ScanStatistics(blur, correction, robust_scale(values, sample.mask > 127))


def bias_correction(
    anatomies: list[Anatomy],
    images: list[NDArray[np.float32]],
    scanner: Scanner | EpiScanner,
    seed: int,
) -> BiasCorrection:
    """A polynomial fitted to the logarithm of white matter stands for N4."""
    brain = np.stack([anatomy.brain.numpy() for anatomy in anatomies])
    white = np.stack([a.fractions[TISSUE_INDEX["white"]].numpy() for a in anatomies])
    values = np.stack(images)
    usable = brain & (values > 0)
    usable &= white >= np.quantile(white[usable], 1 - WHITE_MATTER_PORTION)
    columns = [
        _monomials(smooth_fields.centred_axes(a.shape, a.zooms, a.brain_centre()), chosen)
        for a, chosen in zip(anatomies, usable, strict=True)
    ]
    design = np.concatenate(columns)
    target = np.log(values[usable].astype(np.float64))
    normal = design.T @ design + 1e-3 * len(design) * np.diag(
        [0.0] + [1e-3] * (design.shape[1] - 1)
    )
    coefficients = np.linalg.solve(normal, design.T @ target)
    fitted = design @ coefficients
    coefficients[0] -= fitted.mean()
    fitted -= fitted.mean()
    rng = np.random.default_rng([seed, scanner.field_seed, 5])
    return BiasCorrection(
        coefficients,
        (
            float(fitted.min()) - MAX_BIAS_EXTRAPOLATION,
            float(fitted.max()) + MAX_BIAS_EXTRAPOLATION,
        ),
        gain=float(scanner.units / np.median(values[usable] * np.exp(-fitted))),
        residual=float(RESIDUAL_BIAS * np.exp(RESIDUAL_BIAS_LOG_SD * rng.standard_normal())),
        residual_seed=int(rng.integers(2**31)),
    )


def _exponents() -> list[tuple[int, int, int]]:
    """Exponents of the monomials up to `BIAS_DEGREE`, the constant first."""
    degrees = range(BIAS_DEGREE + 1)
    triples = [(i, j, k) for i in degrees for j in degrees for k in degrees]
    return sorted((t for t in triples if sum(t) <= BIAS_DEGREE), key=lambda t: (sum(t), t))


def _monomials(axes: Axes, chosen: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Every monomial (N, M) at the chosen voxels of a grid (X, Y, Z)."""
    degrees = np.arange(BIAS_DEGREE + 1)
    x, y, z = (
        axis.astype(np.float64)[index, None] ** degrees
        for axis, index in zip(axes, np.nonzero(chosen), strict=True)
    )
    return np.stack([x[:, i] * y[:, j] * z[:, k] for i, j, k in _exponents()], axis=-1)


def _polynomial(axes: Axes, coefficients: NDArray[np.float64]) -> torch.Tensor:
    """A polynomial on a grid (X, Y, Z), by its separable monomials."""
    degrees = np.arange(BIAS_DEGREE + 1)
    x, y, z = (torch.from_numpy((axis[:, None] ** degrees).astype(np.float32)) for axis in axes)
    cube = torch.zeros((BIAS_DEGREE + 1,) * 3)
    for (i, j, k), coefficient in zip(_exponents(), coefficients, strict=True):
        cube[i, j, k] = float(coefficient)
    plane = torch.einsum("xi,yj,ijk->xyk", x, y, cube)
    return plane @ z.T
