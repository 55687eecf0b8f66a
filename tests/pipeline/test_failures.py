"""From tracebacks to sentences."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bids_ihf.pipeline.failures import explain, failures, read_crash
from bids_ihf.pipeline.participants import node_name

NESTED = """nipype.pipeline.engine.nodes.NodeExecutionError: Exception raised in Node x.

Traceback:
\tTraceback (most recent call last):
\t  File "steps.py", line 3, in prepare_scan
\t    raise BadData(sentence)
\tbids_ihf.errors.{kind}: {sentence}
"""


@pytest.mark.parametrize(
    ("kind", "code"),
    [("BadData", 65), ("CannotWrite", 73), ("TemporaryFailure", 75), ("UsageError", 2)],
)
def test_expected(kind: str, code: int) -> None:
    sentence = "a.nii.gz: is truncated; fetch it again."
    assert explain(NESTED.format(kind=kind, sentence=sentence)) == (sentence, code)


def test_last_of_a_chain_counts() -> None:
    first = NESTED.format(kind="BadData", sentence="first")
    assert explain(first + NESTED.format(kind="TemporaryFailure", sentence="second")) == (
        "second",
        75,
    )


@pytest.mark.parametrize(
    ("last", "code", "words"),
    [
        ("MemoryError: Unable to allocate 3 GiB", 75, "--n-procs"),
        ("RuntimeError: [enforce fail at alloc.cpp] can't allocate memory", 75, "more"),
        ("std::bad_alloc", 75, "memory"),
        ("OSError: [Errno 28] No space left on device: '/w/a.npz'", 73, "/w/a.npz cannot be"),
        ("OSError: [Errno 28] No space left on device", 73, "the work folder cannot be written"),
        ("OSError: [Errno 5] Input/output error", 1, "please report"),
    ],
)
def test_memory_and_disk(last: str, code: int, words: str) -> None:
    sentence, found = explain(f"Traceback (most recent call last):\n  File x\n{last}\n")
    assert found == code
    assert words in sentence


@given(st.text(min_size=0, max_size=200))
def test_anything_else_gives_one_line(text: str) -> None:
    sentence, code = explain(text)
    assert len(sentence.splitlines()) == 1
    assert sentence
    assert code >= 1


def test_crash_file(tmp_path: Path) -> None:
    path = tmp_path / "crash-1.txt"
    path.write_text(
        "Node: ihf_harmony_wf.sub-01.prepare_sub-01_T1w\nWorking directory: /w\n\n"
        "Node inputs:\nimage = x\n" + NESTED.format(kind="BadData", sentence="it is bad")
    )
    found = read_crash(path)
    assert found.node == "prepare_sub-01_T1w"
    assert found.sentence == "it is bad"
    assert found.crash_file == path
    assert failures(tmp_path) == {"prepare_sub-01_T1w": found}


def test_no_crash(tmp_path: Path) -> None:
    assert failures(tmp_path / "none") == {}


@pytest.mark.parametrize(
    "name", ["sub-01_acq-a+b_T1w.nii.gz", "sub-01_T1w.nii", "sub-ö_T2w.nii.gz"]
)
def test_node_names_suit_nipype(name: str) -> None:
    from nipype.interfaces.utility import IdentityInterface
    from nipype.pipeline.engine import Node

    assert Node(IdentityInterface(["x"]), name=node_name("prepare", Path(name)))
