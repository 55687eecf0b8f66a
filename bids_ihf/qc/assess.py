"""Measure a harmonized anatomical image, and warn if it is out of distribution."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from attrs import frozen

from bids_ihf.qc.measures import image_measures
from bids_ihf.qc.out_of_distribution import MAX_OUT_OF_RANGE_SCORE, shipped_reference

if TYPE_CHECKING:
    from bids_ihf.anat.qc_statistics import QCStatistics

OUT_OF_RANGE_WARNING = (
    "Outside the range of the simulated training scans: the {} (out-of-range score {:.2f}, limit "
    "{:g}); inspect the report before using this image."
)


@frozen
class QCResult:
    """Measures by column of the scans table, and a warning if the image is out of
    distribution."""

    measures: dict[str, float]
    warning: str | None


def assess(statistics: QCStatistics, modality: str, encoder_hash: str) -> QCResult:
    """Measure a harmonized image.

    Its out-of-range scores, and a warning if one exceeds the limit, need reference scans of its
    modality that were encoded with the encoder of this hash.
    """
    measures = image_measures(statistics)
    reference = shipped_reference(encoder_hash)
    distribution = reference.modalities.get(modality) if reference else None
    if distribution is None:
        return QCResult(measures, None)
    scores = {
        "image": distribution.score(statistics.before),
        "target": distribution.score(statistics.target),
    }
    measures["out_of_range_source"] = scores["image"]
    measures["out_of_range_target"] = scores["target"]
    measures["out_of_range_score"] = float(np.nanmax([*scores.values(), 0.0]))
    return QCResult(measures, out_of_range_warning(scores))


def out_of_range_warning(scores: Mapping[str, float]) -> str | None:
    """A sentence that names what exceeds the limit; None if nothing does.

    >>> out_of_range_warning({"image": 0.8, "target": float("nan")}) is None
    True
    """
    beyond = {name: score for name, score in scores.items() if score > MAX_OUT_OF_RANGE_SCORE}
    if not beyond:
        return None
    names = " and the ".join(beyond)
    return OUT_OF_RANGE_WARNING.format(names, max(beyond.values()), MAX_OUT_OF_RANGE_SCORE)
