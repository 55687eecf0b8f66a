"""Oblique, left-handed, permuted, uneven and fine grids, all codes: every voxel stays in place."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Any

import nibabel
import numpy as np
from attrs import frozen
from nibabel.orientations import (
    apply_orientation,
    axcodes2ornt,
    inv_ornt_aff,
    io_orientation,
    ornt_transform,
)

from tests.reliability import phantom, runs

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

SAME = (
    *("qform_code", "sform_code", "pixdim", "xyzt_units", "quatern_b", "quatern_c", "quatern_d"),
    *("qoffset_x", "qoffset_y", "qoffset_z", "srow_x", "srow_y", "srow_z", "dim"),
)
"""Fields of the header that must be equal to the bit."""
CLOSE = 2e-3
"""Most that a voxel may differ between orientations, as a share of the largest intensity: both
are interpolated to the network's grid, from different sides."""


@frozen
class Placed:
    """A case and what is wrong with its output."""

    case: str
    complaints: tuple[str, ...]


@frozen(eq=False)
class Case:
    """An image; ``turned`` says how its axes lie, where it shows what the plain image shows."""

    name: str
    image: nibabel.Nifti1Image
    turned: str | None = None


def cases() -> list[Case]:
    """All of them."""
    return [*_orientations(), *_codes(), *_grids()]


def _image(data: NDArray[Any], affine: NDArray[np.float64], q: int = 1, s: int = 1) -> Any:
    image = nibabel.Nifti1Image(data.astype(np.int16), None)
    image.header.set_xyzt_units("mm", "sec")
    image.set_qform(affine, code=q)
    image.set_sform(affine, code=s)
    image.header["descrip"] = b"phantom"
    return image


def _orientations() -> list[Case]:
    """The plain image stored along other axes, left-handed half of them."""
    data, affine = phantom.head(), phantom.affine_of()
    found = []
    for axes in ("RAS", "LAS", "LPS", "RPI", "ASR", "PIR", "SAL", "SRP", "IRA", "ILP"):
        way = ornt_transform(io_orientation(affine), axcodes2ornt(axes))
        turned = affine @ inv_ornt_aff(way, data.shape)
        found.append(Case(f"axes {axes}", _image(apply_orientation(data, way), turned), axes))
    return found


def _codes() -> list[Case]:
    """All combinations of qform and sform code."""
    affine = phantom.affine_of()
    return [
        Case(f"qform code {q}, sform code {s}", _image(phantom.head(), affine, q, s))
        for q, s in product(range(5), repeat=2)
    ]


def _rotation(axis: int, degrees: float) -> NDArray[np.float64]:
    turn = np.deg2rad(degrees)
    matrix = np.eye(4)
    first, second = [one for one in range(3) if one != axis]
    matrix[first, first] = matrix[second, second] = np.cos(turn)
    matrix[first, second], matrix[second, first] = -np.sin(turn), np.sin(turn)
    return matrix


def _centred(zooms: Sequence[float], shape: Sequence[int]) -> NDArray[np.float64]:
    affine = np.diag([*zooms, 1.0])
    affine[:3, 3] = -np.array(zooms) * (np.array(shape) - 1) / 2
    return affine


def _grids() -> list[Case]:
    grids = {
        "oblique by 10 degrees": (_rotation(0, 10) @ phantom.affine_of(), phantom.SHAPE),
        "oblique by 45 degrees": (_rotation(1, 45) @ phantom.affine_of(), phantom.SHAPE),
        "doubly oblique": (
            _rotation(0, 20) @ _rotation(2, 33) @ phantom.affine_of(), phantom.SHAPE,
        ),
        "oblique and left-handed": (
            np.diag([-1.0, 1, 1, 1]) @ _rotation(0, 20) @ phantom.affine_of(), phantom.SHAPE,
        ),
        "thick slices": (_centred((1, 1, 6), (36, 36, 5)), (36, 36, 5)),
        "sagittal thick slices": (_centred((6, 1.5, 1.5), (7, 26, 18)), (7, 26, 18)),
        "1 mm": (_centred((1, 1, 1), (38, 38, 22)), (38, 38, 22)),
        "0.7 mm": (_centred((0.7, 0.7, 0.7), (52, 52, 30)), (52, 52, 30)),
        "odd zooms": (_centred((3.90625, 3.90625, 4.4), (10, 10, 6)), (10, 10, 6)),
        "far from the origin": (
            _centred((4, 4, 4), (10, 10, 6)) + np.eye(4, k=3) * 300, (10, 10, 6),
        ),
    }  # fmt: skip
    found = []
    for name, (affine, shape) in grids.items():
        seen = np.eye(4, k=3) * 300 if name.startswith("far") else np.zeros((4, 4))
        found.append(Case(name, _image(phantom.head(affine=affine - seen, shape=shape), affine)))
    return found


