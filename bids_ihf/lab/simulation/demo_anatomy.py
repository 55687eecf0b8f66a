"""Anatomies of the demo: the template head, deformed at random."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from bids_ihf.lab.simulation import smooth_fields, subject_warp
from bids_ihf.lab.simulation.anatomy import Anatomy, standardized_texture
from bids_ihf.lab.simulation.template_head import HEAD_SHAPE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bids_ihf.lab.simulation.template_head import TemplateHead


def demo_anatomy(
    head: TemplateHead,
    seed: int,
    *,
    pose: NDArray[np.float64] | None = None,
    shape: tuple[int, int, int] = HEAD_SHAPE,
    affine: NDArray[np.float64] | None = None,
) -> Anatomy:
    """Deform the template head to a subject; two seeds are two subjects.

    Parameters
    ----------
    head
        The template head, drawn once for all subjects.
    seed
        Draws the deformation and the texture.
    pose
        Rigid (4, 4) map from the world of the subject to that of the scanner, RAS mm; identity
        if None.
    shape, affine
        Grid of the anatomy, by default that of the template head at 1 mm.  The head is sampled
        once, so a pose or another grid costs no second interpolation.
    """
    grid_affine = head.affine if affine is None else affine
    to_subject = np.linalg.inv(np.eye(4) if pose is None else pose)
    warp = subject_warp.random_subject_warp(seed)

    def to_template(points: NDArray[np.float64]) -> NDArray[np.float64]:
        return warp(points @ to_subject[:3, :3].T + to_subject[:3, 3])

    with torch.no_grad():
        points = subject_warp.warp_lattice(shape, grid_affine, to_template)
        maps = torch.from_numpy(head.maps)
        fractions = subject_warp.sample_lattice(maps, head.affine, points, shape)
        texture = smooth_fields.random_texture(HEAD_SHAPE, np.ones(3), seed)
        texture = subject_warp.sample_lattice(texture[None], head.affine, points, shape)[0]
        brain = fractions[0] > 0.5  # the template head has its brain mask in the place of air
        fractions[0] = (1 - fractions[1:].sum(dim=0)).clamp_(min=0)
    return Anatomy(fractions, standardized_texture(texture, brain), grid_affine.copy(), brain)
