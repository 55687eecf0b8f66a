"""File names of images, and the files of the package."""

from __future__ import annotations

from importlib import resources
from pathlib import Path, PurePath

NIFTI_EXTENSIONS = (".nii.gz", ".nii")
"""Extensions of the images that are read; the compressed one is preferred and is written."""


def is_nifti_name(path: str | PurePath) -> bool:
    """Whether a path ends like a NIfTI image.

    >>> is_nifti_name("sub-01_T1w.nii.gz"), is_nifti_name("sub-01_T1w.json")
    (True, False)
    """
    return str(path).endswith(NIFTI_EXTENSIONS)


def file_stem(path: PurePath) -> str:
    """File name up to its first dot, that is, without all of its extensions.

    >>> file_stem(PurePath("anat/sub-01_T1w.nii.gz"))
    'sub-01_T1w'
    """
    return path.name.split(".", 1)[0]


def packaged_file(name: str) -> Path:
    """Path of a file in the package's ``data`` folder."""
    return Path(str(resources.files("bids_ihf") / "data" / name))
