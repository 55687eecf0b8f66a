"""Whether harmonization keeps the anatomy: tissues, edges, lesions, scans of the target itself.

All arrays of one call lie on the same 1 mm grid, (X, Y, Z).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import numpy as np
from attrs import frozen
from scipy import ndimage

from bids_ihf.lab.benchmarks.metrics.edges import EdgeShift, edge_shift
from bids_ihf.lab.benchmarks.metrics.lesions import LesionsKept, lesion_kept, neighbours
from bids_ihf.lab.benchmarks.metrics.similarity import rmse, target_range, to_unit_range
from bids_ihf.lab.benchmarks.metrics.tissues import GREY, WHITE, Comparison, tissue_dice

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bids_ihf.lab.simulation.protocol import Modality

PURE = 0.9
"""Share of a tissue in a voxel that stands for it."""


@frozen
class AnatomyKept:
    """What :func:`measure` finds.

    Attributes
    ----------
    dice
        Tissue to Dice with the known labels.
    edges
        Displacement of edges.
    lesions
        Contrast of lesions after over before; NaN without lesions.
    own_change
        Change of a scan harmonized to its own scanner over that of a repeat scan; NaN for others.
    """

    dice: dict[str, Comparison]
    edges: EdgeShift
    lesions: LesionsKept
    own_change: float

    def row(self) -> dict[str, float]:
        """Columns of a table."""
        found = {
            f"dice_{tissue}_{when}": value
            for tissue, pair in self.dice.items()
            for when, value in attrs.asdict(pair).items()
        }
        found |= {f"edge_shift_{name}": value for name, value in attrs.asdict(self.edges).items()}
        found |= {"lesion_kept": self.lesions.overall, "lesion_kept_least": self.lesions.least}
        return found | {"own_change_over_repeat": self.own_change}


def measure(
    before: NDArray[np.floating],
    after: NDArray[np.floating],
    truth_shares: NDArray[np.floating],
    mask: NDArray[np.bool_],
    modality: Modality,
    *,
    lesion: NDArray[np.bool_] | None = None,
    repeat: NDArray[np.floating] | None = None,
    in_plane: bool = False,
) -> AnatomyKept:
    """All measures of one scan before and after harmonization.

    Parameters
    ----------
    before, after
        The scan, in any units; in the same ones where ``repeat`` is given.
    truth_shares
        (3, X, Y, Z), grey matter, white matter and CSF, 0 to 1.
    mask
        Brain.
    lesion
        Lesions of white matter, if any; they and what touches them count as no tissue.
    repeat
        Another scan by the same scanner, where ``after`` was harmonized to that scanner.
    in_plane
        The slices of the third axis are no neighbours: edges and lesions are looked at within
        them.

    Raises
    ------
    ValueError
        The shapes differ, or a part to measure is missing.
    """
    healthy = mask
    kept = LesionsKept(float("nan"), float("nan"))
    if lesion is not None and lesion.any():
        healthy = mask & ~ndimage.binary_dilation(lesion, neighbours(in_plane=in_plane))
        grey, white = (mask & ~lesion & (truth_shares[part] > PURE) for part in (GREY, WHITE))
        kept = lesion_kept(before, after, lesion, white, grey, in_plane=in_plane)
    return AnatomyKept(
        dice=tissue_dice(before, after, truth_shares, healthy, modality),
        edges=edge_shift(before, after, mask, in_plane=in_plane),
        lesions=kept,
        own_change=np.nan if repeat is None else own_change(after, before, repeat, mask),
    )


def own_change(
    harmonized: NDArray[np.floating],
    original: NDArray[np.floating],
    repeat: NDArray[np.floating],
    mask: NDArray[np.bool_],
) -> float:
    """RMSE of a scan's change over that of a repeat scan, both to ``original`` and in its units.

    In the range of the original's 0.1 and 99.9 percentiles inside the mask.  Below 1, harmonizing
    a scan to its own scanner changes less than scanning again does.
    """
    ends = target_range(original, mask)
    ours, same, again = (
        to_unit_range(data[mask], *ends) for data in (harmonized, original, repeat)
    )
    return rmse(ours, same) / rmse(again, same)
