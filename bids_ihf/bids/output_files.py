"""The files of one image in the output folder, before and after they are written."""

from __future__ import annotations

from bids_ihf.bids.images import OutputPaths, gradient_table_paths, sidecar_path
from bids_ihf.errors import CannotWrite
from bids_ihf.io.atomic import remove

LOG_NAME = "ihf_harmony.log"
"""Log of a run on a subject, in the folder of the run under ``sub-<label>/log``."""


def clear_outputs(paths: OutputPaths) -> None:
    """Remove what an earlier run wrote, its mark of completion first.

    What is written now may be interrupted, and a template-space image that this run does not make
    would be left behind with another target.
    """
    remove(sidecar_path(paths.harmonized))
    images = (paths.harmonized, paths.change, paths.template_image)
    for path in (*images, paths.anisotropy, paths.diffusivity):
        remove(path)
        remove(sidecar_path(path))
    for series in (paths.change, paths.template_image):
        for table in gradient_table_paths(series):
            remove(table)


def require_written(paths: OutputPaths, *, change: bool = True) -> None:
    """Check, before an image is marked as finished, that all that belongs to it exists.

    ``change`` says whether a change map belongs to it.

    Raises
    ------
    CannotWrite
        Another process has removed a file meanwhile.
    """
    changes = (paths.change,) if change else ()
    for path in (paths.harmonized, *changes, paths.mask, paths.transform):
        if not path.is_file():
            raise CannotWrite(f"{path} was removed while its image was being written: run again.")
