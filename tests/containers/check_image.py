"""The image and the SIF: built, run as users run them, and compared with the installed command.

Not collected by itself, for it takes minutes and needs docker (or podman) and apptainer:
``make test-containers``.  DOCKER and APPTAINER name other programs, IMAGE_SIF a SIF
that is there already, ZOOM the demo's voxel size.
"""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from bids_ihf.version import __version__
from tests.containers.tools import (
    BIN,
    ROOT,
    SETTINGS,
    USER,
    Done,
    call,
    demo,
    differing,
    open_folder,
    program,
    report,
    results,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    Command = Callable[..., Done]

IMAGE = os.environ.get("IMAGE", "ihf-harmony:test")
LIMIT = 2 * 1000**3
CLOSED = ("--read-only", "--network", "none", "--tmpfs", "/tmp")  # noqa: S108 - the container's
CONTAINED = ("--containall", "--cleanenv", "--no-home")


@pytest.fixture(scope="session")
def docker() -> Command:
    """The docker command."""
    path = program("docker", "the image is built and run with it")
    return lambda *words: call(path, *words)


@pytest.fixture(scope="session")
def image(docker: Command) -> str:
    """The image, built from this tree."""
    done = docker("build", "--tag", IMAGE, ROOT)
    assert done.code == 0, done
    report("build of the image", done)
    return IMAGE


@pytest.fixture(scope="session")
def inspected(docker: Command, image: str) -> dict[str, Any]:
    """What the image says of itself."""
    done = docker("image", "inspect", image)
    assert done.code == 0, done
    (found,) = json.loads(done.out)
    return dict(found)


@pytest.fixture(scope="session")
def bids(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's first person on its scanners."""
    return demo(tmp_path_factory.mktemp("demo") / "bids", 1)


@pytest.fixture(scope="session")
def outside(bids: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Results of the installed command."""
    folder = tmp_path_factory.mktemp("outside")
    done = call(
        *(BIN / "ihf-harmony", bids, folder / "out", "participant", *SETTINGS),
        *("-w", folder / "work"),
        OMP_NUM_THREADS="1",
    )
    assert done.code == 0, done
    report("demo subject outside", done)
    return results(folder / "out")


@pytest.fixture(scope="session")
def inside(docker: Command, image: str, bids: Path, tmp_path_factory: Any) -> Path:
    """Output folder of the image's run: no root, read-only, no network, no home folder."""
    out = open_folder(tmp_path_factory.mktemp("inside") / "out")
    done = docker(
        *("run", "--rm", *CLOSED, "--user", USER, "--env", "HOME=/nowhere"),
        *("--volume", f"{bids}:/bids:ro", "--volume", f"{out}:/out"),
        *(image, "/bids", "/out", "participant", *SETTINGS),
    )
    assert done.code == 0, done
    report("demo subject in the container", done)
    return out


def test_size(inspected: dict[str, Any]) -> None:
    assert inspected["Size"] <= LIMIT


def test_configuration(inspected: dict[str, Any]) -> None:
    config = inspected["Config"]
    assert config["Entrypoint"] == ["/opt/ihf-harmony/bin/ihf-harmony"]
    labels = config["Labels"]
    assert labels["org.opencontainers.image.version"] == __version__
    assert labels["org.opencontainers.image.licenses"] == "Apache-2.0"
    environment = dict(entry.split("=", 1) for entry in config["Env"])
    assert environment["OMP_NUM_THREADS"] == "1"
    assert environment["NVIDIA_DRIVER_CAPABILITIES"] == "compute,utility"


def test_same_bytes_inside_and_outside(inside: Path, outside: dict[str, bytes]) -> None:
    assert differing(results(inside), outside) == []


def test_everything_belongs_to_the_user(inside: Path) -> None:
    uid, gid = (int(number) for number in USER.split(":"))
    for path in inside.rglob("*"):
        status = path.stat()
        assert (status.st_uid, status.st_gid) == (uid, gid)
        assert path.is_dir() or stat.S_IMODE(status.st_mode) & 0o400


def test_output_names_the_container(inside: Path) -> None:
    content = json.loads((inside / "dataset_description.json").read_text())
    assert content["GeneratedBy"][0]["Container"] == {"Type": "docker", "Tag": __version__}


@pytest.mark.parametrize("user", ["0:0", "54321:54321"])
def test_any_user(docker: Command, image: str, user: str) -> None:
    done = docker("run", "--rm", *CLOSED, "--user", user, image, "--version")
    assert (done.code, done.out) == (0, f"ihf-harmony {__version__}\n"), done


def test_help_without_arguments_and_exit_code(docker: Command, image: str, bids: Path) -> None:
    done = docker("run", "--rm", *CLOSED, image)
    assert done.code == 0
    assert "--participant-label" in done.out
    volume = ("--volume", f"{bids}:/bids:ro")
    done = docker("run", "--rm", *CLOSED, *volume, image, "/bids", "/tmp/out", "participant")  # noqa: S108
    assert done.code == 2
    assert "--target is needed" in done.err


def test_toolbox(docker: Command, image: str) -> None:
    entry = ("--entrypoint", "/opt/ihf-harmony/bin/ihf")
    done = docker("run", "--rm", *CLOSED, "--user", USER, *entry, image, "target", "list")
    assert done.code == 0, done
    assert "Siemens" in done.out


@pytest.fixture(scope="session")
def apptainer() -> Command:
    """The apptainer command."""
    path = program("apptainer", "the SIF is built and run with it")
    return lambda *words: call(path, *words)


@pytest.fixture(scope="session")
def sif(request: pytest.FixtureRequest, apptainer: Command, tmp_path_factory: Any) -> Path:
    """The image as a SIF, or the one that IMAGE_SIF names."""
    if "IMAGE_SIF" in os.environ:
        return Path(os.environ["IMAGE_SIF"])
    docker, image = (request.getfixturevalue(name) for name in ("docker", "image"))
    folder = tmp_path_factory.mktemp("sif")
    archive, path = folder / "image.tar", folder / "ihf-harmony.sif"
    done = docker("save", image, "--output", archive)
    assert done.code == 0, done
    done = apptainer(
        *("build", "--build-arg", f"IMAGE={archive}", path, ROOT / "Singularity.def"),
    )
    archive.unlink()
    assert done.code == 0, done
    report(f"build of the SIF ({path.stat().st_size / 1e6:.0f} MB)", done)
    return path


def test_sif_tests_itself(apptainer: Command, sif: Path) -> None:
    done = apptainer("test", *CONTAINED, sif)
    assert done.code == 0, done
    assert "weight files" in done.out


def test_sif_helps(apptainer: Command, sif: Path) -> None:
    done = apptainer("run-help", sif)
    assert "--target Siemens" in done.out
    done = apptainer("inspect", "--labels", sif)
    assert __version__ in done.out


@pytest.mark.parametrize("nvidia", [(), ("--nv",)], ids=["plain", "nv"])
def test_sif_contained(
    *,
    apptainer: Command,
    sif: Path,
    bids: Path,
    outside: dict[str, bytes],
    tmp_path: Path,
    nvidia: tuple[str, ...],
) -> None:
    out, work = open_folder(tmp_path / "out"), open_folder(tmp_path / "work")
    # --nv is for a GPU; on a machine without one it must not stand in the way.
    chosen = ("--session-label", "ge") if nvidia else ()
    done = apptainer(
        *("run", *CONTAINED, *nvidia, "-B", f"{bids}:/bids:ro"),
        *("-B", f"{out}:/out", "-B", f"{work}:/work", sif),
        *("/bids", "/out", "participant", *SETTINGS, *chosen, "-w", "/work"),
    )
    assert done.code == 0, done
    report(f"demo subject in the SIF {' '.join(nvidia)}", done)
    found = [
        {name: content for name, content in files.items() if not chosen or "/ses-ge/" in name}
        for files in (results(out), outside)
    ]
    assert found[0]
    assert differing(*found) == []
