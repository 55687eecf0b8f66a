"""Statistics of a harmonized anatomical scan, for quality control."""

from __future__ import annotations

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from bids_ihf.anat.intensity_matching import IntensityMatched
from bids_ihf.network.checkpoint import ModelBundle
from bids_ihf.targets.landmarks import SliceStatistics
from bids_ihf.targets.network_input import clip_to_network_range, position_statistics
from bids_ihf.targets.profile import Profile, position_centre


@frozen(eq=False)
class QCStatistics:
    """Statistics of a scan, its harmonization and the target, each in its network units.

    ``change`` is the root mean square of the result minus the scan in the brain, network units:
    the change apart from that of the units.  ``distances`` are root mean square differences of
    embeddings to those of the target, before and after, at slice positions that the target covers.
    """

    before: Profile
    after: SliceStatistics
    target: Profile
    change: float
    distances: tuple[float, float]


def qc_statistics(
    matched: IntensityMatched,
    result: NDArray[np.float32],
    model: ModelBundle,
    slices: NDArray[np.intp] | None = None,
    threads: int = 1,
) -> QCStatistics:
    """Statistics of a result (X, Y, Z), in network units of the target, and of the scan it was
    made from.  ``slices`` are the harmonized axial slices (default: all that contain brain);
    ``threads`` batches of them are in the encoder at a time."""
    network_input, before, target = matched.network_input, matched.original, matched.target
    clipped = clip_to_network_range(result)
    after = position_statistics(clipped, network_input, model.encoder, threads=threads)
    covered = np.isin(before.positions, target.positions)
    compared = covered if covered.any() else ~covered
    reference = target.embeddings_at(position_centre(before.positions[compared]))
    harmonized = np.zeros(network_input.grid.shape[2], dtype=bool)
    harmonized[network_input.brain_slices if slices is None else slices] = True
    brain = network_input.brain & harmonized
    original = network_input.scale.normalize(network_input.data[brain])
    change = clipped[brain] - clip_to_network_range(original)
    return QCStatistics(
        before=before,
        after=after,
        target=target,
        change=float(np.sqrt(np.mean(np.square(change, dtype=np.float64)))),
        distances=(
            _rms(before.embeddings[compared] - reference),
            _rms(after.embeddings[compared] - reference),
        ),
    )


def _rms(values: NDArray[np.float32]) -> float:
    return float(np.sqrt(np.mean(values**2)))
