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
from bids_ihf.volume.grid import Grid
from bids_ihf.volume.nifti import read_volume

if TYPE_CHECKING:
    from numpy.typing import NDArray

NAME = "MNI152NLin2009aSym"
FILE = "datasets/data/mni_icbm152_t1_tal_nlin_sym_09a_converted.nii.gz"
SHA256 = "421a10e872fd6cadae7f61d358dffbcc1795a497d61ee76c5dda2503e1a1e9e6"


@frozen(eq=False)
class Template:
    """T1-weighted brain (X, Y, Z), 0 to 1 and 0 outside the brain, its mask and grid (RAS, mm)."""

    image: NDArray[np.float32]
    mask: NDArray[np.bool_]
    grid: Grid


@lru_cache(maxsize=1)
def load_template() -> Template:
    """The template as nilearn carries it; nilearn itself is not imported.

    Raises
    ------
    BadData
        The file is missing or not the one known here.
    """
    path = _path()
    if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != SHA256:
        raise BadData(f"{path}: not the {NAME} template known here; install nilearn anew.")
    volume = read_volume(path)
    image = volume.data / volume.data.max()
    mask = image > 0
    for array in (image, mask):
        array.setflags(write=False)  # every caller gets the same arrays
    shape = (image.shape[0], image.shape[1], image.shape[2])
    return Template(image, mask, Grid(shape, volume.affine))


def _path() -> Path:
    found = find_spec("nilearn")
    if found is None or found.origin is None:
        raise BadData("nilearn, which carries the template, is not installed; install it.")
    return Path(found.origin).parent / FILE
