"""Our network beside two other layouts on the slices of one scan, in turns."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from attrs import frozen

from bids_ihf.anat.harmonize import apply_network
from bids_ihf.geometry.slices import slice_stack
from bids_ihf.lab.benchmarks.op_counter import Work, count_work
from bids_ihf.lab.benchmarks.speed.layouts import authors_layout, hierarchyflow_layout
from bids_ihf.lab.benchmarks.speed.machine import Limit, timed

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from bids_ihf.anat.intensity_matching import IntensityMatched
    from bids_ihf.lab.benchmarks.speed.layouts import Layout
    from bids_ihf.network.checkpoint import ModelBundle
    from bids_ihf.targets.network_input import NetworkInput
    from bids_ihf.targets.profile import Profile

BATCHES = (1, 2, 4)
"""Numbers of slices that another layout gets at once; the quickest for it counts."""


@frozen(eq=False)
class Scan:
    """One scan ready for the network, the target, and the slices that show brain."""

    on_grid: NetworkInput
    matched: IntensityMatched
    profile: Profile
    slices: NDArray[np.intp]


class Ours:
    """The shipped network on whole volumes, with everything between array and array."""

    def __init__(self, scan: Scan, model: ModelBundle) -> None:
        self.scan, self.model = scan, model

    def seconds(self) -> float:
        """Of one volume."""
        given, model = self.scan, self.model
        return timed(
            lambda: apply_network(given.matched, model, slices=given.slices), model.device.type
        )

    def work(self) -> Work:
        """Of one volume, slice by slice."""
        from bids_ihf.network.flow import IHFNetwork

        height, width, _ = self.scan.on_grid.grid.shape
        with torch.device("meta"):
            network = IHFNetwork(self.model.network.architecture)
            embedding = torch.empty(1, network.architecture.embedding)
            x, mask = torch.empty(1, 3, height, width), torch.empty(1, 1, height, width)
        one = count_work(lambda: network(x, mask, embedding, embedding))
        return one.times(len(self.scan.slices))


class Other:
    """Another layout, on a few slices from the middle of the volume, scaled to all of them."""

    def __init__(self, scan: Scan, make: Callable[[], Layout], device: str) -> None:
        self.scan, self.make, self.device = scan, make, device
        self.layout = make().to(device)
        self.style = torch.rand(max(BATCHES), self.layout.style, device=device)
        self.seconds(1)  # the first call prepares the weights
        self.batch = min(BATCHES, key=self.seconds)

    def seconds(self, batch: int | None = None) -> float:
        """Of one volume."""
        size = min(batch or self.batch, len(self.scan.slices))
        start = (len(self.scan.slices) - size) // 2
        middle = self.scan.slices[start : start + size]
        x = torch.from_numpy(slice_stack(self.scan.matched.data, middle.tolist()))

        def run() -> torch.Tensor:
            with torch.inference_mode():
                return self.layout(x.to(self.device), self.style[:size]).cpu()

        return timed(run, self.device) * len(self.scan.slices) / size

    def work(self) -> Work:
        """Of one volume."""
        height, width, _ = self.scan.on_grid.grid.shape
        with torch.device("meta"):
            layout = self.make()
            x, style = torch.empty(1, 3, height, width), torch.empty(1, layout.style)
        return count_work(lambda: layout(x, style)).times(len(self.scan.slices))


def compare(scan: Scan, model: ModelBundle, rounds: int) -> dict[str, Any]:
    """Seconds a volume of the three, median of ``rounds`` in which they take turns."""
    device = model.device.type
    others = {
        "authors_layout": Other(scan, authors_layout, device),
        "hierarchyflow_layout": Other(scan, hierarchyflow_layout, device),
    }
    contestants: dict[str, Ours | Other] = {"network": Ours(scan, model), **others}
    contestants["network"].seconds()  # the others had their first calls when they were made
    turns = [{name: one.seconds() for name, one in contestants.items()} for _ in range(rounds)]
    seconds = {name: [turn[name] for turn in turns] for name in contestants}
    found: dict[str, Any] = {
        f"{name}_s_per_volume": median(times) for name, times in seconds.items()
    }
    found |= {f"{name}_rounds_s": times for name, times in seconds.items()}
    for name in ("authors_layout", "hierarchyflow_layout"):
        pairs = zip(seconds[name], seconds["network"], strict=True)
        found[f"{name}_over_network"] = median(theirs / ours for theirs, ours in pairs)
        found[f"{name}_batch"] = others[name].batch
    found |= {
        f"{name}_gigamultiplyadds_per_volume": one.work().multiply_adds / 1e9
        for name, one in contestants.items()
    }
    x, y, _ = scan.on_grid.grid.shape
    return found | {"slices": len(scan.slices), "slice_size": [x, y]}


def against_limit(
    scan: Scan, model: ModelBundle, seconds: float, limit: Limit
) -> dict[str, float]:
    """The network's counts, and which share of the machine's best speed it reaches."""
    work = Ours(scan, model).work()
    arithmetic = work.multiply_adds / limit.multiply_adds
    memory = work.moved / limit.bytes
    return {
        "matrix_gigamultiplyadds_per_s": limit.multiply_adds / 1e9,
        "memory_gigabytes_per_s": limit.bytes / 1e9,
        "network_gigamultiplyadds": work.multiply_adds / 1e9,
        "network_gigabytes_moved": work.moved / 1e9,
        "arithmetic_alone_s": arithmetic,
        "memory_alone_s": memory,
        "fraction_of_matrix_throughput": arithmetic / seconds,
        "fraction_of_memory_bandwidth": memory / seconds,
    }
