"""The examples of examples/slurm on a real Slurm of one node.

Not collected by itself, for it takes minutes and needs slurmctld, slurmd, munged and their
commands: ``make test-slurm``.  IMAGE_SIF names a SIF to run the array with as well, ZOOM the
demo's voxel size.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.containers.cluster import Cluster, one_node, wait_until
from tests.containers.tools import (
    BIN,
    MODALITIES,
    ROOT,
    Done,
    assert_harmonized,
    call,
    demo,
    images,
    program,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

EXAMPLES = ROOT / "examples" / "slurm"
PEOPLE = ["sub-01", "sub-02"]
BROKEN = "sub-broken"
CHOSEN = ("--session-label", "ge", "--modalities", *MODALITIES)
"""One session of each person keeps the tests short."""
COMMON = {"TARGET": "Siemens", "OPTIONS": " ".join(CHOSEN), "OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Slurm, with the installed command on its users' PATH."""
    with one_node(tmp_path_factory.mktemp("slurm")) as found:
        path = f"{BIN}{os.pathsep}{os.environ['PATH']}"
        yield Cluster({**found.environment, "PATH": path})


@pytest.fixture(scope="session")
def bids(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two people, and one whose images are cut off."""
    folder = demo(tmp_path_factory.mktemp("demo") / "bids", len(PEOPLE))
    folder.chmod(0o755)
    _cut_off(folder)
    return folder


def _cut_off(bids: Path) -> None:
    broken = bids / BROKEN / "ses-ge" / "anat"
    broken.mkdir(parents=True)
    for source in (bids / "sub-01" / "ses-ge" / "anat").iterdir():
        content = source.read_bytes()
        cut = content[: len(content) // 2] if source.name.endswith(".nii.gz") else content
        (broken / source.name.replace("sub-01", BROKEN)).write_bytes(cut)


def participants(cluster: Cluster, bids: Path, out: Path) -> list[str]:
    """What examples/slurm/participants.sh lists."""
    # Cut-off images are invalid BIDS as well; the list is made all the same.
    skip = ("--skip-bids-validation", *CHOSEN)
    done = cluster.call(EXAMPLES / "participants.sh", bids, out, "Siemens", *skip)
    assert done.code == 0, done
    return done.out.split()


def array(cluster: Cluster, bids: Path, out: Path, **environment: str) -> str:
    """Submit examples/slurm/array.sh for all participants that are left; the job's number."""
    folder = out.parent
    labels = participants(cluster, bids, out)
    (folder / "participants.txt").write_text("".join(f"{label}\n" for label in labels))
    return cluster.submit(
        *(f"--array=1-{len(labels)}", "--mem=2G", f"--chdir={folder}", EXAMPLES / "array.sh"),
        **{**COMMON, "BIDS_DIR": str(bids), "OUT_DIR": str(out), **environment},
    )


def assert_one_of_each(out: Path) -> None:
    """The files that all tasks share are there once and whole; nothing half-written is left."""
    description = json.loads((out / "dataset_description.json").read_text())
    assert description["DatasetType"] == "derivative"
    assert "sub-*/figures\n" in (out / ".bidsignore").read_text()
    assert (out / "logs" / "CITATION.md").stat().st_size > 0
    assert list(out.rglob("*.tmp")) == []


def test_array_with_a_failing_task_then_resumed(
    cluster: Cluster, bids: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    number = array(cluster, bids, out)
    jobs = cluster.jobs(number)
    logs = {path.name: path.read_text() for path in tmp_path.glob("ihf-harmony-*.log")}
    ends = [(jobs[index].state, jobs[index].exit_code) for index in ("1", "2", "3")]
    assert ends == [("COMPLETED", 0), ("COMPLETED", 0), ("FAILED", 65)], logs
    assert_harmonized(bids, out, [f"{person}/ses-ge" for person in PEOPLE])
    assert_one_of_each(out)
    runs = [list((out / person / "log").iterdir()) for person in (*PEOPLE, BROKEN)]
    assert [len(found) for found in runs] == [1, 1, 1]
    assert list((out / BROKEN / "log").glob("*/crash-*.txt"))
    assert participants(cluster, bids, out) == [BROKEN]

    _mend(bids)
    number = array(cluster, bids, out)
    assert {job.exit_code for job in cluster.jobs(number).values()} == {0}
    assert participants(cluster, bids, out) == []
    done = cluster.submit(
        *(f"--chdir={tmp_path}", EXAMPLES / "group.sh"), BIDS_DIR=str(bids), OUT_DIR=str(out)
    )
    assert cluster.jobs(done)["0"].exit_code == 0
    assert len((out / "group_T1w.tsv").read_text().splitlines()) == 1 + len(PEOPLE) + 1


def _mend(bids: Path) -> None:
    for source in (bids / "sub-01" / "ses-ge" / "anat").iterdir():
        shutil.copyfile(
            source, bids / BROKEN / "ses-ge" / "anat" / source.name.replace("sub-01", BROKEN)
        )


def test_a_requeued_task_goes_on(cluster: Cluster, bids: Path, tmp_path: Path) -> None:
    """Slurm ends a task with SIGTERM; what it had finished is kept, and nothing else is left."""
    out, (person, *_) = tmp_path / "out", PEOPLE
    (tmp_path / "participants.txt").write_text(f"{person.removeprefix('sub-')}\n")
    expected = len(images(bids, [f"{person}/ses-ge"]))

    def finished() -> dict[str, int]:
        sidecars = out.glob("*/*/*/*_desc-harmonized_*.json")
        return {path.name: path.stat().st_mtime_ns for path in sidecars}

    number = cluster.begin(
        *("--array=1", "--mem=2G", f"--chdir={tmp_path}", "--open-mode=append"),
        EXAMPLES / "array.sh",
        **{**COMMON, "BIDS_DIR": str(bids), "OUT_DIR": str(out)},
    )
    wait_until(lambda: 0 < len(finished()) < expected, "the first image", seconds=600)
    first = finished()
    assert cluster.call("scontrol", "requeue", number).code == 0
    (log,) = tmp_path.glob("ihf-harmony-*.log")
    wait_until(lambda: "terminated" in log.read_text(), "the end of the task", seconds=10)
    assert list(out.rglob(".*.tmp")) == []
    # Slurm waits for two minutes before it starts the task again.
    wait_until(lambda: cluster.jobs(number)["1"].state == "COMPLETED", "the task", seconds=900)
    assert "1 already done" in log.read_text()
    assert len(finished()) == expected
    assert first.items() <= finished().items()
    assert_harmonized(bids, out, [f"{person}/ses-ge"])
    assert list(out.rglob("crash-*")) == []


def test_nipype_plugin(cluster: Cluster, bids: Path, tmp_path: Path) -> None:
    _mend(bids)
    plugin = tmp_path / "nipype.yml"
    asked = (EXAMPLES / "nipype.yml").read_text()
    plugin.write_text(asked.replace("--cpus-per-task=2 --mem=4G", "--cpus-per-task=1 --mem=2G"))
    assert "--mem=2G" in plugin.read_text()
    out, work = tmp_path / "out", tmp_path / "work"
    done = cluster.call(
        *("env", "-u", "LOGNAME", "ihf-harmony", bids, out, "participant", "--target", "Siemens"),
        *("--use-plugin", plugin, "-w", work, *CHOSEN, "--skip-bids-validation"),
        *("--participant-label", "01", "--n-procs", "1", "--device", "cpu"),
        OMP_NUM_THREADS="1",
    )
    assert done.code == 0, done
    count = len(images(bids, ["sub-01/ses-ge"]))
    assert f"{count} harmonized, 0 already done, 0 failed" in done.err
    assert_harmonized(bids, out, ["sub-01/ses-ge"])
    assert_one_of_each(out)


@pytest.mark.skipif("IMAGE_SIF" not in os.environ, reason="IMAGE_SIF names no SIF")
def test_array_in_a_container(cluster: Cluster, bids: Path, tmp_path: Path) -> None:
    _mend(bids)
    out = tmp_path / "out"
    number = array(
        cluster, bids, out,
        IMAGE=os.environ["IMAGE_SIF"], APPTAINER=program("apptainer", "the SIF is run with it"),
    )  # fmt: skip
    assert {job.exit_code for job in cluster.jobs(number).values()} == {0}
    assert_harmonized(bids, out, [f"{person}/ses-ge" for person in PEOPLE])
    content = json.loads((out / "dataset_description.json").read_text())
    assert content["GeneratedBy"][0]["Container"]["Type"] == "singularity"


def snakemake(cluster: Cluster, bids: Path, out: Path, *words: str) -> Done:
    """Run examples/snakemake by Slurm, with more options or values of the configuration."""
    command = program("snakemake", "it runs the rules by its Slurm plugin", optional=True)
    # The plugin drops SLURM_CONF for the step inside a job; a cluster has its file in place.
    srun, conf = out.parent / "bin" / "srun", cluster.environment["SLURM_CONF"]
    srun.parent.mkdir(exist_ok=True)
    srun.write_text(f'#!/bin/sh\nSLURM_CONF={conf} exec {shutil.which("srun")} "$@"\n')
    srun.chmod(0o755)
    # This Slurm keeps no accounts, so its queue is asked what became of a job.
    return cluster.call(
        *(command, "--snakefile", ROOT / "examples" / "snakemake" / "ihf_harmony.smk"),
        *("--directory", out.parent, "--executor", "slurm", "--jobs", "2", "--keep-going"),
        *("--slurm-status-command", "squeue", "--config", f"bids={bids}", f"out={out}"),
        *(f"options={COMMON['OPTIONS']}", *words),
        PATH=f"{srun.parent}{os.pathsep}{cluster.environment['PATH']}",
    )


def test_snakemake(cluster: Cluster, bids: Path, tmp_path: Path) -> None:
    """A participant's failing job does not stop the others; the next call runs what is left."""
    shutil.rmtree(bids / BROKEN)
    _cut_off(bids)
    out = tmp_path / "out"
    done = snakemake(cluster, bids, out)
    assert done.code != 0, done
    pages = {f"{person}.html" for person in PEOPLE}
    assert {path.name for path in out.glob("*.html")} == pages, done
    assert_harmonized(bids, out, [f"{person}/ses-ge" for person in PEOPLE])

    _mend(bids)
    done = snakemake(cluster, bids, out)
    assert done.code == 0, done
    assert "3 of 3 steps (100%) done" in done.err  # the participant, the group, and all
    assert_harmonized(bids, out, [f"{person}/ses-ge" for person in (*PEOPLE, BROKEN)])
    assert_one_of_each(out)
    pages |= {f"{BROKEN}.html", "group.html"}
    assert {path.name for path in out.glob("*.html")} == pages


@pytest.mark.skipif("IMAGE_SIF" not in os.environ, reason="IMAGE_SIF names no SIF")
def test_snakemake_in_a_container(cluster: Cluster, bids: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    (tmp_path / "bin").mkdir()
    apptainer = Path(program("apptainer", "the SIF is run with it")).absolute()
    (tmp_path / "bin" / "apptainer").symlink_to(apptainer)
    done = snakemake(
        *(cluster, bids, out, "participants=[01]", f"image={os.environ['IMAGE_SIF']}"),
        *("--software-deployment-method", "apptainer"),
        *("--apptainer-args", f"--cleanenv -B {bids} -B {tmp_path}"),
    )
    assert done.code == 0, done
    assert_harmonized(bids, out, ["sub-01/ses-ge"])
    assert (out / "group.html").exists()
    content = json.loads((out / "dataset_description.json").read_text())
    assert content["GeneratedBy"][0]["Container"]["Type"] == "singularity"


def test_nothing_is_left(tmp_path: Path) -> None:
    with one_node(tmp_path / "slurm") as found:
        assert found.call("sinfo").code == 0
    assert call("sinfo", SLURM_CONF=found.environment["SLURM_CONF"]).code != 0
    for name in ("controller.pid", "node.pid", "munge.pid"):
        path = tmp_path / "slurm" / name
        assert not path.exists() or not Path("/proc", path.read_text().strip()).exists()
