"""Images in template space, for ``--output-spaces``; the native output never depends on them."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from bids_ihf.spatial.align import Alignment, align
from bids_ihf.spatial.ants_image import load_ants, to_ants, write_matrix
from bids_ihf.spatial.template import load_template
from bids_ihf.volume.grid import Grid, resample

if TYPE_CHECKING:
    from numpy.typing import NDArray

Kind = Literal["rigid", "affine", "syn"]


def template_image(
    data: NDArray[np.float32],
    affine: NDArray[np.float64],
    mask: NDArray[np.bool_],
    alignment: Alignment,
    kind: Kind,
) -> NDArray[np.float32]:
    """An image (X, Y, Z) on the template's grid, by one interpolation.

    ``rigid`` uses the alignment that is there; ``affine`` starts from it; ``syn`` goes on with a
    deformable registration.
    """
    template = load_template()
    native = Grid((data.shape[0], data.shape[1], data.shape[2]), affine)
    matrix = alignment.matrix
    if kind != "rigid":
        matrix = align(
            data,
            affine,
            mask,
            template.image,
            template.grid.affine,
            template.mask,
            kind="affine",
            start=matrix,
        ).matrix
    if kind != "syn":
        back = np.linalg.inv(matrix)
        return resample(data, native, template.grid, target_to_source=back)
    return _deformed(data, affine, mask, matrix)


def _deformed(
    data: NDArray[np.float32],
    affine: NDArray[np.float64],
    mask: NDArray[np.bool_],
    matrix: NDArray[np.float64],
) -> NDArray[np.float32]:
    ants = load_ants()
    template = load_template()
    with tempfile.TemporaryDirectory(prefix="ihf-syn-") as folder:
        first = Path(folder) / "start.mat"
        write_matrix(np.linalg.inv(matrix), first)
        fixed = to_ants(template.image, template.grid.affine)
        found = ants.registration(
            fixed,
            to_ants(np.where(mask, data, np.float32(0)), affine),
            type_of_transform="SyNOnly",
            initial_transform=[str(first)],
            syn_metric="mattes",
            syn_sampling=32,
            reg_iterations=(60, 40, 10),
            outprefix=str(Path(folder) / "out_"),
            random_seed=1,
        )
        warped = ants.apply_transforms(fixed, to_ants(data, affine), found["fwdtransforms"])
        out: NDArray[np.float32] = warped.numpy().astype(np.float32)
    return out
