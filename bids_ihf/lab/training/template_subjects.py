"""Anatomies of packed subjects on the network's grid, from which any slab can be scanned.

The fractions of the tissues are resampled once, so that a simulated scan needs no interpolation of
its own; what the interpolation of the product would do to it is simulated (`slab_scans`).
"""

from __future__ import annotations

import hashlib
import json
from concurrent.futures import ProcessPoolExecutor
from itertools import repeat
from multiprocessing import get_context
from typing import TYPE_CHECKING

import attrs
import numpy as np
import torch
from attrs import frozen
from scipy import ndimage

from bids_ihf.geometry.grid import Grid, inverse_affine, resample, shifted_affine
from bids_ihf.io.atomic import write_atomic
from bids_ihf.lab.simulation import smooth_fields
from bids_ihf.lab.simulation.anatomy import Anatomy, standardized_texture
from bids_ihf.lab.simulation.label_anatomy import BORDER_SIGMA_MM
from bids_ihf.lab.simulation.label_mixtures import BRAIN_LABELS, mixture_table
from bids_ihf.lab.simulation.tissues import (
    MEASURED_TISSUES,
    SIMULATED_TISSUES,
    TISSUE_INDEX,
)
from bids_ihf.lab.simulation.white_matter_lesions import with_lesions
from bids_ihf.lab.training.brain_samples import BrainSample, sample_brain
from bids_ihf.lab.training.packed_people import read_people
from bids_ihf.lab.training.scan_pool import SLICE_SHAPE
from bids_ihf.targets.network_input import BRAIN_MARGIN_VOXELS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from bids_ihf.lab.training.packed_people import PackedSubject

CACHE_VERSION = 2
"""Changes with what the arrays of a subject hold, so that older ones are made anew."""

SLAB_MARGIN_SLICES = 6
"""Slices on both sides of a slab that are scanned and not used: as wide as the blur of thick
slices reaches."""

INTERPOLATION_VARIANCE_MM2 = 1 / 6
"""Mean variance of the kernel (1 - f, f) of linear interpolation over all shifts f, in voxels of
1 mm: the mean of f (1 - f)."""

ARRAY_NAMES = ("fractions", "texture", "brain", "mask")


@frozen(eq=False)
class TemplateSubject:
    """A subject on the network's grid; arrays are mapped from disk, slices first.

    fractions: (Z, K, X, Y) uint8, partial volumes by `tissues.SIMULATED_TISSUES`, of 255.
    texture: (Z, X, Y) float16, zero mean and unit variance in the brain.
    brain: (Z, X, Y) bool, brain tissue with ventricles and sulci.
    mask: (Z, X, Y) uint8, brain mask of 255 as the product would resample it.
    affine: (4, 4) voxel (x, y, z) to template space, RAS mm.
    centre: voxel (3,) (x, y, z) of the centre of the brain.
    sample: what the statistics of a scan are estimated from.
    """

    name: str
    seed: int
    fractions: NDArray[np.uint8]
    texture: NDArray[np.float16]
    brain: NDArray[np.bool_]
    mask: NDArray[np.uint8]
    affine: NDArray[np.float64]
    centre: NDArray[np.float64]
    sample: BrainSample

    @property
    def z(self) -> NDArray[np.float64]:
        """Axial template coordinate (Z,) of every slice, mm."""
        return np.asarray(self.affine[2, 3] + self.affine[2, 2] * np.arange(len(self.mask)))

    def tissues(self, first: int, stop: int) -> NDArray[np.float32]:
        """Fractions (3, Z, X, Y) of grey matter, white matter and CSF in slices."""
        fractions = self.fractions[first:stop].astype(np.float32) / np.float32(255)
        rows = [[TISSUE_INDEX[name] for name in group] for group in MEASURED_TISSUES]
        return np.stack([fractions[:, group].sum(axis=1) for group in rows])

    def brain_mask(self, first: int, stop: int) -> NDArray[np.float32]:
        """Brain mask (Z, X, Y), 0 to 1, of slices from ``first`` until ``stop``."""
        return self.mask[first:stop].astype(np.float32) / np.float32(255)

    def slab(self, first: int, stop: int) -> Anatomy:
        """The anatomy (X, Y, Z) of slices from ``first`` until ``stop``, centred as the whole."""
        fractions = torch.tensor(self.fractions[first:stop], dtype=torch.float32).div_(255)
        return Anatomy(
            fractions=fractions.permute(1, 2, 3, 0),
            texture=torch.tensor(self.texture[first:stop], dtype=torch.float32).permute(1, 2, 0),
            affine=shifted_affine(self.affine, (0, 0, first)),
            brain=torch.tensor(self.brain[first:stop]).permute(1, 2, 0),
            centre=self.centre - [0, 0, first],
        )


def template_subjects(
    path: Path, folder: Path, names: Sequence[str] = (), *, processes: int = 1
) -> list[TemplateSubject]:
    """The subjects of a packed file, in a folder of arrays that are made where they are missing.

    Takes about 20 s a subject the first time.
    """
    packed = read_people(path, tuple(names))
    folder.mkdir(parents=True, exist_ok=True)
    stale = [subject for subject in packed if not _is_cached(folder, subject)]
    if stale and processes > 1:
        with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as workers:
            list(workers.map(_write, repeat(folder), stale))
    else:
        for subject in stale:
            _write(folder, subject)
    return [_mapped(folder, subject) for subject in packed]


