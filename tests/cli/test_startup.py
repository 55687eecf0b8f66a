"""Start-up: ``--version`` and ``--help`` load nothing heavy."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bids_ihf.cli import app
from bids_ihf.config import RunConfig

HEAVY = ("torch", "ants", "nipype", "pandas", "nibabel", "numpy", "scipy", "matplotlib")
SCRIPT = """
import runpy, sys
sys.argv = ["x", *{options!r}]
try:
    from {module} import main
    main()
except SystemExit as end:
    assert end.code == {code}, end.code
loaded = sorted(set({heavy!r}) & set(sys.modules))
assert not loaded, loaded
"""


@pytest.mark.parametrize(
    ("module", "options", "code"),
    [
        ("bids_ihf.cli.app", ["--version"], 0),
        ("bids_ihf.cli.app", ["--help"], 0),
        ("bids_ihf.cli.app", ["/no/such/folder", "/out", "participant"], 2),
        ("bids_ihf.cli.toolbox", ["--version"], 0),
        ("bids_ihf.cli.toolbox", ["--help"], 0),
        *(
            ("bids_ihf.cli.toolbox", [command, "--help"], 0)
            for command in ("demo-data", "target", "train", "restore", "evaluate", "benchmark")
        ),
    ],
)
def test_light(module: str, options: list[str], code: int) -> None:
    script = SCRIPT.format(module=module, options=options, code=code, heavy=HEAVY)
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("settings", "starts"),
    [
        ({}, True),
        ({"n_procs": 1}, False),
        ({"dry_run": True}, False),
        ({"reports_only": True}, False),
        ({"use_plugin": Path("slurm.yaml")}, False),
        ({"analysis_level": "group"}, False),
    ],
)
def test_only_a_run_with_workers_starts_the_process_they_come_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any], starts: bool
) -> None:
    started: list[bool] = []
    monkeypatch.setattr(app, "start_fork_server", lambda: started.append(True))
    for name in ("start_logging", "log_to_subjects", "prepare_environment"):
        monkeypatch.setattr(app, name, lambda *_: None)
    app.start(RunConfig(tmp_path, tmp_path / "out", **{"n_procs": 2, **settings}))
    assert bool(started) == starts


def test_package_runs_as_module() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bids_ihf", "--version"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.startswith("ihf-harmony ")
