"""How busy the GPU is while participants are processed."""

from __future__ import annotations

import subprocess
from threading import Event, Thread
from typing import Self

UTILIZATION_QUERY = (
    "nvidia-smi", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits",
)  # fmt: skip
"""Prints for each GPU in how many per cent of the last moment, at most a second, it computed."""

SAMPLE_INTERVAL_S = 0.2
"""Pause between two samples."""


class GpuWatch:
    """Samples the first GPU from its start until its end.

    >>> watch = GpuWatch()
    >>> watch.samples += [0, 80, 0, 100]
    >>> watch.idle_fraction
    0.5
    """

    def __init__(self) -> None:
        self.samples: list[int] = []
        self._ended = Event()
        self._thread = Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    @property
    def idle_fraction(self) -> float | None:
        """Portion of the samples in which the GPU computed nothing; None without any."""
        return self.samples.count(0) / len(self.samples) if self.samples else None

    def _watch(self) -> None:
        while not self._ended.wait(SAMPLE_INTERVAL_S):
            try:
                shown = subprocess.run(  # noqa: S603 - a fixed command
                    UTILIZATION_QUERY, check=True, capture_output=True, text=True
                ).stdout
                self.samples.append(int(shown.split()[0]))
            except (OSError, subprocess.CalledProcessError, ValueError, IndexError):
                return
