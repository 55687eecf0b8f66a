"""Heads painted in random contrasts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import nibabel as nib
import numpy as np
import pytest
import torch

from bids_ihf.lab.simulation.reference_segmentation import filled_brain_mask
from bids_ihf.lab.simulation.synthetic_contrast import MixtureMap, generate, load_mixture_map

if TYPE_CHECKING:
    pass

SIDE = 32


@pytest.fixture(scope="module")
def head(tmp_path_factory: pytest.TempPathFactory) -> MixtureMap:
    """Nested balls with FreeSurfer values: ventricle, white, grey, CSF, bone, skin."""
    size = 72
    steps = np.arange(size) - (size - 1) / 2
    radius = np.sqrt(sum(axis**2 for axis in np.meshgrid(steps, steps, steps, indexing="ij")))
    shells = [radius < r for r in (5, 15, 20, 22, 25, 30)]
    labels = np.select(shells, [4, 2, 3, 24, 515, 511], 0).astype(np.int16)
    path = tmp_path_factory.mktemp("painted") / "ball_dseg.nii.gz"
    nib.save(nib.Nifti1Image(labels, np.eye(4)), path)
    return load_mixture_map(path, seed=0)


def test_the_brain_is_what_lies_inside_the_bone(head: MixtureMap) -> None:
    volume = float(head.shares[2].sum())
    brain, csf = 4 / 3 * np.pi * 20**3, 4 / 3 * np.pi * 22**3
    assert brain < volume < csf * 1.01
    assert (head.shares[0] + head.shares[1] <= head.shares[2] + 1e-6).all()


def test_folds_are_inside_and_bone_is_not() -> None:
    brain = np.zeros((40, 40, 40), dtype=bool)
    brain[8:32, 8:32, 8:32] = True
    brain[18:21, 8:20, 8:32] = False  # a fold 3 mm wide
    hard = np.zeros_like(brain)
    hard[33:] = True
    region = filled_brain_mask(brain, hard)
    assert region[19, 12, 20]
    assert not region[33:].any()
    assert region[20, 20, 32]  # a rim of fluid
    assert not region[20, 20, 35]


def test_an_image_and_its_truth(head: MixtureMap) -> None:
    seen = []
    for seed in range(12):
        found = generate(head, SIDE, [seed])
        assert found.image.shape == (SIDE, SIDE, SIDE)
        assert found.truth.shape == (4, SIDE, SIDE, SIDE)
        assert 0 <= found.image.min()
        assert found.image.max() <= 1
        assert torch.isfinite(found.image).all()
        torch.testing.assert_close(found.truth.sum(dim=0), torch.ones(SIDE, SIDE, SIDE))
        seen.append(1 - float(found.truth[0].mean()))
    assert max(seen) > 0.05  # most show the ball, all of them another part of it
    assert len(set(seen)) == len(seen)


def test_a_seed_gives_the_same_bytes(head: MixtureMap) -> None:
    first, again, other = (generate(head, SIDE, [seed]) for seed in (1, 1, 2))
    assert torch.equal(first.image, again.image)
    assert torch.equal(first.truth, again.truth)
    assert not torch.equal(first.image, other.image)
