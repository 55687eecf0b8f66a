"""A run that is told to end does so in time, and leaves nothing half-written."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bids_ihf.pipeline.termination import MAX_CLEANUP_SECONDS
from tests.pipeline.steps import FINE, WRITING, log_of

# A shell lets what it starts in the background ignore Ctrl-C, and so would a run started by tests
# that run there.
RUN = f"""
import signal
import sys
from pathlib import Path
from bids_ihf.cli.entry_point import run_command
from bids_ihf.config import RunConfig
from bids_ihf.pipeline.engine import execute
from tests.pipeline.steps import workflow

def command():
    folder = Path(sys.argv[1])
    config = RunConfig(folder, folder / "out", n_procs=int(sys.argv[2]), mem_gb=0.2)
    execute(workflow(folder, "{WRITING}", "{FINE}"), config, 0, lambda node, status: None)
    return 0

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.exit(run_command("run", command))
"""

# As long as a function in C runs, no Python code does: as while ITK computes.
COMPUTING = """
import sys
from bids_ihf.cli.entry_point import run_command

def command():
    print("computing", flush=True)
    return sum(range(10**11))

sys.exit(run_command("run", command))
"""


# Told to end while it is still being prepared, as the second worker of a run that ends at once.
WORKER = """
import os
import signal
from unittest import mock
from bids_ihf.pipeline import plugins

told = lambda run_log: os.kill(os.getpid(), signal.SIGTERM)
with mock.patch.object(plugins, "join_run", told):
    plugins.start_worker(None, ".")
"""


def start(script: str, folder: Path, *words: str) -> subprocess.Popen[str]:
    """Start a script in a process group of its own, as a shell or Slurm does."""
    path = folder / "run.py"
    path.write_text(script)
    return subprocess.Popen(
        [sys.executable, str(path), str(folder), *words],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip


def temporary_files(folder: Path) -> list[Path]:
    return list(folder.glob(".*.tmp"))


@pytest.mark.parametrize(
    ("processors", "number", "code", "word"),
    [
        ("1", signal.SIGTERM, 143, "terminated"),
        ("2", signal.SIGTERM, 143, "terminated"),
        ("2", signal.SIGINT, 130, "interrupted"),
    ],
)
def test_a_file_half_written_is_removed(
    tmp_path: Path, processors: str, number: signal.Signals, code: int, word: str
) -> None:
    run = start(RUN, tmp_path, processors)
    end = time.monotonic() + 60
    while not temporary_files(tmp_path) and time.monotonic() < end:
        time.sleep(0.05)
    assert temporary_files(tmp_path)
    begin = time.monotonic()
    os.killpg(run.pid, number)
    error = run.communicate(timeout=60)[1]
    assert time.monotonic() - begin < 10
    assert run.returncode == code, error
    assert temporary_files(tmp_path) == []
    assert not (tmp_path / WRITING).exists()
    if processors == "1":  # the next step is not begun
        assert not (tmp_path / FINE).exists()
    assert not list(log_of(tmp_path).folder("01").glob("crash-*"))
    assert error.rstrip().splitlines()[-1].startswith(f"run: {word}")
    assert "Traceback" not in error


def test_a_library_that_computes_is_not_waited_for(tmp_path: Path) -> None:
    run = start(COMPUTING, tmp_path)
    assert run.stdout is not None
    assert run.stdout.readline() == "computing\n"
    time.sleep(1)  # the line is printed before the sum begins
    begin = time.monotonic()
    run.terminate()
    assert run.wait(60) == -signal.SIGKILL
    assert MAX_CLEANUP_SECONDS - 1 < time.monotonic() - begin < 10


def test_a_worker_that_is_not_ready_ends_without_a_word(tmp_path: Path) -> None:
    run = start(WORKER, tmp_path)
    error = run.communicate(timeout=60)[1]
    assert run.returncode == -signal.SIGTERM
    assert error == ""
