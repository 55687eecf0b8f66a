"""Scans of a slab of a brain, in network units as the product would see them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import numpy as np
import torch
from attrs import frozen

from bids_ihf.lab.simulation.acquisition import scan
from bids_ihf.lab.training.batch_sampling import usable_slices
from bids_ihf.lab.training.scan_statistics import NO_BLUR, interpolated, scan_statistics
from bids_ihf.lab.training.template_subjects import SLAB_MARGIN_SLICES
from bids_ihf.targets.network_input import clip_to_network_range

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bids_ihf.lab.simulation.scanner import Scanner
    from bids_ihf.lab.training.scan_statistics import ScanStatistics
    from bids_ihf.lab.training.template_subjects import TemplateSubject
    from bids_ihf.targets.intensity import IntensityScale

SLAB_SLICES = 12
"""Slices of a slab that are used."""


@frozen
class Slab:
    """Slices of a subject from ``first`` until ``stop``, and where between the scanner's voxels
    those of the network's grid lie, 0 to 1 along each axis."""

    first: int
    stop: int
    shifts: tuple[float, float, float]


def random_slab(subject: TemplateSubject, rng: np.random.Generator) -> Slab:
    """A slab of `SLAB_SLICES` anywhere in the brain."""
    usable = usable_slices(subject.mask)
    low, high = int(usable[0]), max(int(usable[-1]) + 1 - SLAB_SLICES, int(usable[0]))
    first = int(rng.integers(low, high + 1))
    x, y, z = (float(shift) for shift in rng.uniform(0, 1, 3))
    return Slab(first, min(first + SLAB_SLICES, int(usable[-1]) + 1), (x, y, z))


def scan_on_grid(
    subject: TemplateSubject, slab: Slab, scanner: Scanner, seed: int
) -> tuple[torch.Tensor, ScanStatistics]:
    """Scan a slab (X, Y, Z) in calibrated units, corrected for bias and interpolated.

    Also returns the statistics of the whole scan.  ``seed`` draws the noise and what bias
    correction leaves.  The subject's grid has to reach `SLAB_MARGIN_SLICES` beyond the slab, or
    the slab is the whole grid.
    """
    statistics = scan_statistics(subject.sample, scanner, slab.shifts, seed)
    # Without distortion and shifts, so that the scans of a pair overlie; a file's own bias
    # correction would need the whole brain.
    history = attrs.evolve(scanner.history, bias_correction=0.0, resampling=NO_BLUR)
    straight = attrs.evolve(scanner, distortion=0.0, history=history)
    first = max(slab.first - SLAB_MARGIN_SLICES, 0)
    anatomy = subject.slab(first, min(slab.stop + SLAB_MARGIN_SLICES, len(subject.mask)))
    image = torch.from_numpy(scan(anatomy, straight, seed))
    image *= statistics.correction.factor(anatomy)
    image = interpolated(interpolated(image, scanner.history.resampling), slab.shifts)
    return image[:, :, slab.first - first : slab.stop - first], statistics


def scan_slab(
    subject: TemplateSubject, slab: Slab, scanner: Scanner, seed: int
) -> tuple[NDArray[np.float32], ScanStatistics]:
    """Scan a slab: its slices and one beyond on both sides (Z + 2, X, Y), in network units."""
    wider = attrs.evolve(slab, first=slab.first - 1, stop=slab.stop + 1)
    image, statistics = scan_on_grid(subject, wider, scanner, seed)
    return network_slices(image.numpy(), statistics.scale), statistics


def network_slices(image: NDArray[np.float32], scale: IntensityScale) -> NDArray[np.float32]:
    """The slices (Z, X, Y), in network units, of an image (X, Y, Z)."""
    data = scale.normalize(np.moveaxis(image, 2, 0))
    return np.ascontiguousarray(clip_to_network_range(data))
