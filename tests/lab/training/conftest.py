"""Tiny subjects, packed once."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from bids_ihf.preprocessing.alignment import Alignment

CONFIG = """
name = "tiny"
output = "run"
seed = 3
threads = 1

[data]
source = "labels"
people = ["person-0", "person-1"]
validation = ["person-2"]

[encoder]
width = 2
steps = 3
batch = 2

[network]
hidden = [4, 4]
style = 4
steps = 4
batch = 2
save_every = 2
validate_every = 2
"""


def label_map(seed: int) -> nib.Nifti1Image:
    """Nested ellipsoids with FreeSurfer values: ventricle, white, grey, CSF, skin."""
    rng = np.random.default_rng(seed)
    size = np.array([44, 48, 36])
    half = size / 2 * rng.uniform(0.95, 1.05, 3)
    grid = np.stack(np.meshgrid(*[np.arange(n) - n / 2 for n in size], indexing="ij"))
    radius = np.sqrt(((grid / half[:, None, None, None]) ** 2).sum(axis=0))
    radius += 0.03 * np.sin(grid[0] / 3) * np.cos(grid[1] / 4)
    shells = [radius < 0.15, radius < 0.5, radius < 0.65, radius < 0.72, radius < 0.85]
    labels = np.select(shells, [4, 2, 3, 24, 0], 0).astype(np.int16)
    affine = np.diag([2.0, 2.0, 2.0, 1.0])
    affine[:3, 3] = -size
    return nib.Nifti1Image(labels, affine)


@pytest.fixture(scope="session")
def labels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("training") / "labels"
    folder.mkdir()
    for number in range(3):
        nib.save(label_map(number), folder / f"person-{number}_dseg.nii.gz")
    return folder


@pytest.fixture(scope="session")
def config_path(labels: Path) -> Path:
    path = labels.parent / "config.toml"
    path.write_text(CONFIG)
    return path


@pytest.fixture(autouse=True, scope="session")
def no_registration() -> object:
    """Label maps of the tests lie straight; aligning them would only take time."""
    patch = pytest.MonkeyPatch()
    straight = Alignment(np.eye(4), 1.0, 1.0)
    patch.setattr("bids_ihf.preprocessing.alignment.align_to_template", lambda _: straight)
    # A chunk is many steps of the tests.
    patch.setattr("bids_ihf.lab.training.subject_sampling.SLABS_PER_CHUNK", 1)
    patch.setattr("bids_ihf.lab.training.encoder_sampling.SLABS_PER_CHUNK", 1)
    patch.setattr("bids_ihf.lab.training.validation.SLABS_PER_MODALITY", 1)
    yield
    patch.undo()
