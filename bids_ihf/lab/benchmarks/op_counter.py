"""Cost of a pass through a network, counted and not timed: arithmetic, bytes, allocations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from attrs import frozen
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor


@frozen
class OpCount:
    """Counts of one pass.

    Attributes
    ----------
    multiply_adds
        Of convolutions and matrix products, which are nearly all of the arithmetic.
    bytes_moved
        Bytes that the operations read and write, each counted separately, as if without caches.
    bytes_allocated
        Bytes of all new tensors, whether or not they exist at the same time.
    """

    multiply_adds: int
    bytes_moved: int
    bytes_allocated: int

    def times(self, factor: float) -> OpCount:
        """The counts of so many passes."""
        counts = (self.multiply_adds, self.bytes_moved, self.bytes_allocated)
        return OpCount(*(round(factor * count) for count in counts))


def count_operations(run: Callable[[], Any]) -> OpCount:
    """Call ``run`` and count what torch does for it, without gradients.

    On the meta device nothing is computed, and the counts are the same.
    """
    # Not in inference mode, where convolutions appear as one opaque operation.
    with torch.no_grad(), _Counter() as counter:
        run()
    return OpCount(counter.flops // 2, counter.bytes_moved, counter.bytes_allocated)


class _Counter(TorchDispatchMode):
    """Counts every operation that reaches a device."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.flops = self.bytes_moved = self.bytes_allocated = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        count_flops = flop_registry.get(func._overloadpacket)
        if count_flops is not None:
            self.flops += count_flops(*args, **kwargs, out_val=out)
        inputs, outputs = _tensors((args, kwargs)), _tensors(out)
        input_storages = {_storage(tensor) for tensor in inputs}
        new = [tensor for tensor in outputs if _storage(tensor) not in input_storages]
        if new or func._schema.is_mutable:  # otherwise it is a view, which moves nothing
            self.bytes_moved += sum(map(_size, (*inputs, *outputs)))
        self.bytes_allocated += sum(map(_size, new))
        return out


def _tensors(tree: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, torch.Tensor)]


def _storage(tensor: Tensor) -> int:
    """Identity of a tensor's memory, also on the meta device, where nothing has an address."""
    return int(tensor.untyped_storage()._cdata)


def _size(tensor: Tensor) -> int:
    """Bytes of a tensor; what is repeated without being stored counts once."""
    return min(tensor.numel() * tensor.element_size(), tensor.untyped_storage().nbytes())
