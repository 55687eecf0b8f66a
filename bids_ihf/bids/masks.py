"""Brain masks that other tools left in derivatives: fMRIPrep's, FreeSurfer's, SynthStrip's."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

from bids_ihf.bids.images import SourceImage, has_t1w_twin, not_fetched_message
from bids_ihf.bids.names import in_schema_order

LOGGER = logging.getLogger(__name__)

_MASK_EXTENSIONS = (".nii.gz", ".nii")
# After the entities: fMRIPrep, CAT12 and others; they do not say of which modality the mask is.
_MASK_ENDINGS = (
    "desc-brain_mask",
    "label-brain_mask",
    "desc-synthstrip_mask",
    "brainmask",
    "mask",
)
# After the entities and the suffix: what people let mri_synthstrip write.
_MASK_ENDINGS_WITH_SUFFIX = (
    "mask",
    "brainmask",
    "brain_mask",
    "desc-brain_mask",
    "synthstrip_mask",
)


def find_mask(derivatives: Sequence[Path], image: SourceImage) -> Path | None:
    """Find the brain mask of an image, in its own space.

    The mask must bear all the image's entities but ``part``: a mask of another run, or one
    averaged over runs or sessions, is not aligned with this image.  Names with ``space-`` are on
    other grids and never taken.  Folders are searched in the order given, each as a BIDS tree, as
    one flat folder, and as a FreeSurfer subjects folder.

    Returns
    -------
    Path or None
        A mask, or for FreeSurfer the masked image ``brainmask`` (brain is what is not zero), in
        the image's world coordinates though maybe not on its grid.
    """
    for folder in (one.absolute() for one in derivatives):
        for candidate in (*_named(folder, image), *_freesurfer(folder, image)):
            if candidate.exists():
                return candidate
            if candidate.is_symlink():
                LOGGER.warning("%s  The mask is not used.", not_fetched_message(candidate))
    return None


def _named(folder: Path, image: SourceImage) -> Iterator[Path]:
    entities = dict(image.name.without("part", "desc"))
    stem = "_".join(f"{key}-{value}" for key, value in in_schema_order(entities))
    endings = [f"{image.suffix}_{ending}" for ending in _MASK_ENDINGS_WITH_SUFFIX]
    if image.suffix == "T2w":
        endings.insert(0, "desc-brainT2w_mask")
    # With a T1w of the same entities, a mask that names no modality is the mask of the T1w.
    if image.suffix != "T2w" or not has_t1w_twin(image):
        endings = [*_MASK_ENDINGS, *endings]
    inside = Path(image.relative).parent
    for place in dict.fromkeys((folder / inside, folder / inside.parent, folder)):
        for ending in endings:
            yield from (place / f"{stem}_{ending}{extension}" for extension in _MASK_EXTENSIONS)


def _freesurfer(folder: Path, image: SourceImage) -> Iterator[Path]:
    # Of several T1w, FreeSurfer's space is that of one or of their average: there is no telling.
    if image.suffix != "T1w" or len(list(image.path.parent.glob("*_T1w.nii*"))) != 1:
        return
    name = "_".join(f"{key}-{value}" for key, value in image.entities if key in {"sub", "ses"})
    for place in (folder / name / "mri", folder / name, folder / Path(image.relative).parent):
        yield from (place / f"brainmask{extension}" for extension in _MASK_EXTENSIONS)
