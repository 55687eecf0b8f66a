"""BABS with the image as a SIF: a DataLad dataset from ``babs init`` to the merged results.

Not collected by itself, for it takes minutes: ``make test-babs``.  It needs a Slurm of one node
(see ``check_slurm.py``), BABS with DataLad and git-annex beside it, 7z, Apptainer, and a SIF, and
is skipped where one of them is missing.

BABS and APPTAINER name programs that are not on the PATH, IMAGE_SIF the SIF, built from this tree
since bytes are compared, ZOOM the voxel size of the demo, MODALITIES which kinds of image are run,
OPTIONS more options of the runs.
"""

from __future__ import annotations

import json
import os
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml  # type: ignore[import-untyped]
from attrs import frozen

from tests.containers.cluster import Cluster, one_node, wait_until
from tests.containers.tools import (
    BIN,
    MODALITIES,
    OPTIONS,
    ROOT,
    SETTINGS,
    Done,
    call,
    demo,
    differing,
    program,
    report,
    results,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

EXAMPLE = ROOT / "examples" / "babs" / "ihf-harmony.yaml"
NAME = "ihf-harmony-0-1-0"
HOUR = 3600.0
IDENTITY = "[user]\n\tname = Test\n\temail = test@localhost\n"


@frozen
class Laboratory:
    """A user's folder on a cluster; ``preamble`` sets a job up as a user's would."""

    folder: Path
    cluster: Cluster
    preamble: str

    def call(self, *words: str | Path) -> Done:
        """Run a command that must succeed."""
        done = self.cluster.call(*words)
        assert done.code == 0, done
        report(" ".join(map(str, words))[:100], done)
        return done

    def idle(self) -> bool:
        """Whether no job runs or waits."""
        return not self.cluster.call("squeue", "--noheader").out.strip()


@pytest.fixture(scope="module")
def laboratory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Laboratory]:
    """A cluster with BABS, DataLad, git-annex, 7z and Apptainer on its users' PATH."""
    if "IMAGE_SIF" not in os.environ:
        pytest.skip("IMAGE_SIF names no SIF")
    babs = program(
        "babs", "it is tested (pip install babs==0.5.4 git-annex==10.20251215)", optional=True
    )
    apptainer = program("apptainer", "the SIF is run with it", optional=True)
    program("7z", "BABS packs results with it (Debian: p7zip-full)", optional=True)
    program("slurmctld", "BABS submits to Slurm (Debian: slurm-wlm, munge)", optional=True)
    folder = tmp_path_factory.mktemp("laboratory")
    programs = folder / "bin"
    programs.mkdir()
    (programs / "singularity").symlink_to(Path(apptainer).absolute())  # the name that BABS calls
    (folder / "scratch").mkdir()
    (folder / "gitconfig").write_text(IDENTITY)
    environment = {
        "PATH": os.pathsep.join(
            [str(programs), str(Path(babs).absolute().parent), os.environ["PATH"]]
        ),
        "GIT_CONFIG_GLOBAL": str(folder / "gitconfig"),
        "TMPDIR": str(folder / "scratch"),
        "OMP_NUM_THREADS": "1",
    }
    preamble = "".join(f'export {name}="{value}"\n' for name, value in environment.items())
    with one_node(folder / "slurm") as found:
        cluster = Cluster({**found.environment, **environment})
        yield Laboratory(folder, cluster, preamble)


@pytest.fixture(scope="module")
def bids(laboratory: Laboratory) -> Path:
    """The demo's first person as a DataLad dataset, every file of it in the annex."""
    folder = demo(laboratory.folder / "bids", 1)
    for path in (folder, *folder.rglob("*")):
        path.chmod(path.stat().st_mode | 0o200)
    laboratory.call("datalad", "create", "--force", folder)
    laboratory.call("datalad", "save", "--dataset", folder, "--message", "Add the demo")
    return folder


@pytest.fixture(scope="module")
def containers(laboratory: Laboratory) -> Path:
    """A DataLad dataset with the SIF."""
    folder = laboratory.folder / "containers"
    laboratory.call("datalad", "create", folder)
    sif = Path(os.environ["IMAGE_SIF"]).resolve()
    laboratory.call("datalad", "containers-add", "--dataset", folder, "--url", sif, NAME)
    return folder


