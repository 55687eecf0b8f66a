"""The methods of the anatomy benchmark: each harmonizes the measured slices of one scan."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
from attrs import field, frozen

from bids_ihf.lab.benchmarks.vendors.methods import (
    HISTOGRAM_MATCHING,
    network_steps,
    run_baseline,
    run_comparators,
    target_scan,
)
from bids_ihf.lab.benchmarks.virtual_subjects import SLICE_SPACING_MM, select_slices
from bids_ihf.targets.source_profile import SourceProfile

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from bids_ihf.lab.benchmarks.vendors.cases import VendorKnowledge
    from bids_ihf.lab.benchmarks.vendors.methods import Images
    from bids_ihf.lab.benchmarks.virtual_subjects import Slices
    from bids_ihf.lab.comparators.learned.weights import LoadedComparator
    from bids_ihf.network.checkpoint import ModelBundle
    from bids_ihf.targets.network_input import NetworkInput


@frozen
class TrainedMethods:
    """Networks, and comparators with a file for each modality, by the name in the tables."""

    networks: Mapping[str, ModelBundle]
    comparators: Mapping[str, Sequence[LoadedComparator]] = field(factory=dict)


def harmonize_slices(
    on_grid: NetworkInput,
    slices: NDArray[np.intp],
    pair: tuple[str, str],
    vendors: Mapping[str, VendorKnowledge],
    trained: TrainedMethods,
) -> Images:
    """Axial slices (X, Y, S) of a scan in the target's units, by method.

    Parameters
    ----------
    on_grid
        The scan.
    slices
        Indices on its third axis, (S,).
    pair
        Vendor of the scan, which the methods may know, and of the target.
    vendors
        What is known of both, for the scan's modality.
    """
    source, target = pair
    known = vendors[target]
    frame = at_reference_heights(select_slices(on_grid, slices))
    images: Images = {HISTOGRAM_MATCHING: run_baseline(HISTOGRAM_MATCHING, frame, known.reference)}
    images |= network_steps(
        on_grid, slices, known.profile, trained.networks, SourceProfile(vendors[source].profile)
    )
    reference = target_scan(target, known.reference.slices, known.profile, frame)
    return images | run_comparators(on_grid, slices, reference, trained.comparators, source)


def at_reference_heights(slices: Slices) -> Slices:
    """The slices with the heights of the nearest ones that reference scans have, 1 mm away at
    most."""
    nearest = (slices.z + SLICE_SPACING_MM // 2) // SLICE_SPACING_MM * SLICE_SPACING_MM
    return attrs.evolve(slices, z=nearest)
