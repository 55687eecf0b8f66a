"""How far a run is: a bar on a terminal, plain log lines elsewhere."""

from __future__ import annotations

import logging
import sys
import time
from typing import TYPE_CHECKING, Any, Self

from bids_ihf.pipeline.job import HARMONIZE_ACTION
from bids_ihf.pipeline.run_log import NOTICE_LEVEL

if TYPE_CHECKING:
    from bids_ihf.pipeline.batches import Batch
    from bids_ihf.pipeline.job import Job

LOGGER = logging.getLogger(__name__)

STEP_LABELS = {"prepare": "preparing", "harmonize": "harmonizing"}
"""Steps of an image, as the terminal names them."""
PREPARED_FRACTION = 0.5
"""Fraction of an image's work that its preparation is."""
BAR_FORMAT = "{l_bar}{bar}| {n_fmt}/{total_fmt} images, {elapsed}{postfix}"


class Progress:
    """Counts finished images; a bar would fill the logs of a batch job with control characters.

    Participants are looked at as their turn comes. While some are left, the number of images is
    that of the others, in proportion.
    """

    def __init__(self, participants: int) -> None:
        self.participants_left = participants
        self.count = 0
        self._participants, self._expected = participants, 0
        self._start = time.monotonic()
        self._at_work: dict[str, str] = {}
        self._prepared: set[str] = set()
        self._bar: Any = None

    def expect(self, batch: Batch) -> None:
        """Take note of the images of some participants, which come next."""
        self.participants_left -= batch.participants
        self._expected += sum(job.action == HARMONIZE_ACTION for job in batch.jobs)
        if self._bar is not None:
            self._bar.total = self.total
            self._bar.refresh()

    @property
    def total(self) -> int:
        """Images of the run, as far as is known."""
        looked_at = self._participants - self.participants_left
        return round(self._expected * self._participants / max(1, looked_at))

    def __enter__(self) -> Self:
        if sys.stderr.isatty():
            from tqdm import tqdm

            self._bar = tqdm(
                total=self.total, file=sys.stderr, dynamic_ncols=True, bar_format=BAR_FORMAT
            )
        return self

    def __exit__(self, *_error: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def step(self, job: Job, status: str) -> None:
        """Say what became of an image.

        Parameters
        ----------
        job
            The image.
        status
            A stage that it enters (``prepare``, ``harmonize``), ``prepared`` between them, or
            ``end`` or ``exception``, with which it is through.
        """
        is_through = status in ("end", "exception")
        if status in STEP_LABELS:
            self._at_work[job.name] = STEP_LABELS[status]
        else:
            self._at_work.pop(job.name, None)
        if status == "prepared":
            self._prepared.add(job.name)
        if is_through:
            self._prepared.discard(job.name)
            self.count += 1
        left = self.left(time.monotonic() - self._start)
        rest = f"{left} left" if left else ""
        if self._bar is not None:
            shown = ", ".join(text for text in (rest, self.at_work()) if text)
            self._bar.set_postfix_str(shown, refresh=not is_through)
            self._bar.update(int(is_through))
        elif is_through:
            result = "harmonized" if status == "end" else "failed"
            about = "about " if self.participants_left else ""
            counts = f"{self.count}/{about}{self.total}"
            text = ", ".join(text for text in (result, rest) if text)
            LOGGER.log(NOTICE_LEVEL, "%s %s: %s", counts, job.name, text)

    def at_work(self) -> str:
        """The image that began last with its stage, and how many others are at work."""
        if not self._at_work:
            return ""
        name, stage = list(self._at_work.items())[-1]
        others = len(self._at_work) - 1
        return f"{name} {stage}" + (f" and {others} more" if others else "")

    def left(self, seconds: float) -> str:
        """Time left in words, when the images so far took so many seconds; "" where it cannot be
        told.

        Images that are prepared count in part: many are before the first is through.
        """
        if not self.count or self.count >= self.total:
            return ""
        completed = self.count + PREPARED_FRACTION * len(self._prepared)
        rest = seconds / completed * max(0.0, self.total - completed)
        if rest < 90:
            return f"about {rest:.0f} s"
        if rest < 5400:
            return f"about {rest / 60:.0f} min"
        return f"about {rest / 3600:.1f} h"
