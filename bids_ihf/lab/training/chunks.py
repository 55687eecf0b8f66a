"""Batches by step from a sampler that makes several of them at once, in other processes too."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeVar

import torch
from torch.utils.data import DataLoader, Dataset

if TYPE_CHECKING:
    from collections.abc import Iterator

B = TypeVar("B")


class ChunkSampler(Protocol[B]):
    """Makes the batches of several steps at once; a chunk depends on its number alone."""

    @property
    def steps_per_chunk(self) -> int:
        """Batches of a chunk."""

    def chunk(self, number: int) -> list[B]:
        """The batches of a chunk."""


class _Chunks(Dataset[list[B]]):
    def __init__(self, sampler: ChunkSampler[B], first: int, stop: int) -> None:
        self.sampler, self.first, self.stop = sampler, first, stop

    def __len__(self) -> int:
        return self.stop - self.first

    def __getitem__(self, index: int) -> list[B]:
        return self.sampler.chunk(self.first + index)


def numbered_batches(
    sampler: ChunkSampler[B], first: int, steps: int, processes: int
) -> Iterator[tuple[int, B]]:
    """Every step from ``first`` until ``steps`` with its batch.

    With several processes, they make the chunks while the caller trains.
    """
    length = sampler.steps_per_chunk
    if processes > 1:
        # The tensors of many chunks would exceed the number of files that may be open.
        torch.multiprocessing.set_sharing_strategy("file_system")
    chunks = _Chunks(sampler, first // length, -(-steps // length))
    # Without a batch size, chunks come as they are made, in order.
    loader = DataLoader(chunks, batch_size=None, num_workers=processes if processes > 1 else 0)
    step = first - first % length
    for chunk in loader:
        for batch in chunk:
            if first <= step < steps:
                yield step, batch
            step += 1
