"""Options of ``ihf demo-data``."""

from __future__ import annotations

from argparse import ArgumentTypeError

import pytest

from bids_ihf.lab.commands.demo_data import voxel_size


@pytest.mark.parametrize("size", ["0", "-2", "nan", "large"])
def test_voxels_of_demo_data_have_a_size(size: str) -> None:
    with pytest.raises(ArgumentTypeError, match="no voxel size"):
        voxel_size(size)
