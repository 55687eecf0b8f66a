"""Start-up: ``--version`` and ``--help`` load nothing heavy."""

from __future__ import annotations

import subprocess
import sys

import pytest

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


def test_package_runs_as_module() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bids_ihf", "--version"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.startswith("ihf-harmony ")
