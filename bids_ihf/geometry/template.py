"""The MNI152NLin2009aSym template at 1 mm, the space that scans are registered to.

Its files are in the package's ``data`` folder (Fonov et al. 2011, NeuroImage 54:313-327).
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from bids_ihf.bids.names import TEMPLATE_SPACE
from bids_ihf.errors import BadData
from bids_ihf.geometry.grid import Grid
from bids_ihf.io.content_hash import file_hash
from bids_ihf.io.nifti import read_volume
from bids_ihf.io.paths import packaged_file

TEMPLATE_FILES = {
    "desc-brain_T1w": "421a10e872fd6cadae7f61d358dffbcc1795a497d61ee76c5dda2503e1a1e9e6",
    "label-GM_probseg": "97a5ca69bd24db37a9cb7b32525e1733a209af904129bf1cd36da06d24243bed",
    "label-WM_probseg": "382d92812de4744f9c86c7a0e4f680dc317a0a50e4da1f0153618a6798c7b7db",
}
"""sha256 of the T1-weighted brain and the grey and white matter probability maps."""


NIFTI_XFORM_MNI = 4
"""NIfTI-1's code of a transform to MNI space (NIFTI_XFORM_MNI_152)."""


def template_header(shape: tuple[int, ...], affine: NDArray[np.float64]) -> Any:
    """A NIfTI header in template space: it says MNI space, in mm."""
    import nibabel

    header = nibabel.Nifti1Header()
    header.set_data_shape(shape)
    header.set_qform(affine, code=NIFTI_XFORM_MNI)
    header.set_sform(affine, code=NIFTI_XFORM_MNI)
    header.set_xyzt_units("mm")
    return header


@frozen(eq=False)
class Template:
    """The template, on its RAS grid of 1 mm.

    Attributes
    ----------
    image
        T1-weighted brain (X, Y, Z), 0 to 1, 0 outside the brain.
    mask
        Brain mask (X, Y, Z).
    tissues
        Fractions of grey matter, white matter and CSF inside the mask, (3, X, Y, Z).
    grid
        Shape and affine of all of them.
    """

    image: NDArray[np.float32]
    mask: NDArray[np.bool_]
    tissues: NDArray[np.float32]
    grid: Grid


@lru_cache(maxsize=1)
def load_template() -> Template:
    """Load the template; its arrays are read-only, since all callers share them.

    Raises
    ------
    BadData
        A file is missing or was altered.
    """
    image, grey, white, grid = read_template_files()
    mask = image > 0
    tissues = np.empty((3, *grid.shape), np.float32)
    # In place: new arrays of this size cost more than the arithmetic.
    total = grey + white
    np.subtract(1, np.minimum(total, 1, out=tissues[2]), out=tissues[2])
    np.maximum(total, 1, out=total)
    np.divide(grey, total, out=tissues[0])
    np.divide(white, total, out=tissues[1])
    tissues *= mask
    for array in (image, mask, tissues):
        array.setflags(write=False)
    return Template(image, mask, tissues, grid)


def read_template_files() -> tuple[
    NDArray[np.float32], NDArray[np.float32], NDArray[np.float32], Grid
]:
    """Read the T1-weighted brain and the grey and white matter maps, each scaled to 0 to 1.

    Raises
    ------
    BadData
        A file is missing or was altered.
    """
    arrays = []
    for label, sha256 in TEMPLATE_FILES.items():
        path = packaged_file(f"tpl-{TEMPLATE_SPACE}_res-1_{label}.nii.gz")
        if file_hash(path) != sha256:
            raise BadData(f"{path}: missing or altered; reinstall the package.")
        volume = read_volume(path)
        volume.data[...] /= volume.data.max()
        arrays.append(volume.data)
    image, grey, white = arrays
    return image, grey, white, Grid(image.shape, volume.affine)
