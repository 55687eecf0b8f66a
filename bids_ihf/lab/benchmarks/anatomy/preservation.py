"""Metrics of anatomy preservation: tissues, edges, lesions, and harmonizing to the same scanner.

All arrays of one call lie on the same 1 mm grid, (X, Y, S); each slice of the third axis is
measured by itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import numpy as np
from attrs import frozen
from scipy import ndimage

from bids_ihf.lab.benchmarks.metrics.edges import EdgeShift, edge_shift
from bids_ihf.lab.benchmarks.metrics.lesions import (
    IN_PLANE_CROSS,
    LesionRetention,
    lesion_retention,
)
from bids_ihf.lab.benchmarks.metrics.tissues import BeforeAfter, Tissue, tissue_dice
from bids_ihf.qc.similarity import intensity_range, rmse, to_unit_range

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bids_ihf.bids.names import Modality

MIN_PURE_FRACTION = 0.9
"""Fraction of a tissue above which a voxel represents it."""


@frozen
class AnatomyPreservation:
    """What :func:`anatomy_preservation` measures.

    Attributes
    ----------
    dice
        Dice with the reference segmentation, by tissue.
    edges
        Displacement of edges.
    lesions
        Lesion contrast, after over before; NaN without lesions.
    change_over_repeat
        Change of a scan harmonized to its own scanner over that of a repeat scan; NaN for other
        targets.
    """

    dice: dict[str, BeforeAfter]
    edges: EdgeShift
    lesions: LesionRetention
    change_over_repeat: float

    def row(self) -> dict[str, float]:
        """Columns of a table."""
        columns = {
            f"dice_{tissue}_{when}": value
            for tissue, pair in self.dice.items()
            for when, value in attrs.asdict(pair).items()
        }
        columns |= {
            f"edge_shift_{name}": shift for name, shift in attrs.asdict(self.edges).items()
        }
        columns |= {"lesion_kept": self.lesions.overall, "lesion_kept_least": self.lesions.worst}
        return columns | {"own_change_over_repeat": self.change_over_repeat}


def anatomy_preservation(
    before: NDArray[np.floating],
    after: NDArray[np.floating],
    fractions: NDArray[np.floating],
    mask: NDArray[np.bool_],
    modality: Modality,
    *,
    lesion: NDArray[np.bool_] | None = None,
    repeat: NDArray[np.floating] | None = None,
) -> AnatomyPreservation:
    """All metrics of one scan before and after harmonization.

    Parameters
    ----------
    before, after
        The scan, in any units; in the same ones if ``repeat`` is given.
    fractions
        Reference fractions of grey matter, white matter and CSF, (3, X, Y, S), 0 to 1.
    mask
        Brain.
    lesion
        White-matter lesions; they and adjacent voxels are excluded from the tissues.
    repeat
        Another scan by the same scanner, if ``after`` was harmonized to that scanner.

    Raises
    ------
    ValueError
        The shapes differ, or a tissue to measure is missing.
    """
    healthy = mask
    lesions = LesionRetention(float("nan"), float("nan"))
    if lesion is not None and lesion.any():
        healthy = mask & ~ndimage.binary_dilation(lesion, IN_PLANE_CROSS)
        white, grey = (
            mask & ~lesion & (fractions[tissue] > MIN_PURE_FRACTION)
            for tissue in (Tissue.WHITE, Tissue.GREY)
        )
        lesions = lesion_retention(before, after, lesion, white, grey)
    return AnatomyPreservation(
        dice=tissue_dice(before, after, fractions, healthy, modality),
        edges=edge_shift(before, after, mask),
        lesions=lesions,
        change_over_repeat=(
            np.nan if repeat is None else change_over_repeat(after, before, repeat, mask)
        ),
    )


def change_over_repeat(
    harmonized: NDArray[np.floating],
    original: NDArray[np.floating],
    repeat: NDArray[np.floating],
    mask: NDArray[np.bool_],
) -> float:
    """RMSE between harmonized and original scan over that between repeat and original scan.

    All are scaled by the original's 0.1 and 99.9 percentiles inside the mask.  Below 1,
    harmonizing a scan to its own scanner changes it less than repeating the scan does.
    """
    limits = intensity_range(original, mask)
    new, old, again = (
        to_unit_range(image[mask], *limits) for image in (harmonized, original, repeat)
    )
    return rmse(new, old) / rmse(again, old)
