"""The examples and the image's recipe use what exists, under its name."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest
import yaml  # type: ignore[import-untyped]

from bids_ihf.cli.options import build_parser
from bids_ihf.pipeline.engine import read_plugin
from bids_ihf.version import __version__

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
FLAGS = {flag for action in build_parser()._actions for flag in action.option_strings}
APPTAINER = {"--cleanenv", "--containall", "--env", "--no-home", "--nv"}
SLURM = {"--array", "--dependency", "--gpus", "--mem"}


@pytest.mark.parametrize("script", sorted(EXAMPLES.glob("slurm/*.sh")), ids=lambda path: path.name)
def test_script(script: Path) -> None:
    assert script.stat().st_mode & 0o111
    subprocess.run(["bash", "-n", str(script)], check=True)
    lines = [line for line in script.read_text().splitlines() if not line.startswith("#SBATCH")]
    used = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", "\n".join(lines)))
    assert used <= FLAGS | APPTAINER | SLURM


def test_nipype_plugin() -> None:
    name, arguments = read_plugin(EXAMPLES / "slurm" / "nipype.yml")
    assert name == "SLURM"
    assert "--mem" in arguments["sbatch_args"]


def test_babs() -> None:
    content = yaml.safe_load((EXAMPLES / "babs" / "ihf-harmony.yaml").read_text())
    used = {key for key in content["bids_app_args"] if key.startswith("-")}
    assert used <= FLAGS
    assert content["bids_app_args"]["$SUBJECT_SELECTION_FLAG"] in FLAGS
    assert content["zip_foldernames"] == {"ihf-harmony": __version__.replace(".", "-")}


def test_nipoppy() -> None:
    folder = EXAMPLES / "nipoppy"
    read = {path.stem: json.loads(path.read_text()) for path in folder.glob("*.json")}
    ids = {entry["id"] for entry in json.loads((ROOT / "boutiques.json").read_text())["inputs"]}
    assert set(read["invocation"]) <= ids
    assert read["config"]["VERSION"] == __version__
    (step,) = read["config"]["STEPS"]
    files = {value for key, value in step.items() if key.endswith("_FILE")}
    assert files == {f"{name}.json" for name in read if name != "config"} | {"descriptor.json"}


def test_dockerfile_knows_the_version() -> None:
    assert f"ARG VERSION={__version__}\n" in (ROOT / "Dockerfile").read_text()


def test_image_gets_what_it_copies() -> None:
    ignore = (ROOT / ".dockerignore").read_text().splitlines()
    let_in = {line.removeprefix("!") for line in ignore if line.startswith("!")}
    copied = re.findall(r"(?m)^COPY (?!--from)(.+) \S+$", (ROOT / "Dockerfile").read_text())
    names = {name for line in copied for name in line.split()}
    assert names == let_in
    assert all((ROOT / name).exists() for name in names)
