"""The descriptor as Boutiques itself sees it, and run by it on the demo dataset.

Not collected by itself, for it needs bosh (``pip install boutiques``): ``make test-boutiques``.
BOSH names another one, ZOOM the demo's voxel size.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.containers.tools import BIN, ROOT, call, demo, program, report

DESCRIPTOR = ROOT / "boutiques.json"


@pytest.fixture(scope="session")
def bosh() -> str:
    """The bosh command."""
    return program("bosh", "it reads and runs Boutiques descriptors (pip install boutiques)")


@pytest.fixture(scope="session")
def invocation(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Values of a form: the T1w image of one session of the demo."""
    folder = tmp_path_factory.mktemp("boutiques")
    values = {
        "bids_dir": str(demo(folder / "bids", 1)),
        "output_dir_name": str(folder / "out"),
        "analysis_level": "participant",
        "participant_label": ["sub-01"],
        "session_label": ["ge"],
        "modalities": ["T1w"],
        "target": "Siemens",
        "work_dir": str(folder / "work"),
        "n_procs": 1,
        "device": "cpu",
        "verbose": True,
    }
    path = folder / "invocation.json"
    path.write_text(json.dumps(values))
    return path


@pytest.mark.parametrize("options", [(), ("--bids",)], ids=["boutiques", "bids"])
def test_valid(bosh: str, options: tuple[str, ...]) -> None:
    done = call(bosh, "validate", *options, DESCRIPTOR)
    assert done.code == 0, done


def test_simulate(bosh: str, invocation: Path) -> None:
    done = call(bosh, "exec", "simulate", "-i", invocation, DESCRIPTOR)
    assert done.code == 0, done
    values = json.loads(invocation.read_text())
    line = next(line for line in done.out.splitlines() if "ihf-harmony" in line)
    places = f"{values['bids_dir']} {values['output_dir_name']} participant"
    assert f"ihf-harmony {places} --participant-label sub-01 --session-label ge" in line
    assert "--target Siemens" in line
    assert "[" not in line  # every key was filled or taken out


@pytest.mark.parametrize(
    "wrong",
    [{"target": "Canon"}, {"n_procs": 0}, {"target_file": "x.safetensors"}, {"bids_dir": None}],
    ids=lambda wrong: next(iter(wrong)),
)
def test_refused(bosh: str, invocation: Path, tmp_path: Path, wrong: dict[str, object]) -> None:
    values = {**json.loads(invocation.read_text()), **wrong}
    path = tmp_path / "invocation.json"
    path.write_text(json.dumps({key: value for key, value in values.items() if value is not None}))
    assert call(bosh, "exec", "simulate", "-i", path, DESCRIPTOR).code != 0


def test_launch(bosh: str, invocation: Path) -> None:
    path = f"{BIN}{os.pathsep}{os.environ['PATH']}"
    done = call(
        *(bosh, "exec", "launch", "--no-container", "--skip-data-collection"),
        *(DESCRIPTOR, invocation),
        PATH=path,
        OMP_NUM_THREADS="1",
    )
    assert done.code == 0, done
    report("launch by bosh", done)
    values = json.loads(invocation.read_text())
    out = Path(values["output_dir_name"])
    assert (out / "dataset_description.json").exists()
    image = "sub-01/ses-ge/anat/sub-01_ses-ge_desc-harmonized_T1w.nii.gz"
    assert (out / image).stat().st_size > 0
