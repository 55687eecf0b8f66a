"""The examples and the image's recipe use what exists, under its name."""

from __future__ import annotations

import json
import re
import runpy
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
XNAT_INPUT_KEYS = set(
    "name label description type required default-value replacement-key command-line-flag "
    "command-line-separator true-value false-value select-values".split()
)
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


@pytest.mark.parametrize(
    ("script", "task"),
    [
        ("pbs/array.sh", {"PBS_ARRAY_INDEX": "2", "NCPUS": "3"}),
        ("sge/array.sh", {"SGE_TASK_ID": "2", "NSLOTS": "3"}),
    ],
)
def test_another_scheduler_runs_its_participant(
    tmp_path: Path, script: str, task: dict[str, str]
) -> None:
    """The scripts of Slurm do the work, with the numbers of the scheduler."""
    path = EXAMPLES / script
    assert path.stat().st_mode & 0o111
    command = tmp_path / "ihf-harmony"
    command.write_text('#!/bin/bash\necho "$@"\n')
    command.chmod(0o755)
    (tmp_path / "participants.txt").write_text("01\n02\n03\n")
    environment = {
        **task,
        "PATH": f"{tmp_path}:/usr/bin:/bin",
        "PARTICIPANTS": str(tmp_path / "participants.txt"),
        "BIDS_DIR": "/bids",
        "OUT_DIR": str(tmp_path / "out"),
        "PBS_O_WORKDIR": str(path.parent),
    }
    done = subprocess.run(
        [str(path)],
        env=environment,
        cwd=path.parent,
        capture_output=True,
        text=True,
        check=True,
    )
    expected = "participant --participant-label 02 --target Siemens --device cpu --n-procs 3"
    assert expected in done.stdout


def test_xnat_command() -> None:
    """It is what the script makes, and keeps the rules of XNAT's Container Service (its
    documentation, JSON Command Definition)."""
    folder = EXAMPLES / "xnat"
    command = json.loads((folder / "command.json").read_text())
    make = runpy.run_path(str(folder / "make_command.py"))["make_command"]
    assert command == make(json.loads((ROOT / "boutiques.json").read_text()))
    assert command["schema-version"] == "1.0"
    assert command["type"] == "docker"
    assert command["version"] == __version__
    mounts = {mount["name"]: mount for mount in command["mounts"]}
    inputs = {entry["name"]: entry for entry in command["inputs"]}
    outputs = {entry["name"]: entry for entry in command["outputs"]}
    for entry in inputs.values():
        assert entry["type"] in {"string", "number", "boolean", "select-one"}
        assert set(entry) <= XNAT_INPUT_KEYS
        assert command["command-line"].count(entry["replacement-key"]) == 1
        used = entry.get("command-line-flag", entry.get("true-value"))
        assert used is None or used in FLAGS
        if entry["type"] == "boolean":
            assert entry["false-value"] == ""
        if entry["type"] == "select-one" and "default-value" in entry:
            assert entry["default-value"] in entry["select-values"]
        assert not entry["required"] or "default-value" in entry
    assert set(re.findall("#([a-z0-9_]+)#", command["command-line"])) == set(inputs)
    assert all(mounts[entry["mount"]]["writable"] for entry in outputs.values())
    (wrapper,) = command["xnat"]
    external = {entry["name"]: entry for entry in wrapper["external-inputs"]}
    for entry in external.values():
        assert entry["type"] in {"Project", "Subject", "Session", "Scan", "Resource"}
        assert not mounts[entry["provides-files-for-command-mount"]]["writable"]
    handled = {entry["accepts-command-output"] for entry in wrapper["output-handlers"]}
    assert handled == set(outputs)
    assert all(entry["as-a-child-of"] in external for entry in wrapper["output-handlers"])


def test_snakemake_rules() -> None:
    text = (EXAMPLES / "snakemake" / "ihf_harmony.smk").read_text()
    commands = " ".join(re.findall(r'^        "(.*)"$', text, re.MULTILINE))
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", commands)) <= FLAGS
    assert re.findall(r"^rule (\w+):", text, re.MULTILINE) == ["all", "participant", "group"]


def test_release() -> None:
    workflow = yaml.safe_load((ROOT / ".github/workflows/release.yml").read_text())
    jobs = workflow["jobs"]
    for job in jobs.values():
        needed = job.get("needs", [])
        assert set([needed] if isinstance(needed, str) else needed) <= set(jobs)
    assert workflow["permissions"] == {}
    zenodo = json.loads((ROOT / ".zenodo.json").read_text())
    assert zenodo["license"] == "Apache-2.0"
    assert zenodo["creators"] == [{"name": "The ihf-harmony developers"}]


def test_model_card_has_the_front_matter_of_a_hub() -> None:
    _, front, text = (ROOT / "docs/model-card.md").read_text().split("---\n", 2)
    fields = yaml.safe_load(front)
    assert fields["license"] == "apache-2.0"
    assert fields["library_name"] == "ihf-harmony"
    assert text.strip().startswith("# Model card: ihf-harmony-")
