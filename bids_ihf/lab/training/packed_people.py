"""Label maps of training subjects in one file, with all that scanning them on the network's grid
needs, so that a machine without nibabel and ANTs can train."""

from __future__ import annotations

import zlib
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from attrs import frozen

from bids_ihf.errors import BadData
from bids_ihf.io.atomic import write_atomic
from bids_ihf.io.tensors import read_safetensors, to_safetensors

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from bids_ihf.lab.training.training_config import TrainConfig

PEOPLE_FORMAT = "ihf-harmony people 1"

COMPRESSION_LEVEL = 9
"""Level of zlib, 0 to 9."""


@frozen(eq=False)
class PackedSubject:
    """A subject of a packed file.

    labels: (X, Y, Z) int16, whole-head labels around the head.
    brain: (X, Y, Z) bool, reference brain mask on the same grid.
    affine: (4, 4) voxel to world, RAS mm.
    to_template: (4, 4) rigid, the subject's world to template space, RAS mm.
    seed: draws texture, fat and lesions.
    lesions: whether white-matter lesions are added.
    """

    name: str
    labels: NDArray[np.int16]
    brain: NDArray[np.bool_]
    affine: NDArray[np.float64]
    to_template: NDArray[np.float64]
    seed: int
    lesions: bool


def find_label_maps(config: TrainConfig) -> dict[str, Path]:
    """Label map by subject: those of the configuration, or all in the folder.

    Raises
    ------
    BadData
        There are fewer than two.
    """
    paths = sorted(config.data.source.glob("*_dseg.nii.gz"))
    maps = {path.name.split("_")[0]: path for path in paths}
    if config.data.people:
        requested = {*config.data.people, *config.data.validation}
        maps = {name: path for name, path in maps.items() if name in requested}
    if len(maps) < 2:
        raise BadData(
            f"{config.data.source}: holds {len(maps)} of the requested label maps "
            "(*_dseg.nii.gz); training needs at least two subjects."
        )
    return maps


def pack_people(maps: Mapping[str, Path], path: Path, *, seed: int, processes: int) -> None:
    """Register the subjects of label maps to the template and write them to a file.

    Takes half a minute a subject and needs ANTs.  Every second subject has lesions, so that these
    are taken for neither tissue nor artefact.

    Parameters
    ----------
    maps
        Label map by name of the subject, in the order that numbers them.
    """
    seeds = [seed * 100 + number for number in range(len(maps))]
    lesions = [bool(number % 2) for number in range(len(maps))]
    work = (list(maps), list(maps.values()), seeds, lesions)
    if processes == 1:
        subjects = [register_subject(*arguments) for arguments in zip(*work, strict=True)]
    else:
        with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as workers:
            subjects = list(workers.map(register_subject, *work))
    write_atomic(path, to_bytes(subjects))


def register_subject(name: str, path: Path, seed: int, lesions: bool) -> PackedSubject:
    """The subject of a label map, with its brain mask and its registration to the template."""
    from bids_ihf.geometry.grid import shifted_affine
    from bids_ihf.lab.simulation.anatomy import crop_to_brain
    from bids_ihf.lab.simulation.label_anatomy import from_labels, head_box, read_label_map
    from bids_ihf.lab.simulation.reference_segmentation import reference_brain_mask
    from bids_ihf.lab.simulation.virtual_subject import VirtualSubject, register

    torch.set_num_threads(1)
    anatomy = crop_to_brain(from_labels(path, seed=seed))
    # The margin of the mask differs between subjects, as it does between real masks.
    mask = reference_brain_mask(anatomy, csf_margin=1 + seed % 3)
    to_template = register(VirtualSubject(name, anatomy, seed, mask), path).to_template
    label_map = read_label_map(path)
    box = head_box(label_map.labels, label_map.zooms)
    labels = np.ascontiguousarray(label_map.labels[box])
    affine = shifted_affine(label_map.affine, [axis.start for axis in box])
    first = np.rint(np.linalg.inv(affine) @ anatomy.affine[:, 3])[:3].astype(int)
    brain = np.zeros(labels.shape, dtype=bool)
    x, y, z = (slice(start, start + size) for start, size in zip(first, mask.shape, strict=True))
    brain[x, y, z] = mask
    return PackedSubject(name, labels, brain, affine, to_template, seed, lesions)


def to_bytes(subjects: list[PackedSubject]) -> bytes:
    """The content of a packed file."""
    tensors: dict[str, torch.Tensor] = {}
    header: dict[str, Any] = {"format": PEOPLE_FORMAT, "people": {}}
    for subject in subjects:
        values, codes = np.unique(subject.labels, return_inverse=True)
        if values.size > 256:
            raise BadData(f"{subject.name}: has more than 256 labels; use another label map.")
        tensors[f"{subject.name}.labels"] = _compressed(codes.astype(np.uint8))
        tensors[f"{subject.name}.brain"] = _compressed(np.packbits(subject.brain))
        tensors[f"{subject.name}.geometry"] = torch.from_numpy(
            np.stack([subject.affine, subject.to_template])
        )
        header["people"][subject.name] = {
            "shape": list(subject.labels.shape),
            "values": values.tolist(),
            "seed": subject.seed,
            "lesions": subject.lesions,
        }
    return to_safetensors(tensors, header)


def read_people(path: Path, names: tuple[str, ...] = ()) -> list[PackedSubject]:
    """The subjects of a packed file, or those of some names, in the order of the file.

    Raises
    ------
    BadData
        The file is missing or altered, or lacks one of the names.
    """
    tensors, header = read_safetensors(path, PEOPLE_FORMAT)
    people = header["people"]
    missing = sorted(set(names) - set(people))
    if missing:
        raise BadData(
            f"{path}: does not hold {', '.join(missing)}; delete the file to make it anew."
        )
    return [_subject(name, people[name], tensors) for name in people if not names or name in names]


def _subject(
    name: str, entry: Mapping[str, Any], tensors: Mapping[str, torch.Tensor]
) -> PackedSubject:
    x, y, z = entry["shape"]
    values = np.array(entry["values"], dtype=np.int16)
    codes = _restored(tensors[f"{name}.labels"]).reshape(x, y, z)
    bits = np.unpackbits(_restored(tensors[f"{name}.brain"]), count=x * y * z)
    affine, to_template = tensors[f"{name}.geometry"].numpy()
    return PackedSubject(
        name, values[codes], bits.reshape(x, y, z).astype(bool), affine, to_template,
        int(entry["seed"]), bool(entry["lesions"]),
    )  # fmt: skip


def _compressed(array: NDArray[np.uint8]) -> torch.Tensor:
    data = zlib.compress(array.tobytes(), COMPRESSION_LEVEL)
    return torch.frombuffer(bytearray(data), dtype=torch.uint8)


def _restored(data: torch.Tensor) -> NDArray[np.uint8]:
    return np.frombuffer(zlib.decompress(data.numpy().tobytes()), dtype=np.uint8)
