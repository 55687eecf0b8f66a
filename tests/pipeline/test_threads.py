"""Threads of the numerical libraries in worker processes, with nothing set in the environment."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

RUN = """
import sys
from pathlib import Path
from bids_ihf.config import RunConfig
from bids_ihf.pipeline.engine import execute
from tests.pipeline.steps import THREADS, workflow

if __name__ == "__main__":
    folder = Path(sys.argv[1])
    config = RunConfig(folder, folder / "out", n_procs=2, mem_gb=2)
    assert execute(workflow(folder, THREADS, THREADS), config, 0, lambda *_: None) is None
"""


@pytest.mark.parametrize("inherited", [None, "4"])
def test_n_processes_do_not_start_n_threads_each(tmp_path: Path, inherited: str | None) -> None:
    """Two processes with one thread each, from the first step on, whatever they inherit."""
    environment = {k: v for k, v in os.environ.items() if not k.endswith("_NUM_THREADS")}
    if inherited:
        environment |= {"OMP_NUM_THREADS": inherited, "OPENBLAS_NUM_THREADS": inherited}
    root = Path(__file__).parents[2]
    script = tmp_path / "run.py"
    script.write_text(RUN)
    subprocess.run(
        [sys.executable, str(script), str(tmp_path)],
        env=environment | {"PYTHONPATH": str(root)},
        check=True,
        timeout=300,
    )
    records = [json.loads(path.read_text()) for path in tmp_path.glob("threads-*.json")]
    assert len(records) == 2
    for record in records:
        assert record["torch"] == 1
        assert record["pools"]
        assert set(record["pools"].values()) == {1}