def placed(folder: Path, chosen: Sequence[Case]) -> list[Placed]:
    """Harmonize all cases in one run and look where their voxels are."""
    bids = phantom.write_root(folder / "bids")
    out = folder / "out"
    paths = {}
    for number, case in enumerate(chosen):
        path = phantom.scan_path(bids, "01", f"{number:03d}")
        phantom.write_scan(path)
        nibabel.save(case.image, path)
        paths[case.name] = path
    # A compact change map is in the units of the scan: 'ihf restore' knows them.
    options = ("--target", "Siemens", "--change-map", "float32")
    words = runs.participant(bids, out, folder / "work", *options)
    done = runs.run(words, folder / "said")
    assert done.code == 0, done.err
    found = []
    results: dict[str, Any] = {}
    for case in chosen:
        source = nibabel.load(paths[case.name])
        files = {
            kind: _result(out, paths[case.name], kind)
            for kind in ("harmonized_T1w", "change_T1w", "brain_mask")
        }
        complaints = [
            *(text for kind, file in files.items() for text in _header(source, file, kind)),
            *_voxels(source, files),
            *_ants(paths[case.name], files),
        ]
        results[case.name] = nibabel.load(files["harmonized_T1w"])
        if case.turned and (first := next((c for c in chosen if c.turned), case)) is not case:
            complaints += _turned(results[first.name], results[case.name])
        found.append(Placed(case.name, tuple(complaints)))
    return found


def _result(out: Path, source: Path, kind: str) -> Path:
    folder = out / source.parent.relative_to(source.parents[3])
    return folder / source.name.replace("_T1w.nii.gz", f"_desc-{kind}.nii.gz")


def _header(source: Any, path: Path, kind: str) -> list[str]:
    image = nibabel.load(path)
    complaints = [
        f"{kind}: {name} differs"
        for name in SAME
        if image.header[name].tobytes() != source.header[name].tobytes()
    ]
    if image.affine.tobytes() != source.affine.tobytes():
        complaints.append(f"{kind}: affine differs")
    return complaints


def _voxels(source: Any, files: dict[str, Path]) -> list[str]:
    original = source.get_fdata()
    harmonized, change, mask = (nibabel.load(path).get_fdata() for path in files.values())
    complaints = []
    if np.abs(harmonized - change - original).max() > 1e-5 * original.max():
        complaints.append("harmonized less change is not the original")
    if not np.array_equal(mask > 0, original != 0):
        complaints.append("the mask is not where the head is")
    return complaints


def _ants(source: Path, files: dict[str, Path]) -> list[str]:
    """Where ANTs sees source and results, and whether it reads what nibabel reads."""
    from bids_ihf.preprocessing.itk import load_ants

    ants = load_ants()
    before, after = ants.image_read(str(source)), ants.image_read(str(files["harmonized_T1w"]))
    complaints = [
        f"ANTs sees another {name}"
        for name in ("spacing", "origin", "direction")
        if not np.array_equal(getattr(before, name), getattr(after, name))
    ]
    seen = nibabel.load(files["harmonized_T1w"]).get_fdata(dtype=np.float32)
    if not np.array_equal(after.numpy(), seen):
        complaints.append("ANTs reads other voxels")
    return complaints


def _turned(plain: Any, turned: Any) -> list[str]:
    """The result of the turned image, turned back, is that of the plain one."""
    back = ornt_transform(io_orientation(turned.affine), io_orientation(plain.affine))
    found = apply_orientation(turned.get_fdata(), back)
    expected = plain.get_fdata()
    difference = np.abs(found - expected).max() / expected.max()
    return [f"differs by {difference:.1e} from the plain image's"] if difference > CLOSE else []
