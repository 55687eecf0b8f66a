"""What is measured of a harmonized T1w or T2w image, and whether to warn of it."""

from __future__ import annotations

import logging
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from attrs import frozen

if TYPE_CHECKING:
    from bids_ihf.anat.harmonize import Harmonized
    from bids_ihf.qc.out_of_distribution import ReferenceScans

LOGGER = logging.getLogger(__name__)

OUT_OF_RANGE_WARNING = (
    "Farther from every simulated scan than these are from each other: the {} (out-of-range score "
    "{:.2f}, limit {:g}); judge the result by its pictures."
)


@frozen
class QCResult:
    """Measures by column of the scans table, and a sentence where the image is to be doubted."""

    measures: dict[str, float]
    warning: str | None


def assess(name: str, modality: str, harmonized: Harmonized, encoder: str) -> QCResult:
    """Measure an image that was harmonized with the encoder of this hash; say so if it, or its
    target, is unlike anything simulated."""
    from bids_ihf.qc.measures import image_measures

    measures = image_measures(harmonized.qc)
    reference = reference_of(encoder)
    known = reference.modalities.get(modality) if reference else None
    if known is None:
        return QCResult(measures, None)
    scores = {
        "image": known.score(harmonized.qc.before),
        "target": known.score(harmonized.qc.target),
    }
    measures["out_of_range_source"] = scores["image"]
    measures["out_of_range_target"] = scores["target"]
    measures["out_of_range_score"] = float(np.nanmax([*scores.values(), 0.0]))
    warning = out_of_range_warning(scores)
    if warning:
        LOGGER.warning("%s: %s", name, warning)
    return QCResult(measures, warning)


def out_of_range_warning(scores: dict[str, float]) -> str | None:
    """A sentence on what is out of range; None where nothing is."""
    from bids_ihf.qc.out_of_distribution import MAX_OUT_OF_RANGE_SCORE

    beyond = {what: score for what, score in scores.items() if score > MAX_OUT_OF_RANGE_SCORE}
    if not beyond:
        return None
    return OUT_OF_RANGE_WARNING.format(
        " and the ".join(beyond), max(beyond.values()), MAX_OUT_OF_RANGE_SCORE
    )


@lru_cache(maxsize=1)
def reference_of(encoder: str) -> ReferenceScans | None:
    """The shipped reference, read once in each process; None where it is of another encoder."""
    from bids_ihf.qc.out_of_distribution import shipped_reference

    return shipped_reference(encoder)
