"""Heads of random contrast."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
import torch

from bids_ihf.lab.simulation.reference_segmentation import filled_brain_mask
from bids_ihf.lab.simulation.synthetic_contrast import MixtureMap, generate, load_mixture_map

BOX_SIDE = 32


@pytest.fixture(scope="module")
def head(tmp_path_factory: pytest.TempPathFactory) -> MixtureMap:
    """Nested balls with FreeSurfer values: ventricle, white, grey, CSF, bone, skin."""
    size = 72
    steps = np.arange(size) - (size - 1) / 2
    radius = np.sqrt(sum(axis**2 for axis in np.meshgrid(steps, steps, steps, indexing="ij")))
    shells = [radius < r for r in (5, 15, 20, 22, 25, 30)]
    labels = np.select(shells, [4, 2, 3, 24, 515, 511], 0).astype(np.int16)
    path = tmp_path_factory.mktemp("synthetic") / "ball_dseg.nii.gz"
    nib.save(nib.Nifti1Image(labels, np.eye(4)), path)
    return load_mixture_map(path, seed=0)


def test_the_brain_is_what_lies_inside_the_bone(head: MixtureMap) -> None:
    volume = float(head.fractions[2].sum())
    brain, csf = 4 / 3 * np.pi * 20**3, 4 / 3 * np.pi * 22**3
    assert brain < volume < csf * 1.01
    assert (head.fractions[0] + head.fractions[1] <= head.fractions[2] + 1e-6).all()


def test_sulci_are_inside_and_bone_is_not() -> None:
    brain = np.zeros((40, 40, 40), dtype=bool)
    brain[8:32, 8:32, 8:32] = True
    brain[18:21, 8:20, 8:32] = False  # a sulcus 3 mm wide
    bone = np.zeros_like(brain)
    bone[33:] = True
    filled = filled_brain_mask(brain, bone)
    assert filled[19, 12, 20]
    assert not filled[33:].any()
    assert filled[20, 20, 32]  # a rim of CSF
    assert not filled[20, 20, 35]


def test_an_image_and_its_truth(head: MixtureMap) -> None:
    brain_fractions = []
    for seed in range(12):
        sample = generate(head, BOX_SIDE, [seed])
        assert sample.image.shape == (BOX_SIDE,) * 3
        assert sample.fractions.shape == (4, *(BOX_SIDE,) * 3)
        assert 0 <= sample.image.min()
        assert sample.image.max() <= 1
        assert torch.isfinite(sample.image).all()
        torch.testing.assert_close(sample.fractions.sum(dim=0), torch.ones((BOX_SIDE,) * 3))
        brain_fractions.append(1 - float(sample.fractions[0].mean()))
    assert max(brain_fractions) > 0.05  # most show the ball, all of them another part of it
    assert len(set(brain_fractions)) == len(brain_fractions)


def test_a_seed_gives_the_same_bytes(head: MixtureMap) -> None:
    first, again, other = (generate(head, BOX_SIDE, [seed]) for seed in (1, 1, 2))
    assert torch.equal(first.image, again.image)
    assert torch.equal(first.fractions, again.fractions)
    assert not torch.equal(first.image, other.image)
