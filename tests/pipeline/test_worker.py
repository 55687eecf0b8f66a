from __future__ import annotations

import os

import pytest

from bids_ihf.pipeline.process import set_up_process


def test_threads_of_libraries_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS", "ANTS_RANDOM_SEED", "OMP_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    set_up_process(0)
    assert os.environ["OMP_NUM_THREADS"] == "1"
    assert os.environ["ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"] == "1"
