"""From exceptions to sentences, and back from the log folder."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bids_ihf import errors
from bids_ihf.io.failures import Failure, explain, read_failures, write_failure


@pytest.mark.parametrize(
    ("kind", "code"),
    [("BadData", 65), ("CannotWrite", 73), ("TemporaryFailure", 75), ("UsageError", 2)],
)
def test_expected_errors_speak_for_themselves(kind: str, code: int) -> None:
    sentence = "a.nii.gz: is truncated; fetch it again."
    failure = Failure.of(getattr(errors, kind)(sentence), "sub-01/anat/a.nii.gz", "prepare")
    assert (failure.message, failure.exit_code, failure.error) == (sentence, code, kind)


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (MemoryError("Unable to allocate 3 GiB"), 75, "--n-procs"),
        (RuntimeError("[enforce fail at alloc.cpp] can't allocate memory"), 75, "more"),
        (RuntimeError("std::bad_alloc"), 75, "memory"),
        (OSError(errno.ENOSPC, "No space left on device", "/w/a.npz"), 73, "/w/a.npz cannot be"),
        (OSError(errno.ENOSPC, "No space left on device"), 73, "the work folder cannot be"),
        (OSError(errno.EIO, "Input/output error"), 1, "please report"),
        (ValueError(), 1, "ValueError"),
    ],
)
def test_other_errors(error: Exception, code: int, words: str) -> None:
    message, kind = explain(error)
    assert kind.exit_code == code
    assert words in message


@given(st.text(max_size=200))
def test_a_message_is_one_line(text: str) -> None:
    for error in (ValueError(text), errors.BadData(text + "x")):
        message, _ = explain(error)
        assert len(message.splitlines()) == 1


def test_what_is_kept_comes_back(tmp_path: Path) -> None:
    failure = Failure("sub-01/anat/sub-01_T1w.nii.gz", "harmonize", "BadData", "bad.", 65)
    write_failure(tmp_path, "a", failure, "Traceback ...")
    assert read_failures(tmp_path) == {tmp_path / "crash-a.txt": failure}
    assert "bad.\n\nTraceback ..." in (tmp_path / "crash-a.txt").read_text()


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"image": 1, "other": 2}', "\x00"])
def test_what_is_no_record_is_left_out(tmp_path: Path, content: str) -> None:
    (tmp_path / "crash-a.json").write_text(content)
    assert read_failures(tmp_path) == {}


def test_no_log_folder(tmp_path: Path) -> None:
    assert read_failures(tmp_path / "none") == {}
