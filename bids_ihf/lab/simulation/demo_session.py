"""One visit of a demo subject to a vendor's scanner: position, anatomy, images and their truth."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from attrs import evolve, frozen
from scipy.spatial.transform import Rotation

from bids_ihf.lab.simulation.acquisition import scan
from bids_ihf.lab.simulation.demo_anatomy import demo_anatomy
from bids_ihf.lab.simulation.demo_series import demo_series
from bids_ihf.lab.simulation.metadata import anatomical_sidecar
from bids_ihf.lab.simulation.populations import typical_protocol
from bids_ihf.lab.simulation.storage_axes import to_storage_axes
from bids_ihf.lab.simulation.vendor_scanners import typical_scanner

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bids_ihf.bids.names import Modality
    from bids_ihf.lab.simulation.anatomy import Anatomy
    from bids_ihf.lab.simulation.demo_series import DemoSeries, DiffusionScheme
    from bids_ihf.lab.simulation.metadata import Sidecar
    from bids_ihf.lab.simulation.template_head import TemplateHead

POSE_SD_MM, POSE_SD_DEGREES = 3.0, 3.0
"""Standard deviations of the position of the head in a scanner, along and about each axis."""

MOVEMENT_SD_MM, MOVEMENT_SD_DEGREES = 0.8, 0.6
"""Standard deviations of the movement between two scans of a session."""


@frozen
class VolumeGeometry:
    """How a vendor acquires and stores an anatomical volume.

    field_of_view: mm along right, anterior, superior.
    storage_axes: axis codes of the stored array.
    t2w_slice_voxels: voxels from right to left that make one slice of a T2w image.
    """

    field_of_view: tuple[int, int, int]
    storage_axes: str
    t2w_slice_voxels: int = 1

    def slice_voxels(self, modality: Modality) -> int:
        """Voxels from right to left that make one slice."""
        return self.t2w_slice_voxels if modality == "T2w" else 1


VENDOR_GEOMETRIES: dict[str, VolumeGeometry] = {
    "Siemens": VolumeGeometry((192, 240, 224), "PSR"),
    "GE": VolumeGeometry((192, 240, 216), "LPS"),
    "Philips": VolumeGeometry((184, 240, 224), "AIR", t2w_slice_voxels=2),
}


@frozen(eq=False)
class DemoImage:
    """One simulated scan as it is stored: int16 voxels, voxel-to-world affine, JSON sidecar."""

    data: NDArray[np.int16]
    affine: NDArray[np.float64]
    metadata: Sidecar


@frozen(eq=False)
class ScanTruth:
    """The truth of one simulated scan.

    anatomy: on the grid of the scan, axes in RAS order, before storage.
    brain: (X, Y, Z) bool on the stored array.
    pose: (4, 4) world of the subject to that of the scan, RAS mm; a subject has one world, so
        ``pose_b @ inv(pose_a)`` maps scan a to scan b.
    """

    anatomy: Anatomy
    brain: NDArray[np.bool_]
    pose: NDArray[np.float64]


@frozen
class DemoSession:
    """One visit of a subject to a vendor's scanner.

    subject: 1, 2, ...; vendor: "Siemens", "GE" or "Philips"; seed: of the dataset.
    zoom: voxel size, mm.
    """

    subject: int
    vendor: str
    seed: int = 0
    zoom: float = 1.0

    @property
    def subject_seed(self) -> int:
        """Draws the subject; the same in all sessions."""
        return int(np.random.default_rng([self.seed, self.subject, 1]).integers(2**31))

    @property
    def scan_seed(self) -> int:
        """Draws the circumstances of the scans, and their noise."""
        return int(np.random.default_rng([self.seed, self.subject]).integers(2**31))

    @property
    def pose(self) -> NDArray[np.float64]:
        """Position of the head in the scanner: (4, 4), world of the subject to the scanner's."""
        rng = np.random.default_rng([self.seed, self.subject, 2, *self.vendor.encode()])
        return random_rigid(rng, POSE_SD_MM, POSE_SD_DEGREES)

    def anatomy(self, head: TemplateHead) -> Anatomy:
        """The subject as positioned in the scanner, on its grid, axes in RAS order."""
        field_of_view = VENDOR_GEOMETRIES[self.vendor].field_of_view
        x, y, z = (round(length / self.zoom / 8) * 8 for length in field_of_view)
        centre = head.affine[:3, 3] + (np.asarray(head.maps.shape[1:]) - 1) / 2
        affine = np.diag([self.zoom, self.zoom, self.zoom, 1.0])
        affine[:3, 3] = centre - self.zoom * (np.asarray((x, y, z)) - 1) / 2
        return demo_anatomy(
            head, self.subject_seed, pose=self.pose, shape=(x, y, z), affine=affine
        )

    def scan(self, modality: Modality, anatomy: Anatomy) -> tuple[DemoImage, ScanTruth]:
        """Simulate an anatomical image; ``anatomy`` is that of the session."""
        geometry = VENDOR_GEOMETRIES[self.vendor]
        slice_voxels = geometry.slice_voxels(modality)
        movement = np.eye(4)
        if modality != "T1w":
            # Shifting the whole grid is the same as moving the head, without interpolation.
            contrast = () if modality == "T2w" else modality.encode()
            rng = np.random.default_rng(
                [self.seed, self.subject, *self.vendor.encode(), *contrast]
            )
            movement = random_rigid(rng, MOVEMENT_SD_MM, MOVEMENT_SD_DEGREES)
        anatomy = anatomy.averaged((slice_voxels, 1, 1))
        anatomy = evolve(anatomy, affine=movement @ anatomy.affine)
        scanner = typical_scanner(self.vendor, modality, self.scan_seed)
        data = scan(anatomy, scanner, self.scan_seed)
        stored, affine = to_storage_axes(data, anatomy.affine, geometry.storage_axes)
        brain, _ = to_storage_axes(anatomy.brain.numpy(), anatomy.affine, geometry.storage_axes)
        voxels = np.clip(stored, 0, np.iinfo(np.int16).max).astype(np.int16)
        metadata = anatomical_sidecar(
            typical_protocol(self.vendor, modality), slice_thickness=self.zoom * slice_voxels
        )
        truth = ScanTruth(anatomy, brain, movement @ self.pose)
        return DemoImage(voxels, affine, metadata), truth

    def series(self, anatomy: Anatomy, scheme: DiffusionScheme | None = None) -> DemoSeries:
        """Simulate the diffusion series; ``anatomy`` is that of the session."""
        rng = np.random.default_rng([self.seed, self.subject, 3, *self.vendor.encode()])
        return demo_series(
            self.vendor,
            anatomy,
            subject_seed=self.subject_seed,
            scan_seed=self.scan_seed,
            pose=self.pose,
            movement=random_rigid(rng, MOVEMENT_SD_MM, MOVEMENT_SD_DEGREES),
            scheme=scheme,
        )


def random_rigid(rng: np.random.Generator, sd_mm: float, sd_degrees: float) -> NDArray[np.float64]:
    """Draw a rigid (4, 4) transform; each parameter is limited to two standard deviations."""
    transform = np.eye(4)
    angles = np.clip(rng.normal(0, sd_degrees, 3), -2 * sd_degrees, 2 * sd_degrees)
    transform[:3, :3] = Rotation.from_euler("xyz", angles, degrees=True).as_matrix()
    transform[:3, 3] = np.clip(rng.normal(0, sd_mm, 3), -2 * sd_mm, 2 * sd_mm)
    return transform
