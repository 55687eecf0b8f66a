"""What a participant's job leaves for the reports beside the figures: densities of the tissues and
the encoder's statistics, so that no report needs an image again."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any

import numpy as np
from attrs import frozen

from bids_ihf.qc.measures import BIN_WIDTH, TISSUE_NAMES
from bids_ihf.targets.intensity import HISTOGRAM_BINS, HISTOGRAM_RANGE

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from bids_ihf.anat.harmonize import QCStatistics
    from bids_ihf.bids.harmonized_images import HarmonizedImage

LOGGER = logging.getLogger(__name__)

SIDES = ("before", "after", "target")
TOP = 1.25
"""Brightest share of the 99.9th percentile that is kept apart."""
WIDTH = 4
"""Bins of a histogram that make one of a density."""
COUNT = round(TOP / (WIDTH * BIN_WIDTH))
"""Bins of a density, from no signal to TOP."""
DIGITS = 4


@frozen(eq=False)
class Kept:
    """What was kept of an image.

    Attributes
    ----------
    densities
        By side, then tissue: share of the brain's seen voxels in each of COUNT bins from 0 to
        TOP, (COUNT,); all of a side sum to 1.
    statistics
        By side (before, after): mean embedding over slice positions, (E,).
    """

    densities: Mapping[str, Mapping[str, NDArray[np.float64]]]
    statistics: Mapping[str, NDArray[np.float64]]

    def whole(self, side: str) -> NDArray[np.float64]:
        """Density (COUNT,) of all tissues together."""
        return np.asarray(sum(self.densities[side].values()), dtype=np.float64)


def evidence_name(stem: str, suffix: str) -> str:
    """Name of the file of an image, as its figures are named."""
    return f"{stem}_desc-evidence_{suffix}.json"


def to_content(evidence: QCStatistics) -> dict[str, Any]:
    """What is kept of an image as JSON content; without densities where no tissue is named."""
    tissues = {
        "before": evidence.before.tissue_histograms,
        "after": evidence.after.tissue_histograms,
        "target": evidence.target.tissue_histograms,
    }
    embeddings = {"before": evidence.before.embeddings, "after": evidence.after.embeddings}
    densities = {
        side: {name: _short(row) for name, row in zip(TISSUE_NAMES, coarse(found), strict=True)}
        for side, found in tissues.items()
        if found.any()
    }
    return {
        "Description": "Densities of intensities in shares of the brain's 99.9th percentile, by "
        "tissue, and mean encoder statistics; read by the reports",
        "Top": TOP,
        "Densities": densities,
        "Statistics": {side: _short(found.mean(axis=0)) for side, found in embeddings.items()},
    }


def pack(content: Mapping[str, Any]) -> bytes:
    """The bytes of a file: JSON without what only makes it longer."""
    return json.dumps(content, separators=(",", ":")).encode() + b"\n"


def coarse(tissues: NDArray[np.float64]) -> NDArray[np.float64]:
    """Histograms (3, LEVELS) as shares (3, COUNT) of their sum; what is beyond counts at the
    ends."""
    first = round(-(HISTOGRAM_RANGE[0] / 2 + 0.5) / BIN_WIDTH)
    place = np.clip((np.arange(HISTOGRAM_BINS) - first) // WIDTH, 0, COUNT - 1)
    rows = [np.bincount(place, weights=row, minlength=COUNT) for row in tissues]
    return np.stack(rows) / max(float(tissues.sum()), 1e-9)


def _short(values: NDArray[np.floating]) -> list[float]:
    return [float(f"{value:.{DIGITS}g}") for value in values.tolist()]


def read_evidence(out_dir: Path, image: HarmonizedImage) -> Kept | None:
    """What was kept of an image; None where it was not, or with a warning where it cannot be
    read."""
    name = evidence_name(image.stem, image.suffix)
    path = out_dir / f"sub-{image.subject}" / "figures" / name
    try:
        return from_content(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        LOGGER.warning("%s is left out of the report: %s", path, error)
        return None


def from_content(content: Mapping[str, Any]) -> Kept:
    """What :func:`to_content` made.

    Raises
    ------
    KeyError, ValueError, TypeError, AttributeError
        It is something else.
    """
    densities = {
        side: {tissue: _row(values, COUNT) for tissue, values in found.items()}
        for side, found in content["Densities"].items()
    }
    statistics = {side: _row(values, None) for side, values in content["Statistics"].items()}
    if set(statistics) != {"before", "after"} or not set(densities) <= set(SIDES):
        raise ValueError("sides are missing or unknown")
    return Kept(densities, statistics)


def _row(values: Any, length: int | None) -> NDArray[np.float64]:
    row = np.asarray(values, dtype=np.float64)
    if row.ndim != 1 or not np.isfinite(row).all() or length not in (None, len(row)):
        raise ValueError("not a row of numbers of the right length")
    return row
