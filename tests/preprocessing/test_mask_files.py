"""Brain masks in the files of other tools, on their own grids."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from bids_ihf.errors import BadData
from bids_ihf.io.nifti import Volume
from bids_ihf.preprocessing.prepare import _read_mask


def test_freesurfer_masks_are_read_in_world_coordinates(tmp_path: Path) -> None:
    affine = np.diag([1.0, 1.0, 1.0, 1.0])
    affine[:3, 3] = (-10, 5, 3)
    volume = Volume(np.zeros((20, 20, 20), np.float32), affine, None, tmp_path / "scan.nii.gz")
    brain = np.zeros((20, 20, 20), np.uint8)
    brain[4:15, 5:16, 6:14] = 110
    brain[4:15, 5:16, 6:8] = 1  # erased by hand
    expected = np.zeros((20, 20, 20), bool)
    expected[4:15, 5:16, 8:14] = True
    # FreeSurfer's grid: other axes in another order, the same world.
    conformed = nib.as_closest_canonical(nib.Nifti1Image(brain, affine)).as_reoriented(
        np.array([[0, -1], [2, -1], [1, 1]])
    )
    path = tmp_path / "brainmask.mgz"
    nib.save(nib.MGHImage(np.asarray(conformed.dataobj), conformed.affine), path)
    np.testing.assert_array_equal(_read_mask(path, volume), expected)
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(BadData, match=r"brainmask\.mgz: cannot be read as a FreeSurfer image"):
        _read_mask(path, volume)
