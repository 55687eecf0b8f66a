"""The process pool: worker processes are fresh, and one that is killed fails only its node."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from bids_ihf.config import RunConfig
from bids_ihf.io.failures import read_failures
from bids_ihf.pipeline.engine import execute, read_plugin
from tests.pipeline.steps import FINE, KILLED, RAISING, log_of, workflow


@pytest.mark.parametrize("endings", [(KILLED, FINE), (FINE, KILLED)])
def test_killed_worker(tmp_path: Path, endings: tuple[str, ...]) -> None:
    config = RunConfig(tmp_path, tmp_path / "out", n_procs=2, mem_gb=0.15)
    seen: list[tuple[str, str]] = []
    reason = execute(
        workflow(tmp_path, *endings),
        config,
        0,
        lambda node, status: seen.append((node.name, status)),
    )
    assert reason is not None
    name = f"node{endings.index(KILLED)}"
    (failure,) = read_failures(log_of(tmp_path).folder("01")).values()
    assert (failure.image, failure.step) == ("killed.nii.gz", "prepare")
    assert "killed" in failure.message
    assert failure.exit_code == 75
    assert (tmp_path / "fine").exists()
    assert (name, "exception") in seen


def test_no_node_is_left_without_a_result(tmp_path: Path) -> None:
    """nipype waits for ever for a node without one, such as a node that cannot be pickled."""
    whole = workflow(tmp_path, FINE, RAISING)
    whole.get_node("node1").inputs.extra = lambda: None
    config = RunConfig(tmp_path, tmp_path / "out", n_procs=2, mem_gb=0.5)
    assert execute(whole, config, 0, lambda _node, _status: None) is not None
    (failure,) = read_failures(log_of(tmp_path).folder("01")).values()
    assert failure.image == "raising.nii.gz"
    assert "pickle" in failure.message


RUN = """
import multiprocessing, os, sys, time
from pathlib import Path
from bids_ihf.pipeline.plugins import start_worker
from bids_ihf.pipeline.run_log import RunLog

def work(run_log, folder):
    start_worker(run_log, folder)
    print(os.getpid(), flush=True)
    time.sleep(60)

if __name__ == "__main__":
    folder = sys.argv[1]
    context = multiprocessing.get_context("forkserver")
    context.Process(target=work, args=(RunLog(Path(folder), "run", 0), folder)).start()
    time.sleep(60)
"""


def test_workers_end_with_a_killed_run(tmp_path: Path) -> None:
    script = tmp_path / "run.py"
    script.write_text(RUN)
    run = subprocess.Popen(
        [sys.executable, str(script), str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert run.stdout is not None
    worker = psutil.Process(int(run.stdout.readline()))
    run.kill()
    run.wait()
    psutil.wait_procs([worker], timeout=30)
    assert not worker.is_running()


def test_plugin_file(tmp_path: Path) -> None:
    path = tmp_path / "plugin.yml"
    path.write_text("plugin: MultiProc\nplugin_args:\n  n_procs: 3\n")
    assert read_plugin(path) == ("MultiProc", {"n_procs": 3})
