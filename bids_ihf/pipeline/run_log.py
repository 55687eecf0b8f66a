"""Logging to the terminal and to each subject's own log file, from any process."""

from __future__ import annotations

import json
import logging
import os
import sys
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING

from bids_ihf.config import RunConfig

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

NOTICE = 25
"""Between INFO and WARNING: what a user who asked for nothing still wants to read."""
LOG_NAME = "ihf_harmony.log"
RUN = "IHF_HARMONY_RUN"
"""Environment variable by which the jobs of a batch system know the run they belong to."""
_SUBJECT: ContextVar[str | None] = ContextVar("subject", default=None)
_FORMAT = "%(asctime)s %(levelname)s %(message)s"


def terminal_level(verbose: int) -> int:
    """Lowest level shown on the terminal: NOTICE, and five lower for each ``-v``."""
    return max(NOTICE - 5 * verbose, logging.DEBUG)


class SubjectFiles(logging.Handler):
    """Appends records to the log of the subject at work, or of every subject when none is.

    Files are opened for each record: with 1,500 subjects, open files would run out.
    """

    def __init__(self, config: RunConfig, subjects: Sequence[str] = ()) -> None:
        super().__init__(logging.INFO)
        self.config, self.subjects = config, subjects
        self.silent = False
        self.setFormatter(logging.Formatter(_FORMAT))

    def emit(self, record: logging.LogRecord) -> None:
        """Append one line."""
        current = _SUBJECT.get()
        try:
            for subject in self.subjects if current is None else (current,):
                folder = self.config.log_dir(subject)
                folder.mkdir(parents=True, exist_ok=True)
                with (folder / LOG_NAME).open("a", encoding="utf-8") as file:
                    file.write(self.format(record) + "\n")
        except OSError as error:
            self._cannot_log(error)

    def _cannot_log(self, error: OSError) -> None:
        """Say once, where a log cannot be written; the terminal still has every message."""
        if not self.silent:
            self.silent = True
            sys.stderr.write(
                f"ihf-harmony: {self.config.out_dir}: the log cannot be written "
                f"({error.strerror}); what follows is on the terminal alone.\n"
            )


@contextmanager
def about(subject: str) -> Iterator[None]:
    """What is logged inside belongs to this subject."""
    token = _SUBJECT.set(subject)
    try:
        yield
    finally:
        _SUBJECT.reset(token)


def start_logging(verbose: int) -> None:
    """Show the package's messages, and with ``-v`` also nipype's, on standard error."""
    logging.addLevelName(NOTICE, "NOTICE")
    root = logging.getLogger("bids_ihf")
    root.setLevel(min(terminal_level(verbose), logging.INFO))
    root.propagate = False
    terminal = logging.StreamHandler(sys.stderr)
    terminal.setLevel(terminal_level(verbose))
    terminal.setFormatter(logging.Formatter(_FORMAT, "%H:%M:%S"))
    for handler in list(root.handlers):
        root.removeHandler(handler)
    root.addHandler(terminal)
    logging.captureWarnings(capture=True)
    logging.getLogger("py.warnings").setLevel(logging.ERROR if verbose < 1 else logging.WARNING)


def log_to_subjects(config: RunConfig, subjects: Sequence[str]) -> None:
    """Also write what is logged from now on to the subjects' own logs."""
    root = logging.getLogger("bids_ihf")
    for handler in [h for h in root.handlers if isinstance(h, SubjectFiles)]:
        root.removeHandler(handler)
    root.addHandler(SubjectFiles(config, subjects))


def quiet_nipype(verbose: int) -> None:
    """Let nipype speak only with ``-v``: its errors are shown as our own single sentences."""
    from nipype import logging as nipype_logging

    level = logging.CRITICAL if verbose < 1 else terminal_level(verbose)
    for logger in nipype_logging.loggers.values():
        logger.setLevel(level)


def start_worker(config: RunConfig) -> None:
    """The same logging in a worker process."""
    start_logging(config.verbose)
    log_to_subjects(config, ())
    quiet_nipype(config.verbose)


def lead_jobs(config: RunConfig) -> None:
    """Tell the jobs that a batch system will start where this run logs."""
    known = {"out_dir": str(config.out_dir), "run": config.run_uuid, "verbose": config.verbose}
    os.environ[RUN] = json.dumps(known)


def join_run() -> None:
    """In such a job, the same logging as in the run; elsewhere nothing."""
    told = os.environ.get(RUN)
    if not told or logging.getLogger("bids_ihf").handlers:
        return
    known = json.loads(told)
    out_dir = Path(known["out_dir"])
    start_worker(
        RunConfig(Path(), out_dir, run_uuid=known["run"], verbose=known["verbose"]),
    )
