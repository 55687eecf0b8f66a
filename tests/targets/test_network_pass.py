"""The part of the slices that the network gets."""

from __future__ import annotations

from typing import Any

import attrs
import numpy as np
import pytest

from bids_ihf.geometry.grid import Grid, shifted_affine
from bids_ihf.geometry.template import load_template
from bids_ihf.network.checkpoint import load_model_cached
from bids_ihf.pipeline.process import single_threaded
from bids_ihf.targets import network_pass
from bids_ihf.targets.intensity import IntensityScale
from bids_ihf.targets.network_input import NetworkInput, brain_grid, measure_profile
from bids_ihf.targets.network_pass import harmonize_slices


@pytest.fixture(scope="module")
def top_of_the_brain() -> NetworkInput:
    """The template's brain as a scan, whose slices near the vertex are much smaller than it."""
    template = load_template()
    grid = brain_grid(template.mask, template.grid.affine)
    start = np.rint(grid.affine[:3, 3] - template.grid.affine[:3, 3]).astype(int)
    padded = [(max(0, -low), 20) for low in start]
    image, mask = (np.pad(a.astype(np.float32), padded) for a in (template.image, template.mask))
    box = tuple(
        slice(low + before, low + before + size)
        for low, (before, _), size in zip(start, padded, grid.shape, strict=True)
    )
    affine = shifted_affine(template.grid.affine, start)
    return NetworkInput(
        image[box], mask[box], Grid(grid.shape, affine), IntensityScale(0.0, 1.0), None, "T1w"
    )


def test_what_lies_beyond_the_window_hardly_counts(
    top_of_the_brain: NetworkInput, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The change of the brain stays within the stated 0.1 % of its range, which is 2."""
    scan, model = top_of_the_brain, load_model_cached("cpu")
    sizes: list[int] = []
    data = scan.scale.normalize(scan.data)
    slices = scan.brain_slices[-14:-6]

    def change(margin: int) -> np.ndarray:
        monkeypatch.setattr(network_pass, "WINDOW_MARGIN_VOXELS", margin)
        (batch,) = network_pass._batches(scan.mask, slices, model.network.multiple)
        sizes.append(int(np.prod([axis.stop - axis.start for axis in batch.box])))
        out = harmonize_slices(scan, data, (darker, profile), model, slices=slices)
        return (out - data)[scan.brain]

    with single_threaded():
        profile = measure_profile(scan, model.encoder)
        darker: Any = attrs.evolve(profile, embeddings=0.9 * profile.embeddings)
        own, whole = change(network_pass.WINDOW_MARGIN_VOXELS), change(1000)
    assert sizes[0] < 0.6 * sizes[1]
    assert np.abs(whole).max() > 0.1
    assert np.abs(own - whole).max() < 2e-3
