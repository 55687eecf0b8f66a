"""Grey matter, white matter and CSF by intensity alone, against the reference segmentation."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

import numpy as np
from attrs import frozen

from bids_ihf.lab.benchmarks.metrics.overlap import dice
from bids_ihf.qc.similarity import intensity_range, to_unit_range

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bids_ihf.bids.names import Modality


class Tissue(IntEnum):
    """Index of a tissue among the reference fractions; deep grey matter is grey."""

    GREY = 0
    WHITE = 1
    CSF = 2


DARK_TO_BRIGHT: dict[str, tuple[Tissue, Tissue, Tissue]] = {
    "T1w": (Tissue.CSF, Tissue.GREY, Tissue.WHITE),
    "T2w": (Tissue.WHITE, Tissue.GREY, Tissue.CSF),
}
"""Tissues in the order of their intensity."""

INITIAL_PERCENTILES: dict[str, tuple[int, int, int]] = {"T1w": (5, 40, 80), "T2w": (20, 65, 97)}
"""Percentiles (%) of the brain's intensities at which the means start, from dark to bright."""

INITIAL_SD = 0.1
"""Standard deviation at which each component starts, of a unit intensity range."""

MAX_FITTED_VOXELS = 50_000
"""Voxels that the mixture is fitted to; of more, every n-th."""

EM_TOLERANCE, MAX_EM_ITERATIONS = 1e-4, 1000
"""The fit ends when an iteration raises the mean log-likelihood of a voxel by less."""

LEVEL_COUNT = 256
"""Levels of the unit intensity range at which the border between two tissues is searched for."""


@frozen
class BeforeAfter:
    """A metric before and after harmonization."""

    before: float
    after: float


def tissue_dice(
    before: NDArray[np.floating],
    after: NDArray[np.floating],
    fractions: NDArray[np.floating],
    mask: NDArray[np.bool_],
    modality: Modality,
) -> dict[str, BeforeAfter]:
    """Dice of each tissue, classified by intensity alone, with the reference segmentation.

    Parameters
    ----------
    before, after, mask
        (X, Y, Z).
    fractions
        Reference fractions (3, X, Y, Z) in the order of :class:`Tissue`; a voxel belongs to the
        tissue with the largest one.
    """
    reference = fractions[:, mask].argmax(axis=0)
    old, new = (classify(image[mask], modality) for image in (before, after))
    return {
        tissue.name.lower(): BeforeAfter(
            dice(old == tissue, reference == tissue), dice(new == tissue, reference == tissue)
        )
        for tissue in Tissue
    }


def classify(intensities: NDArray[np.floating], modality: Modality) -> NDArray[np.intp]:
    """Tissue (N,) of brain intensities (N,), an index of :class:`Tissue`.

    A Gaussian mixture of three components is fitted between the 0.1 and 99.9 percentiles; the
    tissues are identified by the order of their means.

    Raises
    ------
    ValueError
        All intensities are equal.
    """
    from sklearn.mixture import GaussianMixture

    low, high = intensity_range(intensities, np.ones(intensities.shape, dtype=bool))
    unit = to_unit_range(intensities, low, high)
    mixture = GaussianMixture(
        3,
        init_params="random_from_data",  # unused, as all parameters are given; spares k-means
        random_state=0,
        tol=EM_TOLERANCE,
        max_iter=MAX_EM_ITERATIONS,
        means_init=np.percentile(unit, INITIAL_PERCENTILES[modality])[:, None],
        weights_init=np.full(3, 1 / 3),
        precisions_init=np.full((3, 1, 1), INITIAL_SD**-2),
    ).fit(unit[:: -(-len(unit) // MAX_FITTED_VOXELS), None])
    order = mixture.means_[:, 0].argsort()
    means = mixture.means_[order, 0]
    levels = np.linspace(0, 1, LEVEL_COUNT)
    probability = mixture.predict_proba(levels[:, None])[:, order]
    borders = []
    for dark in (0, 1):
        between = (levels >= means[dark]) & (levels <= means[dark + 1])
        brighter = levels[between & (probability[:, dark + 1] > probability[:, dark])]
        borders.append(float(brighter[0]) if len(brighter) else float(means[dark + 1]))
    return np.array(DARK_TO_BRIGHT[modality])[np.digitize(unit, [borders[0], max(borders)])]
