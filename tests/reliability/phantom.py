"""Scans as small as they can be: three tissues of a few centimetres, harmonized in a second."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import nibabel
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

SHAPE = (10, 10, 6)
ZOOM = 4.0
"""mm"""
RADII = (17.0, 17.0, 9.0)
"""Half-axes of the head, mm."""
LEVELS = {"T1w": (1000, 700, 250), "T2w": (500, 700, 1400), "dwi": (600, 700, 1600)}
"""White matter, grey matter and CSF, from the middle outwards."""
BVALS = (0, 0, *6 * (1000,))
DIRECTIONS = np.array([[1, 1, 0], [1, -1, 0], [1, 0, 1], [1, 0, -1], [0, 1, 1], [0, 1, -1]])


def affine_of(zoom: float = ZOOM, shape: tuple[int, ...] = SHAPE) -> NDArray[np.float64]:
    """Voxels to RAS mm, the middle of the image at the origin."""
    affine = np.diag([zoom, zoom, zoom, 1.0])
    affine[:3, 3] = -zoom * (np.array(shape[:3]) - 1) / 2
    return affine


def head(
    suffix: str = "T1w",
    *,
    seed: int = 0,
    affine: NDArray[np.float64] | None = None,
    shape: tuple[int, ...] = SHAPE,
) -> NDArray[np.int16]:
    """Voxels (X, Y, Z) of the head on a grid; those of a series (X, Y, Z, N)."""
    affine = affine_of() if affine is None else affine
    voxels = np.moveaxis(np.indices(shape[:3]), 0, -1)
    world = voxels @ affine[:3, :3].T + affine[:3, 3]
    radius = np.sqrt(((world / RADII) ** 2).sum(axis=-1))
    layers = np.digitize(radius, [0.5, 0.8, 1.0])
    values = np.array([*LEVELS[suffix], 0])[layers].astype(np.float64)
    if suffix == "dwi":
        decay = np.array([0.7, 0.8, 3.0, 0.0])[layers] * 1e-3
        values = values[..., None] * np.exp(-decay[..., None] * np.array(BVALS))
    noise = np.random.default_rng(seed).normal(0, 15, values.shape)
    inside = (layers < 3).reshape(*layers.shape, *(1,) * (values.ndim - 3))
    return np.where(inside, np.clip(values + noise, 1, None), 0).astype(np.int16)


def image(suffix: str = "T1w", seed: int = 0) -> nibabel.Nifti1Image:
    """The head as an image, mm."""
    found = nibabel.Nifti1Image(head(suffix, seed=seed), affine_of())
    found.header.set_xyzt_units("mm", "sec")
    return found


def scan_path(root: Path, subject: str, session: str | None, suffix: str = "T1w") -> Path:
    """Where a scan of a dataset lies."""
    labels = [f"sub-{subject}", *([f"ses-{session}"] if session else [])]
    folder = root.joinpath(*labels, "dwi" if suffix == "dwi" else "anat")
    return folder / f"{'_'.join(labels)}_{suffix}.nii.gz"


def write_scan(path: Path, suffix: str = "T1w", *, seed: int = 0, maker: str = "GE") -> None:
    """A scan with its sidecar and, of a series, its b-table."""
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(image(suffix, seed), path)
    stem = path.name.split(".")[0]
    path.with_name(f"{stem}.json").write_text(json.dumps({"Manufacturer": maker}))
    if suffix == "dwi":
        unit = np.vstack([np.zeros((2, 3)), DIRECTIONS / np.sqrt(2)]).T
        rows = [" ".join(f"{value:.6f}" for value in row) for row in unit]
        path.with_name(f"{stem}.bvec").write_text("\n".join(rows) + "\n")
        path.with_name(f"{stem}.bval").write_text(" ".join(map(str, BVALS)) + "\n")


def write_root(root: Path) -> Path:
    """A dataset without participants."""
    root.mkdir(parents=True)
    about: dict[str, Any] = {"Name": "phantom", "BIDSVersion": "1.10.0", "DatasetType": "raw"}
    (root / "dataset_description.json").write_text(json.dumps(about))
    (root / "README").write_text("A dataset of phantoms, for tests of what can go wrong.\n")
    return root


def write_dataset(
    root: Path,
    subjects: Sequence[str] = ("01",),
    sessions: Sequence[str | None] = (None,),
    suffixes: Sequence[str] = ("T1w",),
) -> Path:
    """A dataset with a scan of each kind for each participant and session."""
    write_root(root)
    for number, subject in enumerate(subjects):
        for place, session in enumerate(sessions):
            for suffix in suffixes:
                seed = 1000 * number + place
                write_scan(scan_path(root, subject, session, suffix), suffix, seed=seed)
    return root
