"""Brain masks in the derivatives of other tools: fMRIPrep, FreeSurfer, SynthStrip."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

from bids_ihf.bids.images import SourceImage, has_t1w_twin, not_fetched_message
from bids_ihf.bids.names import in_schema_order
from bids_ihf.io.paths import NIFTI_EXTENSIONS

LOGGER = logging.getLogger(__name__)

# After the entities: fMRIPrep, CAT12 and others, which do not state the modality of the mask.
_MASK_ENDINGS = tuple(
    "desc-brain_mask label-brain_mask desc-synthstrip_mask brainmask mask".split()
)
# After the entities and the suffix: common names for the output of mri_synthstrip.
_SUFFIX_MASK_ENDINGS = tuple("mask brainmask brain_mask desc-brain_mask synthstrip_mask".split())


def find_mask(derivatives: Sequence[Path], image: SourceImage) -> Path | None:
    """Find the brain mask of an image, in its native space.

    The mask must have all the image's entities except ``part``: a mask of another run, or one
    averaged over runs or sessions, is not aligned with this image.  Names with ``space-`` are on
    other grids and never used.  The folders are searched in the given order, each as a BIDS tree,
    as one flat folder and as a FreeSurfer subjects folder.

    Returns
    -------
    Path or None
        A mask, or for FreeSurfer the masked image ``brainmask`` (the brain is what is not zero),
        in the image's world coordinates but not necessarily on its grid.
    """
    for folder in (path.absolute() for path in derivatives):
        for candidate in (*_bids_masks(folder, image), *_freesurfer_masks(folder, image)):
            if candidate.exists():
                return candidate
            if candidate.is_symlink():
                LOGGER.warning("%s  The mask is not used.", not_fetched_message(candidate))
    return None


def _bids_masks(folder: Path, image: SourceImage) -> Iterator[Path]:
    entities = dict(image.name.without("part", "desc"))
    stem = "_".join(f"{key}-{value}" for key, value in in_schema_order(entities))
    endings = [f"{image.suffix}_{ending}" for ending in _SUFFIX_MASK_ENDINGS]
    if image.suffix == "T2w":
        endings.insert(0, "desc-brainT2w_mask")
    # With a T1w image of the same entities, a mask without a modality belongs to the T1w image.
    if image.suffix != "T2w" or not has_t1w_twin(image):
        endings = [*_MASK_ENDINGS, *endings]
    subfolder = Path(image.relative).parent
    for parent in dict.fromkeys((folder / subfolder, folder / subfolder.parent, folder)):
        for ending in endings:
            yield from (parent / f"{stem}_{ending}{extension}" for extension in NIFTI_EXTENSIONS)


def _freesurfer_masks(folder: Path, image: SourceImage) -> Iterator[Path]:
    # With several T1w images it is unknown which one, or whether their average, was the input.
    if image.suffix != "T1w" or len(list(image.path.parent.glob("*_T1w.nii*"))) != 1:
        return
    name = "_".join(
        f"{key}-{value}" for key, value in image.name.entities if key in {"sub", "ses"}
    )
    for parent in (folder / name / "mri", folder / name, folder / Path(image.relative).parent):
        yield from (parent / f"brainmask{extension}" for extension in NIFTI_EXTENSIONS)
