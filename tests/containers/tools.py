"""What the tests of the image and of a cluster share: programs, the demo, runs and comparisons."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from attrs import frozen

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
ZOOM = os.environ.get("ZOOM", "1.0")
"""Voxel size (mm) of the demo dataset; coarse ones are quick."""
OPTIONS = os.environ.get("OPTIONS", "").split()
"""More options of the runs, such as ``--session-label ge``."""
MODALITIES = os.environ.get("MODALITIES", "T1w T2w dwi").split()
"""Kinds of image that are run; a table of the group is looked for with T1w."""
SETTINGS = (
    *("--target", "Siemens", "--n-procs", "1", "--device", "cpu"),
    *("--modalities", *MODALITIES, *OPTIONS),
)
USER = f"{os.getuid() or 1000}:{os.getgid() or 1000}"
"""Who runs in the container: whoever tests, but never root."""


def program(name: str, what_for: str, *, optional: bool = False) -> str:
    """Path of a program, named by the variable of its name in capitals or found on the PATH.

    A test of an ``optional`` one is skipped where it is missing.
    """
    variable = name.upper().replace("-", "_")
    found = shutil.which(os.environ.get(variable, name))
    if found is None:
        end = pytest.skip if optional else pytest.fail
        end(f"{name} is not installed: {what_for}; name it by {variable}=PATH.")
    return found


@frozen
class Done:
    """What a command left: its exit code, what it said, and what it took.

    ``cpu_seconds`` and ``memory_mb``, the most that one process held, are those of the command and
    its children; a container engine's service is none of them.
    """

    code: int
    out: str
    err: str
    seconds: float
    cpu_seconds: float
    memory_mb: float

    def __str__(self) -> str:
        """The exit code and the end of what was said."""
        return f"exit code {self.code}\n{self.out[-2000:]}\n{self.err[-4000:]}"


def call(*words: str | Path, **environment: str) -> Done:
    """Run a command to its end."""
    start = time.monotonic()
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        process = subprocess.Popen(
            [str(word) for word in words],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            env={**os.environ, **environment},
        )
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        for stream in (out, err):
            stream.seek(0)
        return Done(
            process.returncode,
            out.read(),
            err.read(),
            time.monotonic() - start,
            used.ru_utime + used.ru_stime,
            used.ru_maxrss / 1024,
        )


def report(what: str, done: Done) -> None:
    """Say what a run took, for the record."""
    sys.stdout.write(
        f"\n{what}: {done.seconds:.0f} s, {done.cpu_seconds:.0f} s of processor, "
        f"{done.memory_mb:.0f} MB\n"
    )


def demo(folder: Path, subjects: int) -> Path:
    """A demo dataset, read-only for everyone."""
    done = call(BIN / "ihf", "demo-data", folder, "--subjects", str(subjects), "--zoom", ZOOM,
                "--modalities", *MODALITIES)  # fmt: skip
    assert done.code == 0, done
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)
    return folder


def open_folder(path: Path) -> Path:
    """A new folder that the user in the container may write."""
    path.mkdir(parents=True)
    if os.getuid() == 0:
        os.chown(path, *(int(number) for number in USER.split(":")))
    for parent in path.parents:
        if parent.stat().st_uid == os.getuid() and not parent.stat().st_mode & 0o001:
            parent.chmod(0o711)  # pytest's own folders are closed to others
    return path


def results(out: Path) -> dict[str, bytes]:
    """All files of an output folder by name, but for what belongs to the run and not to the data.

    Logs and pages name the run, its folders and the time.  The scans tables tell how long an image
    took.  The dataset's description names the container and where the input was.
    """
    found = {}
    for path in sorted(path for path in out.rglob("*") if path.is_file()):
        name = path.relative_to(out).as_posix()
        if "/log/" in name or path.suffix == ".html":
            continue
        content = path.read_bytes()
        if path.name.endswith("_scans.tsv"):
            content = _without_column(content, "seconds")
        if name == "dataset_description.json":
            content = _without_place(content)
        found[name] = content
    return found


def _without_column(table: bytes, column: str) -> bytes:
    rows = [line.split(b"\t") for line in table.splitlines()]
    index = rows[0].index(column.encode())
    return b"\n".join(b"\t".join(row[:index] + row[index + 1 :]) for row in rows)


def _without_place(description: bytes) -> bytes:
    content: dict[str, Any] = json.loads(description)
    content.pop("DatasetLinks")
    content["Name"] = ""  # falls back to the name of the input folder
    for generator in content["GeneratedBy"]:
        generator.pop("Container", None)
    return json.dumps(content).encode()


def images(bids: Path, folders: Sequence[str]) -> list[Path]:
    """Every image that is run in these folders of participants or sessions."""
    found = [
        path
        for name in folders
        for kind in MODALITIES
        for path in (bids / name).rglob(f"*_{kind}.nii.gz")
    ]
    assert found
    return found


def assert_harmonized(bids: Path, out: Path, folders: Sequence[str]) -> None:
    """Every image of these participants or sessions has its finished output."""
    for source in images(bids, folders):
        stem, suffix = source.name.removesuffix(".nii.gz").rsplit("_", 1)
        folder = out / source.parent.relative_to(bids)
        for ending in (".nii.gz", ".json"):
            assert (folder / f"{stem}_desc-harmonized_{suffix}{ending}").stat().st_size > 0


def differing(one: dict[str, bytes], other: dict[str, bytes]) -> list[str]:
    """Names of files that only one of two outputs has, or whose bytes differ."""
    return sorted(name for name in one.keys() | other.keys() if one.get(name) != other.get(name))
