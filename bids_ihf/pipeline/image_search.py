"""Finding the images that the settings of a run select, participant by participant."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Self

from attrs import frozen

from bids_ihf.bids.discovery import find_images
from bids_ihf.bids.filters import Filters, read_filters
from bids_ihf.bids.images import SourceImage
from bids_ihf.bids.raw_files import RootLevel
from bids_ihf.config import RunConfig
from bids_ihf.io.paths import file_stem
from bids_ihf.pipeline.plan import REGISTERED_VIA_T1W
from bids_ihf.pipeline.run_log import subject_context

LOGGER = logging.getLogger(__name__)

MAX_LABELS_SHOWN = 5


@frozen
class ImageSearch:
    """What a run searches for, and what it has read once for all participants."""

    config: RunConfig
    root_level: RootLevel
    filters: Filters | None

    @classmethod
    def of(cls, config: RunConfig) -> Self:
        """The search of a run with these settings.

        Raises
        ------
        UsageError
            The filter file cannot be used.
        """
        filters = read_filters(config.bids_filter_file) if config.bids_filter_file else None
        return cls(config, RootLevel.read(config.bids_dir), filters)

    def find(self, subjects: Iterable[str]) -> list[SourceImage]:
        """Images of these participants; T1w images too where others are registered by them."""
        config = self.config
        via_t1w = any(suffix in REGISTERED_VIA_T1W for suffix in config.modalities)
        modalities = dict.fromkeys([*config.modalities, *(["T1w"] if via_t1w else [])])
        images = []
        for subject in subjects:
            with subject_context(subject):
                images += find_images(
                    config.bids_dir,
                    subject,
                    sessions=config.session_label,
                    modalities=tuple(modalities),
                    filters=self.filters,
                    derivatives=() if config.brain_mask == "network" else config.derivatives,
                    root_level=self.root_level,
                )
        return images

    def nothing_selected(self, subjects: Sequence[str]) -> str:
        """A sentence about a selection without any image: what was searched for, what is there."""
        config = self.config
        criteria = [
            f"modalities {' '.join(config.modalities)}",
            f"participants {_first(subjects)}",
        ]
        if config.session_label:
            criteria.append(f"sessions {_first(config.session_label)}")
        if config.bids_filter_file:
            criteria.append(f"filters {config.bids_filter_file.name}")
        suffixes = Counter(
            file_stem(path).rsplit("_", 1)[-1]
            for subject in subjects
            for path in (config.bids_dir / f"sub-{subject}").glob("**/*.[nN][iI][iI]*")
        )
        present = ", ".join(f"{count} {suffix}" for suffix, count in sorted(suffixes.items()))
        return (
            f"{config.bids_dir}: nothing to harmonize; searched for {', '.join(criteria)}; "
            f"these participants have {present or 'no image'} in all; widen the selection."
        )


def _first(labels: Sequence[str]) -> str:
    rest = len(labels) - MAX_LABELS_SHOWN
    return " ".join(labels[:MAX_LABELS_SHOWN]) + (f" and {rest} more" if rest > 0 else "")


def warn_of_missing_masks(images: Sequence[SourceImage], config: RunConfig) -> None:
    """Warn of images without a mask in ``--derivatives``."""
    without = [image for image in images if image.mask is None]
    if not without or not config.derivatives or config.brain_mask == "network":
        return
    message = mask_message(config, len(without), len(images), without[0])
    if config.brain_mask == "derivatives":
        LOGGER.warning("%s; these will fail.", message)
    else:
        LOGGER.warning("%s; these are masked without --derivatives.", message)


def mask_message(config: RunConfig, without: int, images: int, example: SourceImage) -> str:
    """The beginning of a sentence about images without a mask in ``--derivatives``."""
    return (
        f"{' '.join(map(str, config.derivatives))}: no brain mask for {without} of "
        f"{images} images, such as {example.path.name}"
    )
