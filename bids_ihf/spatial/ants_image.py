"""Between numpy arrays with RAS affines and what ANTs works on (LPS)."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

FLIP = np.diag([-1.0, -1.0, 1.0, 1.0])
"""RAS to LPS and back."""


def deterministic(threads: int, seed: int = 1) -> None:
    """Fix threads and seeds of ANTs and torch; call it before either does any work.

    ANTs sums in an order that depends on its threads, so it always gets one; torch gets ``threads``.
    ITK reads its settings once, when it is loaded.
    """
    os.environ["ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"] = "1"
    os.environ["ANTS_RANDOM_SEED"] = str(seed)
    os.environ["OMP_NUM_THREADS"] = str(threads)
    import torch

    torch.set_num_threads(threads)


def load_ants() -> Any:
    """The ants module, loaded with one thread and a fixed seed where nothing else was set."""
    os.environ.setdefault("ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS", "1")
    os.environ.setdefault("ANTS_RANDOM_SEED", "1")
    import ants

    return ants


def to_ants(data: NDArray[Any], affine: NDArray[np.float64]) -> Any:
    """An array (X, Y, Z) as an ANTs image.

    ANTs keeps orthonormal directions only: a sheared affine is replaced by the nearest without shear,
    which moves no voxel of a scanner's image.
    """
    lps = FLIP @ affine
    zooms = np.sqrt((lps[:3, :3] ** 2).sum(axis=0))
    u, _, vt = np.linalg.svd(lps[:3, :3] / zooms)
    return load_ants().from_numpy(
        np.ascontiguousarray(data, dtype=np.float32),
        origin=tuple(float(v) for v in lps[:3, 3]),
        spacing=tuple(float(v) for v in zooms),
        direction=u @ vt,
    )


def matrix_of(transform: Path | str) -> NDArray[np.float64]:
    """An ANTs affine transform file as a (4, 4) matrix, fixed world to moving world, RAS mm."""
    read = load_ants().read_transform(str(transform))
    parameters = np.asarray(read.parameters, dtype=np.float64)
    centre = np.asarray(read.fixed_parameters, dtype=np.float64)
    linear = parameters[:9].reshape(3, 3)
    lps = np.eye(4)
    lps[:3, :3] = linear
    lps[:3, 3] = parameters[9:] + centre - linear @ centre
    return FLIP @ lps @ FLIP


def write_matrix(matrix: NDArray[np.float64], path: Path) -> None:
    """A (4, 4) RAS matrix, fixed world to moving world, as a file ANTs reads."""
    path.write_bytes(to_itk(matrix))


def to_itk(fixed_to_moving: NDArray[np.float64]) -> bytes:
    """A (4, 4) RAS matrix, fixed world to moving world, as the bytes of ITK's MATLAB-4 format.

    This is the binary ``.mat`` of ANTs: two column vectors of doubles, the twelve parameters and the
    centre, each behind a header of five integers and its name.
    """
    lps = FLIP @ fixed_to_moving @ FLIP
    parameters = np.concatenate([lps[:3, :3].ravel(), lps[:3, 3]])
    blocks = (("AffineTransform_double_3_3", parameters), ("fixed", np.zeros(3)))
    out = b""
    for name, values in blocks:
        header = np.array([0, len(values), 1, 0, len(name) + 1], dtype="<i4")
        out += header.tobytes() + name.encode() + b"\0" + values.astype("<f8").tobytes()
    return out
