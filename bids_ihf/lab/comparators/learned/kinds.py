"""The papers whose networks can be trained for comparison."""

from __future__ import annotations

from typing import Literal, get_args

ComparatorKind = Literal["murd", "cgan", "simix", "hierarchy-flow", "ihf-printed", "cyclegan"]

COMPARATOR_KINDS: tuple[ComparatorKind, ...] = get_args(ComparatorKind)
