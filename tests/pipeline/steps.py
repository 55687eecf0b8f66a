"""Steps that end in three ways, and a graph of them, for tests of what runs them."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

from nipype.interfaces.base import TraitedSpec, traits
from nipype.pipeline import engine

from bids_ihf.pipeline.interfaces import StepContext, StepInputs, StepInterface
from bids_ihf.pipeline.run_log import RunLog

FINE, RAISING, KILLED = "fine", "raising", "killed"


class WorkInputs(StepInputs):
    """What the step does."""

    ending = traits.Str(mandatory=True)
    folder = traits.Str(mandatory=True)
    extra = traits.Any(nohash=True)


class Work(StepInterface):
    """A step that is fine, raises an error, or is killed."""

    input_spec = WorkInputs
    output_spec = TraitedSpec

    def _work(self, folder: Path) -> None:
        if self.inputs.ending == RAISING:
            raise ValueError("no such luck")
        if self.inputs.ending == KILLED:
            os.kill(os.getpid(), signal.SIGKILL)
        (Path(self.inputs.folder) / FINE).touch()


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
