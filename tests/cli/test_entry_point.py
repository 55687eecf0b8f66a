"""Both commands turn what is expected to go wrong into one line and an exit code."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from bids_ihf.cli import app, toolbox
from bids_ihf.cli.entry_point import EXIT_CODES, run_command
from bids_ihf.errors import BadData, HarmonyError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

FAILURES = [
    (BadData("x.nii.gz: is empty; fetch it again."), 65, "error: x.nii.gz: is empty"),
    (MemoryError(), 75, "error: "),
    (KeyboardInterrupt(), 130, "interrupted"),
]


@pytest.fixture(params=["ihf-harmony", "ihf"])
def failing_call(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[[BaseException], int]:
    """Call of a command whose work raises; its exit code."""

    def call(failure: BaseException) -> int:
        def work(_: object) -> int:
            raise failure

        monkeypatch.setattr("bids_ihf.cli.run.run", work)
        monkeypatch.setattr("bids_ihf.cli.commands.restore.run", work)
        main, words = {
            "ihf": (toolbox.main, ["restore", "a.nii.gz", "-o", "b.nii.gz"]),
            "ihf-harmony": (app.main, [str(tmp_path), str(tmp_path / "out"), "group"]),
        }[request.param]
        with pytest.raises(SystemExit) as end:
            main(words)
        assert isinstance(end.value.code, int)
        return end.value.code

    return call


@pytest.mark.parametrize(("failure", "code", "sentence"), FAILURES)
def test_expected_failure(
    failing_call: Callable[[BaseException], int],
    failure: BaseException,
    code: int,
    sentence: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert failing_call(failure) == code
    error = capsys.readouterr().err
    assert error.startswith("ihf")
    assert sentence in error
    assert len(error.splitlines()) == 1


@pytest.mark.parametrize("failure", [ValueError("a defect"), BrokenPipeError("of a worker")])
def test_unexpected_failure_is_raised(failure: Exception) -> None:
    def command() -> int:
        raise failure

    with pytest.raises(type(failure)):
        run_command("ihf", command)


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_reader_of_the_output_is_gone(unbuffered: str) -> None:
    tool = "from bids_ihf.cli.toolbox import main; main(['target', 'list'])"
    process = subprocess.Popen(
        [sys.executable, "-c", tool],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
    )
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait() == 141


def test_every_error_has_a_documented_code() -> None:
    subclasses: list[type[HarmonyError]] = HarmonyError.__subclasses__()
    codes = {HarmonyError.exit_code, *(error.exit_code for error in subclasses)}
    assert codes == EXIT_CODES.keys() - {0}
