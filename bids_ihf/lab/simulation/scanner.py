"""A scanner with the protocol and the circumstances of one scan."""

from __future__ import annotations

import math

from attrs import field, frozen

from bids_ihf.lab.simulation.file_history import FileHistory
from bids_ihf.lab.simulation.protocol import Protocol


@frozen
class Scanner:
    """A scanner with the protocol and the circumstances of one scan.

    protocol: the pulse sequence.
    field_seed: draws the shapes of the smooth fields (position of the head in the coil).
    receive_bias: standard deviation of the logarithm of the random part of the coil sensitivity.
    receive_edge: increase of that logarithm from the centre of the brain to 90 mm from it.
    transmit_bias: relative transmit field at the centre minus that 90 mm from it.
    psf: full width at half maximum in mm of the Gaussian blur along each array axis.
    pixel: acquired pixel along each array axis, mm; what is stored is interpolated from it by
        zero-filling of k-space.  Not above the voxel size of the anatomy: all is acquired.
    phase_axis: array axis of the phase encoding.
    elliptical: whether the corners of k-space across the read-out are not acquired; the read-out
        is along the axis that is neither ``phase_axis`` nor ``slice_axis``.
    partial_fourier: acquired fraction of k-space along ``phase_axis``, above 0.5, with the rest
        zero.
    apodisation: 0 (none) to 1 (a Hann window over the acquired part of k-space).
    noise: standard deviation in each of the two channels, relative to white matter.
    g_factor: relative increase of the noise at the centre of the brain.
    acceleration: of parallel imaging along each array axis; its aliases amplify the noise.
    thickness: of the slices across ``slice_axis`` in mm; 0 is that of the grid of the anatomy.
    spacing: of the slices, from centre to centre, mm: larger than the thickness with a gap,
        smaller with an overlap; 0 is the thickness.
    slice_axis: array axis across the slices.
    distortion: residual of the correction of gradient nonlinearity, mm at 90 mm from the centre.
    texture_gain: factor of the texture of the subject.
    fat: fraction of the signal of fat that water excitation or fat suppression leaves, 0 to 1.
    gamma: exponent of the post-processing, with white matter fixed.
    sharpening: fraction of an unsharp mask that the post-processing adds.
    ceiling: signal, relative to white matter, at which the stored image saturates.
    units: the stored value of white matter where no field changes it.
    rounding: store integers.
    history: what was done to the file after the scanner had stored it.
    """

    protocol: Protocol
    field_seed: int = 0
    receive_bias: float = 0.10
    receive_edge: float = 0.15
    transmit_bias: float = 0.20
    psf: tuple[float, float, float] = (0.8, 0.8, 0.8)
    pixel: tuple[float, float, float] = (0.0, 0.0, 0.0)
    phase_axis: int = 1
    elliptical: bool = False
    partial_fourier: float = 1.0
    apodisation: float = 0.3
    noise: float = 0.03
    g_factor: float = 0.4
    acceleration: tuple[float, float, float] = (1.0, 1.0, 1.0)
    thickness: float = 0.0
    spacing: float = 0.0
    slice_axis: int = 2
    distortion: float = 0.0
    texture_gain: float = 1.0
    fat: float = 1.0
    gamma: float = 1.0
    sharpening: float = 0.0
    ceiling: float = math.inf
    units: float = 500.0
    rounding: bool = True
    history: FileHistory = field(factory=FileHistory)

    @property
    def slice_spacing(self) -> float:
        """Distance of the slices, mm; 0 is that of the grid of the anatomy."""
        return self.spacing or self.thickness

    @property
    def read_axis(self) -> int:
        """Array axis of the read-out."""
        return next(axis for axis in (0, 1, 2) if axis not in (self.phase_axis, self.slice_axis))
