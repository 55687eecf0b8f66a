"""2.5D stacks."""

from __future__ import annotations

import numpy as np

from bids_ihf.geometry.slices import slice_stack


def test_a_slice_stands_between_its_neighbours() -> None:
    data = np.arange(2 * 3 * 4, dtype=np.float32).reshape(2, 3, 4)
    stack = slice_stack(data, [0, 2, 3])
    assert stack.shape == (3, 3, 2, 3)
    for row, planes in zip(stack, [(0, 0, 1), (1, 2, 3), (2, 3, 3)], strict=True):
        for channel, plane in zip(row, planes, strict=True):
            np.testing.assert_array_equal(channel, data[:, :, plane])


def test_a_single_slice_is_its_own_neighbour() -> None:
    data = np.random.default_rng(0).random((4, 5, 1), dtype=np.float32)
    stack = slice_stack(data, [0])
    np.testing.assert_array_equal(stack[0, 0], stack[0, 2])
