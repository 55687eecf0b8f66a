"""Real runs of the app as processes of their own, started so that two hundred take minutes.

Each is forked by a server that has loaded the libraries and nothing else; what it does begins with
its command line.  It is killed, starved and measured like any process.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import resource
import signal
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import psutil
from attrs import field, frozen

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

QUICK = ("--n-procs", "1", "--device", "cpu", "--skip-bids-validation", "--preprocessed")
"""Without validation, mask, bias field and alignment; a later ``--n-procs`` wins."""
LIMIT = 3600.0
"""Seconds after which a run is held to hang."""
CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, PR_CAPBSET_DROP = 1, 2, 24


@frozen
class Done:
    """What a run left: its exit code (negative: the signal that ended it) and what it said."""

    code: int
    out: str
    err: str

    @property
    def errors(self) -> list[str]:
        """The sentences it failed with."""
        return [
            line
            for line in self.err.splitlines()
            if " ERROR " in line or line.startswith("ihf-harmony: error: ")
        ]


@frozen
class Limits:
    """What a run may do: root's way round permissions, and an end to memory (MB to be added)."""

    obey_permissions: bool = False
    more_memory_mb: int | None = None

    def apply(self) -> None:
        """To this process and its children."""
        if self.obey_permissions and os.geteuid() == 0:
            _drop_privileges()
        if self.more_memory_mb is not None:
            held = psutil.Process().memory_info().vms
            most = held + self.more_memory_mb * 2**20
            resource.setrlimit(resource.RLIMIT_AS, (most, most))


@frozen
class Job:
    """A run at work."""

    process: Any
    out: Path
    err: Path
    pool: bool = False
    """Whether it has workers."""
    _ended: list[Done] = field(factory=list)

    @property
    def pid(self) -> int:
        """Of the run itself."""
        return int(self.process.pid)

    @property
    def running(self) -> bool:
        """Whether it goes on."""
        return bool(self.process.is_alive())

    def seconds(self) -> float:
        """Processor time that it and its workers have taken: a clock that no other load slows."""
        with suppress(psutil.Error):
            own = psutil.Process(self.pid)
            # To look for children takes a look at every process there is.
            others = own.children(recursive=True) if self.pool else []
            times = [one.cpu_times() for one in (own, *others)]
            return float(sum(t.user + t.system for t in times))
        return 0.0

    def workers(self) -> list[int]:
        """Processes of its pool, the youngest last."""
        with suppress(psutil.Error):
            found = psutil.Process(self.pid).children(recursive=True)
            return [one.pid for one in found if "forkserver" in " ".join(one.cmdline())]
        return []

    def kill(self, pid: int | None = None) -> None:
        """``kill -9`` of the run, or of one of its workers."""
        with suppress(ProcessLookupError):
            os.kill(pid or self.pid, signal.SIGKILL)

    def wait_until(self, seconds: float) -> bool:
        """Wait for a moment of processor time; False if the run ends before."""
        while self.running:
            if self.seconds() >= seconds:
                return True
            time.sleep(0.1 if self.pool else 0.02)
        return False

    def wait(self) -> Done:
        """Wait for its end."""
        self.process.join(LIMIT)
        if self.running:
            self.kill()
            raise AssertionError(f"hangs:\n{self.err.read_text()[-3000:]}")
        code = self.process.exitcode
        return Done(code, *(path.read_text(errors="replace") for path in (self.out, self.err)))


def start(words: Sequence[str | Path], folder: Path, limits: Limits | None = None) -> Job:
    """Start ``ihf-harmony``; what it says goes to ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    number = len(list(folder.glob("*.err")))
    out, err = folder / f"{number}.out", folder / f"{number}.err"
    err.touch()
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.reliability.warm"])
    process = context.Process(
        target=_run, args=([str(word) for word in words], out, err, limits or Limits())
    )
    os.environ.update(OMP_NUM_THREADS="1", NIPYPE_NO_ET="1", NO_ET="1")
    process.start()
    return Job(process, out, err, pool="1" not in _after("--n-procs", words))


def _after(option: str, words: Sequence[str | Path]) -> list[str]:
    """The value that an option is given last."""
    places = [number for number, word in enumerate(words) if word == option]
    return [str(words[places[-1] + 1])] if places else []


def run(words: Sequence[str | Path], folder: Path, limits: Limits | None = None) -> Done:
    """Run ``ihf-harmony`` to its end."""
    return start(words, folder, limits).wait()


def participant(bids: Path, out: Path, work: Path, *more: str | Path) -> list[str | Path]:
    """A command line of the participant level."""
    return [bids, out, "participant", "--work-dir", work, *QUICK, *more]


def _run(words: list[str], out: Path, err: Path, limits: Limits) -> None:
    for number, path in ((1, out), (2, err)):
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(handle, number)
        os.close(handle)
    sys.stderr = os.fdopen(2, "w", buffering=1)
    os.setpgid(0, 0)  # so that its workers are known as its own
    limits.apply()
    from bids_ihf.cli.app import main

    main(words)


def _drop_privileges() -> None:
    """Let permission bits hold for root, too."""
    library = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    data = (ctypes.c_uint32 * 6)()
    library.capget(header, data)
    for capability in (CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH):
        library.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)
        for index in (0, 1):  # effective, permitted
            data[index] &= ~(1 << capability)
    if library.capset(header, data) != 0:
        raise OSError(ctypes.get_errno(), "capset")
