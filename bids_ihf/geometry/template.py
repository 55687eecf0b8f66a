"""The brain of MNI152NLin2009aSym at 1 mm, the space that scans are aligned to."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from attrs import frozen

from bids_ihf.errors import BadData
from bids_ihf.geometry.grid import Grid
from bids_ihf.io.nifti import read_volume

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bids_ihf.io.nifti import Volume

TEMPLATE_NAME = "MNI152NLin2009aSym"
TEMPLATE_FOLDER = "datasets/data"
TEMPLATE_FILES = {
    "mni_icbm152_t1_tal_nlin_sym_09a_converted.nii.gz": (
        "421a10e872fd6cadae7f61d358dffbcc1795a497d61ee76c5dda2503e1a1e9e6"
    ),
    "mni_icbm152_gm_tal_nlin_sym_09a_converted.nii.gz": (
        "97a5ca69bd24db37a9cb7b32525e1733a209af904129bf1cd36da06d24243bed"
    ),
    "mni_icbm152_wm_tal_nlin_sym_09a_converted.nii.gz": (
        "382d92812de4744f9c86c7a0e4f680dc317a0a50e4da1f0153618a6798c7b7db"
    ),
}
"""T1w image, grey matter and white matter, with their sha256."""


@frozen(eq=False)
class Template:
    """T1-weighted brain (X, Y, Z), 0 to 1 and 0 outside the brain, its mask and grid (RAS, mm).

    ``tissues`` (3, X, Y, Z) are the shares of grey matter, white matter and fluid in the mask.
    """

    image: NDArray[np.float32]
    mask: NDArray[np.bool_]
    tissues: NDArray[np.float32]
    grid: Grid


@lru_cache(maxsize=1)
def load_template() -> Template:
    """The template as nilearn carries it; nilearn itself is not imported.

    Raises
    ------
    BadData
        The file is missing or not the one known here.
    """
    volumes = [_read(name, digest) for name, digest in TEMPLATE_FILES.items()]
    image, grey, white = (each.data / each.data.max() for each in volumes)
    mask = image > 0
    most = np.maximum(grey + white, 1)
    tissues = np.stack([grey / most, white / most, 1 - np.minimum(grey + white, 1)]) * mask
    for array in (image, mask, tissues):
        array.setflags(write=False)  # every caller gets the same arrays
    shape = (image.shape[0], image.shape[1], image.shape[2])
    return Template(image, mask, tissues, Grid(shape, volumes[0].affine))


def _read(name: str, digest: str) -> Volume:
    found = find_spec("nilearn")
    if found is None or found.origin is None:
        raise BadData("nilearn, which carries the template, is not installed; install it.")
    path = Path(found.origin).parent / TEMPLATE_FOLDER / name
    if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != digest:
        raise BadData(
            f"{path}: not the {TEMPLATE_NAME} template known here; install nilearn anew."
        )
    return read_volume(path)