def template_grid(subject: PackedSubject) -> Grid:
    """The grid of 1 mm voxels on whole millimetres of template space around a subject's brain: in
    plane of `SLICE_SHAPE`, and so high that a slab has its margin everywhere."""
    affine = subject.to_template @ subject.affine
    points = np.argwhere(subject.brain) @ affine[:3, :3].T + affine[:3, 3]
    low, high = np.floor(points.min(axis=0)), np.ceil(points.max(axis=0))
    margin = SLAB_MARGIN_SLICES + BRAIN_MARGIN_VOXELS
    size = np.array([*SLICE_SHAPE, high[2] - low[2] + 1 + 2 * margin], dtype=int)
    grid_affine = np.eye(4)
    grid_affine[:3, 3] = np.floor((low + high - size) / 2 + 0.5)
    return Grid(tuple(size), grid_affine)


def to_template_anatomy(subject: PackedSubject) -> Anatomy:
    """The anatomy (X, Y, Z) of a subject on the network's grid.

    Borders between tissues are as soft as in `label_anatomy.from_labels`: linear interpolation
    blurs sharp labels, so the Gaussian after it is narrower by its variance.
    """
    native = Grid(subject.labels.shape, subject.affine)
    grid, to_native = template_grid(subject), inverse_affine(subject.to_template)
    table, index = mixture_table(subject.labels, native.zooms, subject.seed)
    sigma = np.sqrt(BORDER_SIGMA_MM**2 - INTERPOLATION_VARIANCE_MM2)
    fractions = np.zeros((len(SIMULATED_TISSUES), *grid.shape), dtype=np.float32)
    for number in range(1, len(SIMULATED_TISSUES)):
        if table[:, number].any():
            sharp = table[:, number][index]
            linear = resample(sharp, native, grid, target_to_source=to_native, order=1)
            ndimage.gaussian_filter(linear, sigma, output=fractions[number], truncate=2.5)
    fractions[TISSUE_INDEX["air"]] = 1 - fractions.sum(axis=0)
    inside = np.isin(subject.labels, BRAIN_LABELS).astype(np.float32)
    brain = torch.from_numpy(
        resample(inside, native, grid, target_to_source=to_native, order=1) > 0.5
    )
    texture = smooth_fields.random_texture(grid.shape, grid.zooms, subject.seed)
    anatomy = Anatomy(
        torch.from_numpy(np.clip(fractions, 0, 1, out=fractions)),
        standardized_texture(texture, brain),
        grid.affine,
        brain,
    )
    return with_lesions(anatomy, subject.seed)[0] if subject.lesions else anatomy


def _write(folder: Path, subject: PackedSubject) -> None:
    """Write the arrays of a subject; its record comes last and marks them complete."""
    anatomy = to_template_anatomy(subject)
    grid = template_grid(subject)
    mask = resample(
        subject.brain.astype(np.float32),
        Grid(subject.brain.shape, subject.affine),
        grid,
        target_to_source=inverse_affine(subject.to_template),
        order=1,
    )
    fractions = (anatomy.fractions.numpy() * 255).round().astype(np.uint8)
    fractions[0] = 255 - fractions[1:].sum(axis=0, dtype=np.int64).clip(0, 255)
    arrays = {
        "fractions": np.moveaxis(fractions, 3, 0),
        "texture": np.moveaxis(anatomy.texture.numpy(), 2, 0).astype(np.float16),
        "brain": np.moveaxis(anatomy.brain.numpy(), 2, 0),
        "mask": np.moveaxis((np.clip(mask, 0, 1) * 255).round().astype(np.uint8), 2, 0),
    }
    for name in ARRAY_NAMES:
        np.save(folder / f"{subject.name}_{name}.npy", np.ascontiguousarray(arrays[name]))
    sample = sample_brain(anatomy, mask, anatomy.brain_centre())
    np.savez(folder / f"{subject.name}_sample.npz", **attrs.asdict(sample))
    write_atomic(folder / f"{subject.name}.json", json.dumps(record_of(subject)).encode())


def record_of(subject: PackedSubject) -> dict[str, object]:
    """What a subject's arrays are made of; they, and what is made of them, are reused while it
    stays."""
    digest = hashlib.sha256(subject.labels.tobytes())
    digest.update(subject.brain.tobytes())
    return {
        "version": CACHE_VERSION,
        "labels": digest.hexdigest(),
        "to_template": subject.to_template.tolist(),
        "affine": template_grid(subject).affine.tolist(),
        "seed": subject.seed,
        "lesions": subject.lesions,
    }


def _is_cached(folder: Path, subject: PackedSubject) -> bool:
    path = folder / f"{subject.name}.json"
    return path.exists() and json.loads(path.read_text()) == record_of(subject)


def _mapped(folder: Path, subject: PackedSubject) -> TemplateSubject:
    fractions, texture, brain, mask = (
        np.load(folder / f"{subject.name}_{name}.npy", mmap_mode="r") for name in ARRAY_NAMES
    )
    with np.load(folder / f"{subject.name}_sample.npz") as arrays:
        sample = BrainSample(**arrays)
    grid = template_grid(subject)
    step, first = sample.affine[2, 2], sample.affine[2, 3] - grid.affine[2, 3]
    return TemplateSubject(
        subject.name, subject.seed, fractions, texture, brain, mask, grid.affine,
        sample.centre * step + [0, 0, first], sample,
    )  # fmt: skip
