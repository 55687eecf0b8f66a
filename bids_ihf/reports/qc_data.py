"""What reports need of one image beside its figures: tissue densities and mean encoder statistics.

A participant's job writes them as JSON, so that no page needs an image again.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from bids_ihf.bids.harmonized_images import HarmonizedImage
from bids_ihf.qc.measures import BIN_WIDTH, TISSUE_NAMES
from bids_ihf.targets.intensity import HISTOGRAM_BINS, HISTOGRAM_RANGE

if TYPE_CHECKING:
    from bids_ihf.anat.qc_statistics import QCStatistics

LOGGER = logging.getLogger(__name__)

BEFORE_AFTER = ("before", "after")
MAX_DENSITY_INTENSITY = 1.25
"""End of the densities, relative to the brain's 99.9th percentile; the last bin is open."""
MERGED_BINS = 4
"""Histogram bins merged into one bin of a density."""
DENSITY_BINS = round(MAX_DENSITY_INTENSITY / (MERGED_BINS * BIN_WIDTH))
"""Bins of a density, from no signal to `MAX_DENSITY_INTENSITY`."""
SIGNIFICANT_DIGITS = 4


@frozen(eq=False)
class QCData:
    """Intensity densities and encoder embeddings of one image, before and after harmonization.

    `densities` are by stage (before, after, target), then tissue: fraction of the brain's voxels
    in each bin of intensity, from 0 to 1.25 times the 99.9th percentile of the brain,
    (DENSITY_BINS,).  The tissues of a stage sum to 1; a stage without tissues is absent.
    `embeddings` are by stage (before, after): encoder statistics averaged over slice positions,
    (E,).
    """

    densities: Mapping[str, Mapping[str, NDArray[np.float64]]]
    embeddings: Mapping[str, NDArray[np.float64]]

    @classmethod
    def from_statistics(cls, statistics: QCStatistics) -> QCData:
        """Summarize what harmonization measured, rounded to `SIGNIFICANT_DIGITS`."""
        densities, embeddings = {}, {}
        for stage in (*BEFORE_AFTER, "target"):
            measured = getattr(statistics, stage)
            if measured.tissue_histograms.any():
                rows = _round(tissue_densities(measured.tissue_histograms))
                densities[stage] = dict(zip(TISSUE_NAMES, rows, strict=True))
            if stage in BEFORE_AFTER:
                embeddings[stage] = _round(measured.embeddings.mean(axis=0))
        return cls(densities, embeddings)

    @classmethod
    def from_json(cls, text: str) -> QCData:
        """Parse :meth:`to_json`; for anything else raise KeyError, ValueError, TypeError or
        AttributeError."""
        content = json.loads(text)
        densities = {
            stage: {tissue: _parse_row(row, DENSITY_BINS) for tissue, row in rows.items()}
            for stage, rows in content["Densities"].items()
        }
        embeddings = {stage: _parse_row(row) for stage, row in content["Statistics"].items()}
        if set(embeddings) != set(BEFORE_AFTER) or not set(densities) <= {*BEFORE_AFTER, "target"}:
            raise ValueError("stages are missing or unknown")
        return cls(densities, embeddings)

    def to_json(self) -> str:
        """Return compact JSON."""
        content = {
            "Description": "Densities of intensities in shares of the brain's 99.9th percentile, "
            "by tissue, and mean encoder statistics; read by the reports",
            "Top": MAX_DENSITY_INTENSITY,
            "Densities": self.densities,
            "Statistics": self.embeddings,
        }
        return json.dumps(content, separators=(",", ":"), default=np.ndarray.tolist) + "\n"


def mean_density(images: Sequence[QCData], stage: str) -> NDArray[np.float64]:
    """Return the mean density (DENSITY_BINS,) of the brain, all tissues together."""
    tissues = [list(image.densities[stage].values()) for image in images]
    return np.asarray(np.mean(tissues, axis=0).sum(axis=0))


def tissue_densities(histograms: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rebin tissue histograms (3, HISTOGRAM_BINS) to densities (3, DENSITY_BINS) that sum to 1,
    intensities beyond the range in the outermost bins."""
    first = round(-(HISTOGRAM_RANGE[0] / 2 + 0.5) / BIN_WIDTH)
    bins = np.clip((np.arange(HISTOGRAM_BINS) - first) // MERGED_BINS, 0, DENSITY_BINS - 1)
    rows = [np.bincount(bins, weights=row, minlength=DENSITY_BINS) for row in histograms]
    return np.stack(rows) / max(float(histograms.sum()), 1e-9)


def _round(rows: NDArray[np.floating]) -> NDArray[np.float64]:
    return np.vectorize(lambda value: float(f"{value:.{SIGNIFICANT_DIGITS}g}"))(rows)


def _parse_row(values: Any, length: int | None = None) -> NDArray[np.float64]:
    row = np.asarray(values, dtype=np.float64)
    if row.ndim != 1 or not np.isfinite(row).all() or length not in (None, len(row)):
        raise ValueError("not a row of numbers of the expected length")
    return row


def qc_data_name(stem: str, suffix: str) -> str:
    """Return the file name of an image's QC data, beside its figures."""
    return f"{stem}_desc-evidence_{suffix}.json"


def read_qc_data(out_dir: Path, image: HarmonizedImage) -> QCData | None:
    """Read the QC data of an image; None if there are none, or, with a warning, if unreadable."""
    name = qc_data_name(image.stem, image.suffix)
    path = out_dir / f"sub-{image.subject}" / "figures" / name
    try:
        return QCData.from_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        LOGGER.warning("%s is not included in the report: %s", path, error)
        return None
