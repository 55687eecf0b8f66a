"""Reading of single values."""

from __future__ import annotations

import argparse
import string
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bids_ihf.config import values
from bids_ihf.config.option import unique_items

LABELS = st.lists(
    st.text(string.ascii_letters + string.digits, min_size=1, max_size=8), max_size=6
)


@given(st.integers(1, 10**6), st.sampled_from("KMGT"), st.sampled_from(["", "B", "iB", "b"]))
def test_memory_units(amount: int, unit: str, ending: str) -> None:
    expected = amount * {"K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}[unit] / 2**30
    assert values.memory_gb(f"{amount}{unit}{ending}") == pytest.approx(expected)
    assert values.memory_gb(f" {amount}{unit.lower()} ") == pytest.approx(expected)


@given(st.integers(1, 10**6))
def test_bare_memory_is_in_megabytes(amount: int) -> None:
    assert values.memory_gb(str(amount)) == pytest.approx(amount / 1024)


@pytest.mark.parametrize("text", ["", "G", "0", "-1G", "1X", "1 2"])
def test_no_memory(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="amount of memory"):
        values.memory_gb(text)


@given(LABELS, st.booleans())
def test_labels_with_or_without_prefix(labels: list[str], prefixed: bool) -> None:
    words = [f"sub-{label}" if prefixed else label for label in labels]
    assert unique_items(map(values.participant_labels, words)) == tuple(dict.fromkeys(labels))


@given(LABELS)
def test_labels_from_file(labels: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "labels.txt"
        path.write_text("\n".join(f"sub-{label}" for label in labels))
        assert values.participant_labels(str(path)) == tuple(dict.fromkeys(labels))


def test_prefix_is_removed_once_and_not_by_letters() -> None:
    assert values.participant_labels("subbus") == ("subbus",)
    assert values.participant_labels("sub-subu") == ("subu",)
    assert values.session_labels("ses-1") == ("1",)
