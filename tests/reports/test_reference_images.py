"""What figures show beside an image."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from bids_ihf.geometry.grid import Grid, resample
from bids_ihf.geometry.template import load_template
from bids_ihf.reports.reference_images import target_contrast, template_on_image
from tests.preprocessing.conftest import pose

SHAPE = (60, 70, 40)


def prepared(shift: float) -> Any:
    """A scan of 3 mm that shows a part of the head, tilted against the template."""
    affine = np.diag([-3.0, 3, 4, 1])
    affine[:3, 3] = (90 + shift, -126, -40)
    return SimpleNamespace(grid=Grid(SHAPE, affine), to_template=pose((7, -5, 20), (4, -6, 9)))


def target() -> Any:
    levels = SimpleNamespace(restore=lambda values: 100 * (values + 1))
    return SimpleNamespace(landmarks=np.array([0.1, 0.5, -0.6]), scale=levels)


def test_only_the_brain_is_interpolated_and_nothing_is_lost() -> None:
    template = load_template()
    scan = prepared(0)
    levels = template.mask.astype(np.float32) + template.tissues[1]
    painted = np.tensordot(np.array([110.0, 150, 40], np.float32), template.tissues, axes=1)
    for found, picture in (
        (template_on_image(scan), levels),
        (target_contrast(scan, target()), painted),
    ):
        whole = resample(picture, template.grid, scan.grid, target_to_source=scan.to_template)
        assert found is not None
        assert (whole > 0).mean() > 0.1
        assert np.allclose(found, whole, atol=1e-4 * whole.max())


def test_a_scan_beside_the_template_shows_none() -> None:
    assert not template_on_image(prepared(1000)).any()


@pytest.mark.parametrize("unknown", [0, 2])
def test_unknown_tissue_is_not_painted(unknown: int) -> None:
    goal = target()
    goal.landmarks[unknown] = np.nan
    assert target_contrast(prepared(0), goal) is None
