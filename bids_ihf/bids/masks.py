"""Brain masks in the derivatives of other tools, by the names that these give them."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

from bids_ihf.bids.images import SourceImage, has_twin, not_fetched_message
from bids_ihf.bids.names import in_schema_order
from bids_ihf.io.paths import NIFTI_EXTENSIONS

LOGGER = logging.getLogger(__name__)

# After the entities: fMRIPrep, QSIPrep, CAT12, ANTs and others, which do not state the modality.
_MASK_ENDINGS = tuple(
    "_desc-brain_mask _label-brain_mask _desc-synthstrip_mask _desc-hdbet_mask _desc-bet_mask "
    "_brainmask _brain_mask _bet_mask _BrainExtractionMask _mask".split()
)
# After the entities and the suffix: SynthStrip, BET, HD-BET and ANTs; the last ones are stripped
# images, but HD-BET 2 calls its mask "_bet".
_SUFFIX_MASK_ENDINGS = tuple(
    "_mask _brainmask _brain_mask _desc-brain_mask _synthstrip_mask _bet_mask _brain_bet_mask "
    "_hdbet_mask _hd-bet_mask _BrainExtractionMask BrainExtractionMask _bet_bet "
    "_bet _brain _synthstrip _BrainExtractionBrain BrainExtractionBrain".split()
)
_FREESURFER_EXTENSIONS = (".mgz", *NIFTI_EXTENSIONS)


def find_mask(derivatives: Sequence[Path], image: SourceImage) -> Path | None:
    """Find the brain mask of an image, in its native space.

    The mask must have all the image's entities except ``part``: a mask of another run, or one
    averaged over runs or sessions, is not aligned with this image.  Names with another ``space-``
    than the image's (or than its own suffix: nibabies) are not in its space and never used.  The
    folders are searched in the given order, each as a BIDS tree,
    as one flat folder and as a FreeSurfer subjects folder.

    Returns
    -------
    Path or None
        A mask or a skull-stripped image, such as FreeSurfer's ``brainmask.mgz`` (the brain is what
        is not zero), in the image's world coordinates but not necessarily on its grid.
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
    endings = [f"_{image.suffix}{ending}" for ending in _SUFFIX_MASK_ENDINGS]
    if image.suffix not in ("T1w", "dwi"):
        endings.insert(0, f"_desc-brain{image.suffix}_mask")
    if image.suffix != "dwi":  # QSIPrep's space-T1w is that of the T1w image after rotation
        endings.insert(0, f"_space-{image.suffix}_desc-brain_mask")
    # With a T1w image of the same entities, a mask without a modality belongs to the T1w image.
    if not has_twin(image):
        endings = [*_MASK_ENDINGS, *endings]
    subfolder = Path(image.relative).parent
    for parent in (folder / subfolder, *(folder / above for above in subfolder.parents)):
        for ending in endings:
            yield from (parent / f"{stem}{ending}{extension}" for extension in NIFTI_EXTENSIONS)


def _freesurfer_masks(folder: Path, image: SourceImage) -> Iterator[Path]:
    # With several T1w images it is unknown which one, or whether their average, was the input.
    if image.suffix != "T1w" or len(list(image.path.parent.glob("*_T1w.nii*"))) != 1:
        return
    name = "_".join(
        f"{key}-{value}" for key, value in image.name.entities if key in {"sub", "ses"}
    )
    for parent in (folder / name / "mri", folder / name, folder / Path(image.relative).parent):
        yield from (parent / f"brainmask{extension}" for extension in _FREESURFER_EXTENSIONS)
