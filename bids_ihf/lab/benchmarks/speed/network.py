"""Our network and two other layouts on the slices of one scan, in turns."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from attrs import frozen

from bids_ihf.anat.harmonize import apply_network
from bids_ihf.geometry.slices import slice_stack
from bids_ihf.lab.benchmarks.op_counter import OpCount, count_operations
from bids_ihf.lab.benchmarks.speed.layouts import authors_layout, hierarchyflow_layout
from bids_ihf.lab.benchmarks.speed.machine import MachineLimit, timed
from bids_ihf.network.context import CONTEXT_SIZE
from bids_ihf.network.flow import IHFNetwork

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from bids_ihf.anat.intensity_matching import IntensityMatched
    from bids_ihf.lab.benchmarks.speed.layouts import Layout
    from bids_ihf.network.checkpoint import ModelBundle

BATCH_SIZES = (1, 2, 4)
"""Numbers of slices that another layout gets at once; the fastest for it is used."""


@frozen(eq=False)
class NetworkCase:
    """One scan ready for the network, and the slices that contain brain."""

    matched: IntensityMatched
    slices: NDArray[np.intp]

    @property
    def slice_shape(self) -> tuple[int, int]:
        """Voxels of a slice."""
        height, width, _ = self.matched.network_input.grid.shape
        return height, width


class OurNetwork:
    """The shipped network on whole volumes, from array to array."""

    def __init__(self, case: NetworkCase, model: ModelBundle) -> None:
        self.case, self.model = case, model

    def seconds(self) -> float:
        """Time of one volume."""
        case, model = self.case, self.model
        return timed(
            lambda: apply_network(case.matched, model, slices=case.slices), model.device.type
        )

    def operations(self) -> OpCount:
        """Operations of one volume, slice by slice."""
        height, width = self.case.slice_shape
        with torch.device("meta"):
            network = IHFNetwork(self.model.network.architecture)
            embedding = torch.empty(1, network.architecture.embedding)
            x, mask = torch.empty(1, 3, height, width), torch.empty(1, 1, height, width)
            context = torch.empty(1, CONTEXT_SIZE)
        per_slice = count_operations(lambda: network(x, mask, embedding, embedding, context))
        return per_slice.times(len(self.case.slices))


class OtherLayout:
    """Another layout on the central slices of the volume, scaled to all of them."""

    def __init__(self, case: NetworkCase, make: Callable[[], Layout], device: str) -> None:
        self.case, self.make, self.device = case, make, device
        self.layout = make().to(device)
        self.style = torch.rand(max(BATCH_SIZES), self.layout.style, device=device)
        self.seconds(1)  # the first call prepares the weights
        self.batch = min(BATCH_SIZES, key=self.seconds)

    def seconds(self, batch: int | None = None) -> float:
        """Time of one volume."""
        size = min(batch or self.batch, len(self.case.slices))
        start = (len(self.case.slices) - size) // 2
        central = self.case.slices[start : start + size]
        x = torch.from_numpy(slice_stack(self.case.matched.data, central.tolist()))

        def run() -> torch.Tensor:
            with torch.inference_mode():
                return self.layout(x.to(self.device), self.style[:size]).cpu()

        return timed(run, self.device) * len(self.case.slices) / size

    def operations(self) -> OpCount:
        """Operations of one volume."""
        height, width = self.case.slice_shape
        with torch.device("meta"):
            layout = self.make()
            x, style = torch.empty(1, 3, height, width), torch.empty(1, layout.style)
        return count_operations(lambda: layout(x, style)).times(len(self.case.slices))


def compare_layouts(case: NetworkCase, model: ModelBundle, rounds: int) -> dict[str, Any]:
    """Time per volume of the three, the median of ``rounds`` in which they take turns."""
    device = model.device.type
    layouts = {
        "authors_layout": OtherLayout(case, authors_layout, device),
        "hierarchyflow_layout": OtherLayout(case, hierarchyflow_layout, device),
    }
    networks: dict[str, OurNetwork | OtherLayout] = {"network": OurNetwork(case, model), **layouts}
    networks["network"].seconds()  # the layouts had their first calls when they were made
    turns = [
        {name: network.seconds() for name, network in networks.items()} for _ in range(rounds)
    ]
    seconds = {name: [turn[name] for turn in turns] for name in networks}
    results: dict[str, Any] = {
        f"{name}_s_per_volume": median(times) for name, times in seconds.items()
    }
    results |= {f"{name}_rounds_s": times for name, times in seconds.items()}
    for name, layout in layouts.items():
        pairs = zip(seconds[name], seconds["network"], strict=True)
        results[f"{name}_over_network"] = median(slow / fast for slow, fast in pairs)
        results[f"{name}_batch"] = layout.batch
    results |= {
        f"{name}_gigamultiplyadds_per_volume": network.operations().multiply_adds / 1e9
        for name, network in networks.items()
    }
    return results | {"slices": len(case.slices), "slice_size": list(case.slice_shape)}


def compare_to_limit(
    case: NetworkCase, model: ModelBundle, seconds: float, limit: MachineLimit
) -> dict[str, float]:
    """The network's operations, and the fraction of the machine's peak rates it reaches."""
    operations = OurNetwork(case, model).operations()
    arithmetic_s = operations.multiply_adds / limit.multiply_adds_per_s
    memory_s = operations.bytes_moved / limit.bytes_per_s
    return {
        "matrix_gigamultiplyadds_per_s": limit.multiply_adds_per_s / 1e9,
        "memory_gigabytes_per_s": limit.bytes_per_s / 1e9,
        "network_gigamultiplyadds": operations.multiply_adds / 1e9,
        "network_gigabytes_moved": operations.bytes_moved / 1e9,
        "arithmetic_alone_s": arithmetic_s,
        "memory_alone_s": memory_s,
        "fraction_of_matrix_throughput": arithmetic_s / seconds,
        "fraction_of_memory_bandwidth": memory_s / seconds,
    }
