"""Maps of a shell of a slab, and of the whole brain from its sparse sample, as the product sees
them: corrected for bias, with the profile that the shell model needs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import numpy as np
from attrs import frozen
from scipy import ndimage

from bids_ihf.dwi.harmonics import coefficient_count
from bids_ihf.dwi.profile import MIN_CSF_FLOOR_B_S_PER_MM2, measure_profile
from bids_ihf.dwi.shared_maps import harmonized_maps
from bids_ihf.dwi.shell_fit import ShellFit
from bids_ihf.dwi.shells import Shell
from bids_ihf.lab.simulation.shell_simulation import simulate_shell
from bids_ihf.lab.simulation.smooth_fields import FWHM_PER_SIGMA
from bids_ihf.lab.training.scan_statistics import bias_correction
from bids_ihf.lab.training.voxel_grid import voxel_grid
from bids_ihf.targets.intensity import robust_scale
from bids_ihf.targets.map_profiles import DIFFUSION_MAPS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from bids_ihf.dwi.shell_plan import ShellPlan
    from bids_ihf.lab.simulation.anatomy import Anatomy
    from bids_ihf.lab.simulation.epi_population import ShellScanner
    from bids_ihf.lab.simulation.shell_simulation import ShellMaps
    from bids_ihf.lab.training.scan_statistics import BiasCorrection
    from bids_ihf.lab.training.slab_scans import Slab
    from bids_ihf.lab.training.template_subjects import TemplateSubject
    from bids_ihf.lab.training.voxel_grid import VoxelGrid
    from bids_ihf.targets.diffusion_profile import DiffusionProfile
    from bids_ihf.targets.intensity import IntensityScale

    Array = NDArray[np.float32]


@frozen(eq=False)
class CorrectedMaps:
    """Maps of a shell at V voxels in the units of the scanner, with the field by which the product
    divides them."""

    fits: tuple[ShellFit, ShellFit]
    bias: Array

    def by_name(self) -> dict[str, Array]:
        """Each of `DIFFUSION_MAPS` (V,), corrected for bias."""
        b0, shell = self.fits
        images = (b0.mean, shell.mean, np.sqrt(shell.variance))
        return {
            name: np.asarray(image / self.bias, dtype=np.float32)
            for name, image in zip(DIFFUSION_MAPS, images, strict=True)
        }

    def harmonized(self, plan: ShellPlan) -> dict[str, Array]:
        """Each map (V,) after the shell model, in the units of the target."""
        maps = harmonized_maps(self.fits, plan, self.bias)
        energy = maps.energies[0]
        assert energy is not None  # noqa: S101 - the fits are of order 2
        return dict(zip(DIFFUSION_MAPS, (maps.b0, maps.means[0], energy), strict=True))


@frozen(eq=False)
class ShellStatistics:
    """Of a whole scan, from the sample of the brain.

    maps: at all voxels of the sample; inside: which of them (V,) lie in the brain.
    correction: of the bias; profile: what the shell model compares.
    """

    maps: CorrectedMaps
    inside: NDArray[np.bool_]
    correction: BiasCorrection
    profile: DiffusionProfile

    def scales(self, maps: Mapping[str, Array]) -> dict[str, IntensityScale]:
        """Intensity scale of each map (V,) of the sample."""
        return {name: robust_scale(image, self.inside) for name, image in maps.items()}


@frozen(eq=False)
class ShellSlab:
    """Maps of a slab in the voxels of the scanner, and how to bring them to the network's grid."""

    grid: VoxelGrid
    shape: tuple[int, int, int]
    maps: CorrectedMaps

    def slices(
        self, image: Array, scale: IntensityScale, slab: Slab, plane: tuple[int, int]
    ) -> Array:
        """Slices (Z + 2, X, Y) of a map (V,): those of the slab and one beyond on both sides, in
        network units."""
        volume = image.reshape(self.shape)
        return scale.normalize(self.grid.slices(volume, slab.first - 1, slab.stop + 1, plane))


