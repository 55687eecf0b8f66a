"""Steps that end in several ways, and a graph of them, for tests of what runs them."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
from nipype.interfaces.base import TraitedSpec, traits
from nipype.pipeline import engine
from threadpoolctl import threadpool_info

from bids_ihf.io.atomic import open_atomic
from bids_ihf.pipeline.interfaces import StepContext, StepInputs, StepInterface
from bids_ihf.pipeline.process import set_up_process
from bids_ihf.pipeline.run_log import RunLog

FINE, RAISING, KILLED, THREADS, WRITING = "fine", "raising", "killed", "threads", "writing"


class WorkInputs(StepInputs):
    """What the step does."""

    ending = traits.Str(mandatory=True)
    folder = traits.Str(mandatory=True)
    extra = traits.Any(nohash=True)


class Work(StepInterface):
    """A step that is fine, raises an error, is killed, or takes long to write a file."""

    input_spec = WorkInputs
    output_spec = TraitedSpec

    def _work(self, folder: Path) -> None:
        if self.inputs.ending == RAISING:
            raise ValueError("no such luck")
        if self.inputs.ending == KILLED:
            os.kill(os.getpid(), signal.SIGKILL)
        if self.inputs.ending == THREADS:
            set_up_process(0)
            report = Path(self.inputs.folder) / f"threads-{self.inputs.context.node}.json"
            report.write_text(json.dumps(threads_in_use()))
        if self.inputs.ending == WRITING:
            with open_atomic(Path(self.inputs.folder) / WRITING) as stream:
                stream.write(b"half of it")
                stream.flush()
                time.sleep(60)
        (Path(self.inputs.folder) / FINE).touch()


def threads_in_use() -> dict[str, Any]:
    """Threads of torch, and of each pool of BLAS or OpenMP that is loaded, after a product."""
    import torch

    np.ones((64, 64)) @ np.ones((64, 64))
    pools = {pool["filepath"]: pool["num_threads"] for pool in threadpool_info()}
    return {"torch": torch.get_num_threads(), "pools": pools}


def log_of(folder: Path) -> RunLog:
    return RunLog(folder / "out", "run", 0)


def workflow(folder: Path, *endings: str) -> Any:
    """A graph of independent steps ``node0``, ``node1``, ... of one subject."""
    whole = engine.Workflow("wf", base_dir=str(folder))
    for index, ending in enumerate(endings):
        context = StepContext(f"{ending}.nii.gz", "01", "prepare", f"node{index}", log_of(folder))
        work = Work(context=context, ending=ending, folder=str(folder))
        node = engine.Node(work, name=context.node, mem_gb=0.1)
        node.config = {
            "execution": {"crashdump_dir": str(folder / "crash"), "crashfile_format": "txt"}
        }
        whole.add_nodes([node])
    return whole
