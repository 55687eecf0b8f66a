"""How busy the GPU is while participants are processed."""

from __future__ import annotations

import subprocess
from contextlib import suppress

from attrs import define, field

from bids_ihf.lab.benchmarks.speed.processes import SamplingThread

UTILIZATION_QUERY = (
    "nvidia-smi", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits",
)  # fmt: skip
"""Prints for each GPU in how many per cent of the last moment, at most a second, it computed."""


@define
class GpuWatch(SamplingThread):
    """Samples how busy the first GPU is, %; nothing where there is none.

    >>> GpuWatch([0, 80, 0, 100]).idle_fraction
    0.5
    """

    samples: list[int] = field(factory=list)

    @property
    def idle_fraction(self) -> float | None:
        """Portion of the samples in which the GPU computed nothing; None without any."""
        return self.samples.count(0) / len(self.samples) if self.samples else None

    def sample(self) -> None:
        """Ask nvidia-smi."""
        with suppress(OSError, subprocess.CalledProcessError, ValueError, IndexError):
            shown = subprocess.run(  # noqa: S603 - a fixed command
                UTILIZATION_QUERY, check=True, capture_output=True, text=True
            ).stdout
            self.samples.append(int(shown.split()[0]))
