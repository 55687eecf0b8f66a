"""Logging to the terminal and to each subject's own log file, from any process."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from attrs import frozen

from bids_ihf.bids.output_files import LOG_NAME
from bids_ihf.config import RunConfig

NOTICE_LEVEL = 25
"""Between INFO and WARNING: what is shown without ``-v``."""
HeldRecord = tuple[str | None, logging.LogRecord]
"""A record, and the participant whose log it belongs to; None: those of all."""
HeldRecords = list[HeldRecord]
_HELD: ContextVar[HeldRecords | None] = ContextVar("held", default=None)
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
    """Appends records to the log of the current participant, or of all who are at work.

    What is logged before the first participants are at work is kept, and stands in everyone's log.
    Files are opened for each record: with 1,500 participants, open files would run out.
    """

    def __init__(self, run_log: RunLog) -> None:
        super().__init__(logging.INFO)
        self.run_log = run_log
        self.subjects: Sequence[str] | None = None
        self.silent = False
        self._early: list[HeldRecord] = []
        self.setFormatter(logging.Formatter(_FORMAT))

    def emit(self, record: logging.LogRecord) -> None:
        """Append one line, or keep the record for later."""
        held = _HELD.get()
        if held is not None or self.subjects is None:
            (self._early if held is None else held).append((_SUBJECT.get(), record))
        else:
            current = _SUBJECT.get()
            self._append(record, self.subjects if current is None else (current,))

    def begin(self, subjects: Sequence[str], records: Iterable[HeldRecord]) -> None:
        """From now on these participants are at work; records are what was held for them."""
        self.subjects = subjects
        for subject, record in (*self._early, *records):
            if subject is None:
                self._append(record, subjects)
            elif subject in subjects:
                self._append(record, (subject,))

    def _append(self, record: logging.LogRecord, subjects: Iterable[str]) -> None:
        try:
            for subject in subjects:
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


@contextmanager
def holding_records(records: HeldRecords) -> Iterator[HeldRecords]:
    """Keep what is logged inside, with its participant, from the logs of those at work."""
    token = _HELD.set(records)
    try:
        yield records
    finally:
        _HELD.reset(token)


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


def log_to_subjects(
    run_log: RunLog, subjects: Sequence[str] | None, records: Iterable[HeldRecord] = ()
) -> None:
    """Also write what is logged, held records first, to the logs of participants.

    ``subjects`` are those at work from now on; before the first call with some it is None, and
    what is logged is kept.
    """
    root = logging.getLogger("bids_ihf")
    present = [handler for handler in root.handlers if isinstance(handler, SubjectFiles)]
    files = present[0] if present else SubjectFiles(run_log)
    if not present:
        root.addHandler(files)
    if subjects is not None:
        files.begin(subjects, records)


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
