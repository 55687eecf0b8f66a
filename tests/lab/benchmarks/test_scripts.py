"""The benchmarks that are run as modules say how."""

from __future__ import annotations

import importlib
import re
import sys

import pytest

SCRIPTS = ("ablation", "brain_time", "cost", "diffusion_targets", "slab", "speed")


@pytest.mark.parametrize("script", SCRIPTS)
def test_help(
    script: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    name = f"bids_ihf.lab.benchmarks.{script}"
    module = importlib.import_module(f"{name}.__main__" if script == "speed" else name)
    monkeypatch.setattr(sys, "argv", [script, "--help"])
    with pytest.raises(SystemExit) as end:
        module.main()
    assert end.value.code == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert f"usage: python -m {name} [-h]" in shown
    (usage,) = re.findall(r"Usage: (.+?)(?:\n\n|\Z)", module.__doc__, flags=re.DOTALL)
    assert usage.startswith(f"python -m {name} ")
    # What the docstring says of positional arguments and options is what the command takes.
    for word in re.findall(r"--[a-z-]+|[A-Z]+_DIR|DEMO|SUBJECT|IMAGE", usage):
        assert word in shown
