"""Logging to the terminal and to each subject's own log file, from any process."""

from __future__ import annotations

import logging
import sys
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

from attrs import frozen

from bids_ihf.bids.output_files import LOG_NAME

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from bids_ihf.config import RunConfig

NOTICE_LEVEL = 25
"""Between INFO and WARNING: what is shown without ``-v``."""
_SUBJECT: ContextVar[str | None] = ContextVar("subject", default=None)
_FORMAT = "%(asctime)s %(levelname)s %(message)s"


@frozen
class RunLog:
    """Where a run logs, and how much of it is shown on the terminal."""

    out_dir: Path
    run_uuid: str
    verbose: int

    @classmethod
    def of(cls, config: RunConfig) -> RunLog:
        """The log of a run with these settings."""
        return cls(config.out_dir, config.run_uuid, config.verbose)

    def folder(self, subject: str) -> Path:
        """Folder for the log, settings and crash files of one subject (label without ``sub-``)."""
        return self.out_dir / f"sub-{subject}" / "log" / self.run_uuid


def terminal_level(verbose: int) -> int:
    """Lowest level shown on the terminal: NOTICE, and five lower for each ``-v``."""
    return max(NOTICE_LEVEL - 5 * verbose, logging.DEBUG)


class SubjectFiles(logging.Handler):
    """Appends records to the log of the current subject, or of every subject where none is set.

    Files are opened for each record: with 1,500 subjects, open files would run out.
    """

    def __init__(self, run_log: RunLog, subjects: Sequence[str] = ()) -> None:
        super().__init__(logging.INFO)
        self.run_log, self.subjects = run_log, subjects
        self.silent = False
        self.setFormatter(logging.Formatter(_FORMAT))

    def emit(self, record: logging.LogRecord) -> None:
        """Append one line."""
        current = _SUBJECT.get()
        try:
            for subject in self.subjects if current is None else (current,):
                folder = self.run_log.folder(subject)
                folder.mkdir(parents=True, exist_ok=True)
                with (folder / LOG_NAME).open(
                    "a", encoding="utf-8", errors="backslashreplace"
                ) as file:
                    file.write(self.format(record) + "\n")
        except OSError as error:
            self._report_once(error)

    def _report_once(self, error: OSError) -> None:
        """Say once that a log cannot be written; the terminal still shows every message."""
        if not self.silent:
            self.silent = True
            sys.stderr.write(
                f"ihf-harmony: {self.run_log.out_dir}: the log cannot be written "
                f"({error.strerror}); further messages appear on the terminal only.\n"
            )


class EarlyRecords(logging.Handler):
    """Keeps what is logged before the subjects of the run, and so their logs, are known."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self._records: list[tuple[str | None, logging.LogRecord]] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a record with its subject."""
        self._records.append((_SUBJECT.get(), record))

    def pass_on(self, files: SubjectFiles) -> None:
        """Write to the logs of the run's subjects what was kept."""
        for subject, record in self._records:
            if subject is None:
                files.handle(record)
            elif subject in files.subjects:
                with subject_context(subject):
                    files.handle(record)


@contextmanager
def subject_context(subject: str) -> Iterator[None]:
    """Send what is logged inside to the log of this subject."""
    token = _SUBJECT.set(subject)
    try:
        yield
    finally:
        _SUBJECT.reset(token)


def start_logging(verbose: int) -> None:
    """Show the package's messages, and with ``-v`` also nipype's, on standard error."""
    logging.addLevelName(NOTICE_LEVEL, "NOTICE")
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


def keep_early_records() -> None:
    """Keep what is logged until `log_to_subjects` is called."""
    logging.getLogger("bids_ihf").addHandler(EarlyRecords())


def log_to_subjects(run_log: RunLog, subjects: Sequence[str]) -> None:
    """Also write what is logged, early records first, to the subjects' own logs."""
    root = logging.getLogger("bids_ihf")
    files = SubjectFiles(run_log, subjects)
    for handler in list(root.handlers):
        if isinstance(handler, EarlyRecords):
            handler.pass_on(files)
        if isinstance(handler, EarlyRecords | SubjectFiles):
            root.removeHandler(handler)
    root.addHandler(files)


def quiet_nipype(verbose: int) -> None:
    """Let nipype speak only with ``-v``: its errors are shown as our own single sentences."""
    from nipype import logging as nipype_logging

    level = logging.CRITICAL if verbose < 1 else terminal_level(verbose)
    for logger in nipype_logging.loggers.values():
        logger.setLevel(level)


def join_run(run_log: RunLog) -> None:
    """Log as the run does, in a process that does not yet: a worker, or a batch system's job."""
    if not logging.getLogger("bids_ihf").handlers:
        start_logging(run_log.verbose)
        log_to_subjects(run_log, ())
        quiet_nipype(run_log.verbose)
