"""Scans of a whole brain, and their profiles as the product measures them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bids_ihf.geometry.grid import Grid
from bids_ihf.lab.training.slab_scans import Slab, network_slices, scan_on_grid
from bids_ihf.targets.intensity import robust_scale
from bids_ihf.targets.network_input import NetworkInput, measure_profile

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bids_ihf.lab.simulation.scanner import Scanner
    from bids_ihf.lab.training.template_subjects import TemplateSubject
    from bids_ihf.network.encoder import Encoder
    from bids_ihf.targets.profile import Profile


def whole_scan(
    subject: TemplateSubject,
    scanner: Scanner,
    seed: int,
    shifts: tuple[float, float, float] | None = None,
) -> NetworkInput:
    """A scan of the whole brain; ``shifts`` are those of a `Slab`, by default drawn.

    Raises
    ------
    ValueError
        The brain has one intensity.
    """
    if shifts is None:
        x, y, z = np.random.default_rng([seed, 8]).uniform(0, 1, 3).tolist()
        shifts = x, y, z
    count, modality = len(subject.mask), scanner.protocol.modality
    image, _ = scan_on_grid(subject, Slab(0, count, shifts), scanner, seed)
    data = np.ascontiguousarray(image.numpy())
    mask = np.ascontiguousarray(np.moveaxis(subject.brain_mask(0, count), 0, 2))
    tissues = np.moveaxis(subject.tissues(0, count), 1, 3) if modality == "FLAIR" else None
    scale, grid = robust_scale(data, mask > 0.5), Grid(data.shape, subject.affine)
    return NetworkInput(data, mask, grid, scale, tissues, modality)


def measure_scan(
    subject: TemplateSubject,
    scanner: Scanner,
    seed: int,
    shifts: tuple[float, float, float],
    encoder: Encoder,
) -> tuple[NetworkInput, Profile]:
    """A scan of the whole brain and its profile; takes about 2 s.

    The encoder tells its tissues, as in the product: it takes flat grey matter for darker than it
    is, by up to 0.4 network units, and a curve between two such profiles has another error than
    one between true fractions of tissue.

    Raises
    ------
    ValueError
        The brain has one intensity.
    """
    scan = whole_scan(subject, scanner, seed, shifts)
    return scan, measure_profile(scan, encoder)


def slab_of(scan: NetworkInput, slab: Slab) -> NDArray[np.float32]:
    """The slices of a slab of a whole scan and one beyond on both sides (Z + 2, X, Y), in network
    units."""
    return network_slices(scan.data[:, :, slab.first - 1 : slab.stop + 1], scan.scale)
