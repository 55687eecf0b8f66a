"""What is scanned in the tests: a phantom of shells, and the template head."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

if TYPE_CHECKING:
    from bids_ihf.lab.simulation.anatomy import Anatomy
    from bids_ihf.lab.simulation.template_head import TemplateHead

SIDE = 40


@pytest.fixture(scope="session")
def phantom() -> Anatomy:
    """White, grey and CSF shells in air, 4 mm voxels, with sharp borders."""
    import torch

    from bids_ihf.lab.simulation import smooth_fields
    from bids_ihf.lab.simulation.anatomy import Anatomy
    from bids_ihf.lab.simulation.tissues import SIMULATED_TISSUES, TISSUE_INDEX

    axis = (np.arange(SIDE) - (SIDE - 1) / 2) * 4.0
    x, y, z = np.meshgrid(axis, axis, axis, indexing="ij")
    radius = np.sqrt(x**2 + y**2 + z**2)
    names = np.select(
        [radius < 32, radius < 44, radius < 58], ["white", "grey", "csf"], default="air"
    )
    fractions = np.zeros((len(SIMULATED_TISSUES), SIDE, SIDE, SIDE), dtype=np.float32)
    for name in ("white", "grey", "csf", "air"):
        fractions[TISSUE_INDEX[name]] = names == name
    affine = np.diag([4.0, 4.0, 4.0, 1.0])
    texture = smooth_fields.random_texture((SIDE, SIDE, SIDE), np.full(3, 4.0), 0)
    return Anatomy(torch.from_numpy(fractions), texture, affine, torch.from_numpy(radius < 44))


@pytest.fixture(scope="package")
def head() -> TemplateHead:
    """The template head, drawn once for all tests of the demo."""
    from bids_ihf.lab.simulation.template_head import draw_template_head

    return draw_template_head()
