"""What a pass through a network takes, counted and not timed: arithmetic, bytes, allocations."""

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
class Work:
    """Counts of one pass.

    multiply_adds: of convolutions and matrix products, which are nearly all arithmetic there is.
    moved: bytes that the operations read and write, each by itself, as if there were no caches.
    allocated: bytes of all tensors that are made, whether or not at the same time.
    """

    multiply_adds: int
    moved: int
    allocated: int

    def times(self, factor: float) -> Work:
        """The work of so many passes."""
        scaled = (self.multiply_adds, self.moved, self.allocated)
        return Work(*(round(factor * count) for count in scaled))


def count_work(run: Callable[[], Any]) -> Work:
    """Call ``run`` and count what torch does for it, without gradients.

    On the meta device nothing is computed, and the counts are the same.
    """
    # Not in inference mode: convolutions would pass as one opaque operation there.
    with torch.no_grad(), _Counter() as counter:
        run()
    return Work(counter.flops // 2, counter.moved, counter.allocated)


class _Counter(TorchDispatchMode):
    """Looks at every operation that reaches a device."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.flops = self.moved = self.allocated = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        counted = flop_registry.get(func._overloadpacket)
        if counted is not None:
            self.flops += counted(*args, **kwargs, out_val=out)
        read, written = (_tensors(part) for part in ((args, kwargs), out))
        known = {_storage(tensor) for tensor in read}
        made = [tensor for tensor in written if _storage(tensor) not in known]
        if made or func._schema.is_mutable:  # else it is a view, which moves nothing
            self.moved += sum(map(_size, (*read, *written)))
        self.allocated += sum(map(_size, made))
        return out


def _tensors(tree: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, torch.Tensor)]


def _storage(tensor: Tensor) -> int:
    """What tells memory apart, also on the meta device, where nothing has an address."""
    return int(tensor.untyped_storage()._cdata)


def _size(tensor: Tensor) -> int:
    """Bytes of a tensor; what is repeated without being stored counts once."""
    return min(tensor.numel() * tensor.element_size(), tensor.untyped_storage().nbytes())
