"""Batches beside each other, on a CPU with more than one processor for an image."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import torch


@contextmanager
def batch_threads(device: torch.device, threads: int) -> Iterator[Callable[..., Iterator[Any]]]:
    """What maps a function over batches, in their order, as ``map`` does; on a CPU ``threads`` of
    them run at a time, each in one thread of torch, so that their number does not change a bit."""
    if threads == 1 or device.type != "cpu":
        yield map
        return
    # New threads would take all cores for each sum.
    with ThreadPoolExecutor(threads, "batch", torch.set_num_threads, (1,)) as pool:
        yield pool.map
