"""Tables as BIDS writes them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bids_ihf.errors import BadData
from bids_ihf.io.tsv import format_cell, read_tsv, to_tsv


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "n/a"),
        (float("nan"), "n/a"),
        (np.inf, "n/a"),
        ("", "n/a"),
        ("a\tb\nc", "a b c"),
        (3, "3"),
        (3.0, "3"),
        (-0.0, "0"),
        (np.float32(0.1), "0.1"),
        (1.25e-7, "0.000000125"),
        (1234567.89, "1234570"),
        (1e20, "100000000000000000000"),
        (1.9999999999, "2"),
    ],
)
def test_cells(value: float | str | None, text: str) -> None:
    assert format_cell(value) == text


@given(st.floats(allow_nan=False, allow_infinity=False, width=32))
def test_numbers_are_plain_and_close(value: float) -> None:
    text = format_cell(value)
    assert "e" not in text.lower()
    assert float(text) == pytest.approx(value, rel=1e-5)


def test_a_table_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "table.tsv"
    path.write_bytes(to_tsv(["a", "b"], [{"a": "x\ty", "b": 0.5}, {"a": 3, "c": "dropped"}]))
    assert read_tsv(path) == (["a", "b"], [{"a": "x y", "b": "0.5"}, {"a": "3", "b": "n/a"}])


def test_bad_tables(tmp_path: Path) -> None:
    path = tmp_path / "table.tsv"
    with pytest.raises(FileNotFoundError):
        read_tsv(path)
    path.write_text("a\tb\nonly one\n")
    with pytest.raises(BadData, match=r"not a tab-separated table: line 2 .* correct it\."):
        read_tsv(path)
    with pytest.raises(BadData, match=r"delete it\."):
        read_tsv(path, remedy="delete it")
    path.write_bytes(b"a\xff\n")
    with pytest.raises(BadData, match="cannot be read"):
        read_tsv(path)


def test_tables_of_a_spreadsheet(tmp_path: Path) -> None:
    path = tmp_path / "participants.tsv"
    path.write_bytes(b"\xef\xbb\xbfparticipant_id\tage\r\nsub-01\t30\r\n\r\n")
    assert read_tsv(path) == (
        ["participant_id", "age"],
        [{"participant_id": "sub-01", "age": "30"}],
    )
