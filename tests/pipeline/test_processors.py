"""Processors and memory that a job may use."""

from __future__ import annotations

import os

import pytest

from bids_ihf.pipeline import process


def test_processors_from_scheduler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "5")
    assert process.available_processors() == 5


def test_processors_from_affinity(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SLURM_CPUS_PER_TASK", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {1, 4, 6})
    assert process.available_processors() == 3


@pytest.mark.parametrize(("granted", "gb"), [("2048", 2.0), ("512", 0.5)])
def test_memory_from_scheduler(granted: str, gb: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_MEM_PER_NODE", granted)
    assert process.available_memory_gb() == gb