@pytest.fixture(scope="module")
def by_hand(laboratory: Laboratory, bids: Path) -> dict[str, bytes]:
    """Results of the installed command."""
    out, work = laboratory.folder / "by-hand", laboratory.folder / "work"
    laboratory.call(
        *(BIN / "ihf-harmony", bids, out, "participant", *SETTINGS, "-w", work),
        "--skip-bids-validation",
    )
    return results(out)


@pytest.fixture(scope="module", params=["subject", "session"])
def level(request: pytest.FixtureRequest) -> str:
    """What a job is of."""
    return str(request.param)


@pytest.fixture(scope="module")
def project(laboratory: Laboratory, bids: Path, containers: Path, level: str) -> Path:
    """A project of the example, with its MEND lines mended."""
    content = yaml.safe_load(EXAMPLE.read_text())
    content["input_datasets"]["BIDS"]["origin_url"] = str(bids)
    content["script_preamble"] = laboratory.preamble
    content["bids_app_args"]["--modalities"] = " ".join([*MODALITIES, *OPTIONS])
    configuration = laboratory.folder / f"{level}.yaml"
    configuration.write_text(yaml.safe_dump(content, sort_keys=False))
    folder = laboratory.folder / f"by-{level}"
    laboratory.call(
        *("babs", "init", "--container-ds", containers, "--container-name", NAME),
        *("--container-config", configuration, "--processing-level", level),
        *("--queue", "slurm", folder),
    )
    return folder


@pytest.fixture(scope="module")
def merged(laboratory: Laboratory, project: Path) -> Path:
    """A clone of the project's merged results, with the files' content."""
    laboratory.call("babs", "check-setup", "--job-test", project)
    # Jobs that fetch the SIF from one dataset at the same time may fail; BABS submits them again.
    for _ in range(2):
        laboratory.call("babs", "submit", project)
        wait_until(laboratory.idle, "the end of all jobs", seconds=HOUR)
        status = laboratory.call("babs", "status", project)
        if "All jobs are completed!" in status.out:
            break
    logs = "\n".join(
        f"{path.name}:\n{path.read_text(errors='replace')[-3000:]}"
        for path in sorted((project / "analysis" / "logs").iterdir())
    )
    assert "All jobs are completed!" in status.out, f"{status}\n{logs}"
    laboratory.call("babs", "merge", project)
    clone = project.with_name(f"{project.name}-results")
    laboratory.call("datalad", "clone", f"ria+file://{project}/output_ria#~data", clone)
    laboratory.call("datalad", "-C", clone, "get", *_archives(clone))
    return clone


def _archives(clone: Path) -> list[str]:
    return sorted(path.name for path in clone.glob("*.zip"))


def test_a_result_for_each_job(bids: Path, merged: Path, level: str) -> None:
    sessions = [f"_{path.name}" for path in (bids / "sub-01").iterdir()]
    names = {"subject": [""], "session": sessions}[level]
    assert _archives(merged) == sorted(f"sub-01{name}_{NAME}.zip" for name in names)


@pytest.fixture(scope="module")
def unpacked(merged: Path) -> Path:
    """All archives, unpacked over each other."""
    folder = merged.with_name(f"{merged.name}-unpacked")
    for name in _archives(merged):
        with zipfile.ZipFile(merged / name) as archive:
            archive.extractall(folder)
    return folder / "ihf-harmony"


def test_same_bytes_as_by_hand(by_hand: dict[str, bytes], unpacked: Path) -> None:
    found = results(unpacked)
    assert [name for name in found if name.endswith("_desc-harmonized_T1w.nii.gz")]
    assert differing(found, by_hand) == []
    content = json.loads((unpacked / "dataset_description.json").read_text())
    assert content["GeneratedBy"][0]["Container"]["Type"] == "singularity"


def test_group(bids: Path, unpacked: Path) -> None:
    done = call(BIN / "ihf-harmony", bids, unpacked, "group")
    assert done.code == 0, done
    images = list((unpacked / "sub-01").rglob("*_desc-harmonized_T1w.nii.gz"))
    assert len((unpacked / "group_T1w.tsv").read_text().splitlines()) == 1 + len(images)


def test_provenance(laboratory: Laboratory, merged: Path) -> None:
    """The history tells which command made each result of what, as ``datalad rerun`` needs it."""
    for name in _archives(merged):
        message = laboratory.call("git", "-C", merged, "log", "-1", "--format=%B", "--", name).out
        record = json.loads(message.split("=== Do not change lines below ===")[1].split("^^^")[0])
        assert record["outputs"] == [name]
        assert f"containers/.datalad/environments/{NAME}/image" in record["inputs"]