def shell_statistics(
    subject: TemplateSubject, measured: ShellScanner, seed: int
) -> ShellStatistics:
    """Statistics of a subject's scan; ``seed`` draws its noise and what bias correction leaves.

    Raises
    ------
    ValueError
        The shape of the brain, or the noise, leaves too little tissue to measure.
    """
    blur, thickness = _sample_blur(measured)
    sample = subject.sample
    anatomies = [sample.anatomy(voxel, blur, thickness) for voxel in range(2)]
    scans = _sample_scans(anatomies, measured, subject.seed, seed)
    images = [scan.b0 for scan in scans]
    correction = bias_correction(anatomies, images, measured.scanner, seed)
    maps = _joined(scans, anatomies, measured, correction)
    inside = sample.mask > 127
    interior = np.stack([ndimage.binary_erosion(mask) for mask in inside])
    usable = (interior if interior.any() else inside).ravel()
    fits: tuple[ShellFit, ...] = maps.fits
    highest = measured.protocol.highest_b
    if highest > max(measured.protocol.b, MIN_CSF_FLOOR_B_S_PER_MM2):
        # The floor is measured in the highest shell of the series.
        last = measured.at(highest)
        scans = _sample_scans(anatomies, last, subject.seed, seed + 1)
        fits = (*fits, _joined(scans, anatomies, last, correction).fits[1])
    profile = measure_profile(fits, usable, maps.bias)
    profile = attrs.evolve(profile, shells=profile.shells[:1])
    return ShellStatistics(maps, inside.ravel(), correction, profile)


def _sample_scans(
    anatomies: list[Anatomy], measured: ShellScanner, subject_seed: int, seed: int
) -> list[ShellMaps]:
    return [
        simulate_shell(anatomy, measured, subject_seed, 2 * seed + n)
        for n, anatomy in enumerate(anatomies)
    ]


def scan_shell_slab(
    subject: TemplateSubject,
    slab: Slab,
    measured: ShellScanner,
    correction: BiasCorrection,
    seed: int,
) -> ShellSlab:
    """Scan the slices of a slab and one beyond on both sides; ``correction`` is that of the
    whole scan."""
    scanner, protocol = measured.scanner, measured.protocol
    grid = voxel_grid(
        subject, slab.first - 1, slab.stop + 1, protocol.voxel, scanner.psf, slab.shifts
    )
    anatomy = grid.anatomy(subject)
    scan = simulate_shell(anatomy, measured, subject.seed, seed)
    maps = corrected_maps(scan, measured, correction, anatomy)
    return ShellSlab(grid, anatomy.shape, maps)


def corrected_maps(
    scan: ShellMaps, measured: ShellScanner, correction: BiasCorrection, anatomy: Anatomy
) -> CorrectedMaps:
    """Maps of a scan as fits of its shells; all energy is in one harmonic."""
    bias = np.asarray(1 / correction.factor(anatomy).numpy().ravel(), dtype=np.float32)
    coefficients = np.zeros((coefficient_count(2), bias.size), dtype=np.float32)
    coefficients[0], coefficients[1] = scan.mean.ravel(), scan.energy.ravel()
    protocol = measured.protocol
    unweighted = Shell(0.0, np.arange(protocol.b0_volumes))
    weighted = Shell(protocol.b, np.arange(protocol.directions))
    variance = scan.variance.ravel()
    return CorrectedMaps(
        (
            ShellFit(unweighted, 0, scan.b0.reshape(1, -1), variance),
            ShellFit(weighted, 2, coefficients, variance),
        ),
        bias,
    )


def _joined(
    scans: list[ShellMaps],
    anatomies: list[Anatomy],
    measured: ShellScanner,
    correction: BiasCorrection,
) -> CorrectedMaps:
    """The maps of both groups of voxels of the sample together."""
    parts = [
        corrected_maps(scan, measured, correction, anatomy)
        for scan, anatomy in zip(scans, anatomies, strict=True)
    ]
    fits = [
        attrs.evolve(
            group[0],
            coefficients=np.concatenate([fit.coefficients for fit in group], axis=1),
            residual=np.concatenate([fit.residual for fit in group]),
        )
        for group in zip(*(part.fits for part in parts), strict=True)
    ]
    return CorrectedMaps((fits[0], fits[1]), np.concatenate([part.bias for part in parts]))


def _sample_blur(measured: ShellScanner) -> tuple[float, float]:
    """Standard deviations (mm) of the blur of a scanner in the plane of its slices and on top
    across them: the average over the voxel, and the point spread."""
    variances = [
        size**2 / 12 + (width / FWHM_PER_SIGMA) ** 2
        for size, width in zip(measured.protocol.voxel, measured.scanner.psf, strict=True)
    ]
    plane = (variances[0] + variances[1]) / 2
    return float(np.sqrt(plane)), float(np.sqrt(max(variances[2] - plane, 0.0)))
