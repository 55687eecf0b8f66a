"""The process pool: worker processes are fresh, and one that is killed fails only its node."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import BrokenExecutor, Future
from pathlib import Path
from typing import Any

import psutil
import pytest

from bids_ihf.config import RunConfig
from bids_ihf.pipeline.engine import execute, read_plugin
from bids_ihf.pipeline.failures import failures

FINE = "def work(x):\n    open(x + '/fine', 'w').close()\n    return x\n"
KILLED = "def work(x):\n    import os\n    os._exit(9)\n"


def workflow(folder: Path, *kinds: str) -> Any:
    from nipype.interfaces.utility import Function
    from nipype.pipeline import engine

    whole = engine.Workflow("wf", base_dir=str(folder))
    for index, source in enumerate(kinds):
        node = engine.Node(
            Function(input_names=["x"], output_names=["y"]), name=f"node{index}", mem_gb=0.1
        )
        node.inputs.function_str = source
        node.inputs.x = str(folder)
        node.config = {"execution": {"crashdump_dir": str(folder), "crashfile_format": "txt"}}
        whole.add_nodes([node])
    return whole


@pytest.mark.parametrize("kinds", [(KILLED, FINE), (FINE, KILLED)])
def test_killed_worker(tmp_path: Path, kinds: tuple[str, ...]) -> None:
    config = RunConfig(tmp_path, tmp_path / "out", n_procs=2, mem_gb=0.15)
    seen: list[tuple[str, str]] = []
    reason = execute(
        workflow(tmp_path, *kinds),
        config,
        0,
        lambda node, status: seen.append((node.name, status)),
    )
    assert reason is not None
    name = f"node{kinds.index(KILLED)}"
    found = failures(tmp_path)
    assert list(found) == [name]
    assert "killed" in found[name].sentence
    assert found[name].exit_code == 75
    assert (tmp_path / "fine").exists()
    assert (name, "exception") in seen


@pytest.mark.parametrize(
    ("error", "words"),
    [(FileNotFoundError("result.pklz"), "result.pklz"), (BrokenExecutor("gone"), "killed")],
)
def test_no_task_is_left_without_a_result(error: Exception, words: str) -> None:
    from bids_ihf.pipeline.plugins import PoolPlugin

    plugin = PoolPlugin.__new__(PoolPlugin)
    plugin._taskresult = {}
    future: Future[dict[str, Any]] = Future()
    future.set_exception(error)
    plugin._collect(7, future)
    assert plugin._taskresult[7]["result"] is None
    assert words in "".join(plugin._taskresult[7]["traceback"])


RUN = """
import multiprocessing, os, sys, time
from bids_ihf.config import RunConfig
from bids_ihf.pipeline.plugins import start_process

def work(config, folder):
    start_process(config, folder)
    print(os.getpid(), flush=True)
    time.sleep(60)

if __name__ == "__main__":
    folder = sys.argv[1]
    context = multiprocessing.get_context("forkserver")
    context.Process(target=work, args=(RunConfig(folder, folder), folder)).start()
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
