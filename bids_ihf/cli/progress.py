"""How far a run is: a bar on a terminal, plain log lines elsewhere."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING, Any, Self

from bids_ihf.workflow.log import NOTICE

if TYPE_CHECKING:
    from bids_ihf.workflow.plan import Task

LOGGER = logging.getLogger(__name__)


class Progress:
    """Counts finished images; a bar would fill the logs of a batch job with control characters."""

    def __init__(self, total: int) -> None:
        self.total, self.count = total, 0
        self._bar: Any = None

    def __enter__(self) -> Self:
        if sys.stderr.isatty():
            from tqdm import tqdm

            self._bar = tqdm(total=self.total, unit="image", file=sys.stderr, dynamic_ncols=True)
        return self

    def __exit__(self, *_error: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def step(self, task: Task, status: str) -> None:
        """One more image is through; ``status`` is ``end`` or ``exception``."""
        self.count += 1
        if self._bar is not None:
            self._bar.set_postfix_str(task.name)
            self._bar.update()
            return
        result = "harmonized" if status == "end" else "failed"
        LOGGER.log(NOTICE, "%d/%d %s: %s", self.count, self.total, task.name, result)
