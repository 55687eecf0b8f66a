"""What clusters ask of a run: jobs of nipype's Slurm plugin, many tasks in one output folder."""

from __future__ import annotations

import json
import multiprocessing
import os
from pathlib import Path

import pytest

from bids_ihf.bids.dataset_files import initialize_output
from bids_ihf.bids.output_files import LOG_NAME
from bids_ihf.config import RunConfig
from bids_ihf.errors import TemporaryFailure
from bids_ihf.io.failures import read_failures
from bids_ihf.pipeline.engine import execute, prepare_environment
from bids_ihf.pipeline.run_log import RunLog
from bids_ihf.reports.boilerplate import write_boilerplate
from tests.datasets import write_dataset
from tests.pipeline.steps import FINE, KILLED, RAISING, log_of, workflow

PLUGIN = Path(__file__).parents[2] / "examples" / "slurm" / "nipype.yml"
SBATCH = """#!/bin/bash
echo "$*" >> "$FAKE_SLURM"
bash "${@: -1}" > /dev/null 2>&1
echo Submitted batch job $$
"""
TASKS = 8


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand-ins for squeue and for sbatch, which runs a job at once and notes it in a file."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, script in (("sbatch", SBATCH), ("squeue", "#!/bin/sh\n")):
        (folder / name).write_text(script)
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("LOGNAME", "someone")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    monkeypatch.setenv("FAKE_SLURM", str(tmp_path / "submitted"))
    return tmp_path / "submitted"


def test_slurm_plugin_without_a_user_name(
    slurm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LOGNAME", raising=False)
    prepare_environment(tmp_path / "work")
    config = RunConfig(tmp_path, tmp_path / "out", use_plugin=PLUGIN)
    ended: list[tuple[str, str]] = []
    reason = execute(
        workflow(tmp_path, FINE, RAISING, KILLED),
        config,
        0,
        lambda node, status: ended.append((node.name, status)),
    )
    assert reason is not None
    assert (tmp_path / "fine").exists()
    assert {("node0", "end"), ("node1", "exception"), ("node2", "exception")} <= set(ended)
    failures = {f.image: f for f in read_failures(log_of(tmp_path).folder("01")).values()}
    assert "no such luck" in failures["raising.nii.gz"].message
    assert "want of memory or time" in failures["killed.nii.gz"].message
    assert failures["killed.nii.gz"].exit_code == TemporaryFailure.exit_code
    submitted = slurm.read_text().splitlines()
    assert len(submitted) == 3
    assert all("--mem=4G" in line and "-J node" in line for line in submitted)


def test_jobs_log_to_the_run(slurm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from nipype.pipeline import engine

    from bids_ihf.pipeline.interfaces import Prepare, StepContext

    image = tmp_path / "sub-01_T1w.nii.gz"
    image.write_bytes(b"no image")
    config = RunConfig(tmp_path, tmp_path / "out", use_plugin=PLUGIN)
    whole = engine.Workflow("wf", base_dir=str(tmp_path / "work"))
    context = StepContext(image.name, "01", "prepare", "node", RunLog.of(config))
    prepare = Prepare(context=context, image=image, modality="T1w", version="0")
    node = engine.Node(prepare, name="node")
    node.config = {"execution": {"crashdump_dir": str(tmp_path)}}
    whole.add_nodes([node])
    assert execute(whole, config, 0, lambda node, status: None) is not None
    assert len(slurm.read_text().splitlines()) == 1
    log = RunLog.of(config).folder("01") / LOG_NAME
    assert f"INFO {image.name}: preparing" in log.read_text()


def _begin(out: Path, bids: Path, barrier: multiprocessing.synchronize.Barrier) -> None:
    barrier.wait()
    initialize_output(out, bids)
    write_boilerplate(out)


def test_tasks_begin_one_output_folder_together(tmp_path: Path) -> None:
    bids, out = write_dataset(tmp_path / "bids"), tmp_path / "out"
    context = multiprocessing.get_context("fork")
    barrier = context.Barrier(TASKS)
    tasks = [context.Process(target=_begin, args=(out, bids, barrier)) for _ in range(TASKS)]
    for task in tasks:
        task.start()
    for task in tasks:
        task.join()
    assert [task.exitcode for task in tasks] == [0] * TASKS
    found = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    assert found == {
        *("dataset_description.json", ".bidsignore", "README.md"),
        *("descriptions.tsv", "descriptions.json", "logs/CITATION.md"),
    }
    assert (
        json.loads((out / "dataset_description.json").read_text())["DatasetType"] == "derivative"
    )
