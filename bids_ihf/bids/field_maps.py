"""Reverse-encoded images in ``fmap/`` that are meant for a diffusion series."""

from __future__ import annotations

import logging
from collections.abc import Collection
from pathlib import Path
from typing import Any

from bids_ihf.bids.images import SourceImage
from bids_ihf.bids.metadata import merged_metadata
from bids_ihf.bids.raw_files import ignored_patterns, inherited, is_ignored
from bids_ihf.errors import InvalidBIDS
from bids_ihf.io.paths import NIFTI_EXTENSIONS

LOGGER = logging.getLogger(__name__)

EPI_SUFFIX = "epi"
"""Suffix of images with other phase encoding, from which topup estimates the distortion."""


def epi_images_for(series: SourceImage) -> list[SourceImage]:
    """The images ``fmap/*_epi`` of its session whose sidecar names a series.

    By ``IntendedFor``, or by a ``B0FieldIdentifier`` that is the series' ``B0FieldSource``.  What
    ``.bidsignore`` lists is left out, and so is, with a warning, one whose sidecar cannot be read.
    """
    folder = series.path.parent.parent / "fmap"
    paths = [
        path
        for path in sorted(folder.glob(f"sub-*_{EPI_SUFFIX}.*"))
        if path.name.endswith(NIFTI_EXTENSIONS)
    ]
    if not paths:  # as for most series, which need no more of the dataset's root
        return []
    patterns = ignored_patterns(series.root)
    sidecars = _sidecars(folder, series.root)
    images = []
    for path in (path for path in paths if not is_ignored(path, series.root, patterns)):
        try:
            metadata = merged_metadata(inherited(path, sidecars, ".json"))
            if is_meant_for(metadata, series):
                images.append(SourceImage.from_path(path, series.root, metadata))
        except InvalidBIDS as error:
            LOGGER.warning("%s", error)
    return images


def _sidecars(folder: Path, root: Path) -> list[Path]:
    """The sidecars in a folder and above, up to the root, that images in it may inherit."""
    folders = [folder, *(above for above in folder.parents if above.is_relative_to(root))]
    return [sidecar for above in folders for sidecar in above.glob(f"*{EPI_SUFFIX}.json")]


def is_meant_for(metadata: dict[str, Any], series: SourceImage) -> bool:
    """Whether the sidecar of an image in ``fmap/`` names a series.

    Paths are relative to the participant (``ses-1/dwi/...``) or BIDS URIs (``bids::sub-1/...``).
    """
    within_subject = series.relative.split("/", 1)[1]
    for text in _texts(metadata.get("IntendedFor")):
        path = text.split(":")[-1] if text.startswith("bids:") else text
        if path.removeprefix("./") in (within_subject, series.relative):
            return True
    identifiers = _texts(metadata.get("B0FieldIdentifier"))
    return any(name in identifiers for name in _texts(series.metadata.get("B0FieldSource")))


def _texts(value: object) -> Collection[str]:
    """The texts in a field that may hold one or a list."""
    items = value if isinstance(value, list) else [value]
    return [item for item in items if isinstance(item, str)]
