"""Tab-separated tables as BIDS writes them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path

from bids_ihf.errors import BadData

MISSING_VALUE = "n/a"
"""What a BIDS table holds where a value is missing."""

Cell = float | int | str | None


def format_cell(value: Cell) -> str:
    """Format a value for a BIDS table: plain decimals, ``n/a`` where it is missing.

    Numbers that are not whole keep six significant digits; exponents are never used.

    >>> [format_cell(value) for value in (3.0, 1 / 3, 1e-7, None, float("nan"), "T1w")]
    ['3', '0.333333', '0.0000001', 'n/a', 'n/a', 'T1w']
    """
    if value is None:
        return MISSING_VALUE
    if isinstance(value, str):
        return " ".join(value.split()) or MISSING_VALUE
    number = float(value)
    if not math.isfinite(number):
        return MISSING_VALUE
    if number.is_integer():
        return str(int(number))
    return format(Decimal(f"{number:.6g}"), "f")


def to_tsv(columns: Sequence[str], rows: Iterable[Mapping[str, Cell]]) -> bytes:
    r"""Encode a table; cells are formatted by `format_cell`, absent ones are ``n/a``.

    >>> to_tsv(["subject", "icc"], [{"subject": "01", "icc": 0.9}, {"subject": "02"}])
    b'subject\ticc\n01\t0.9\n02\tn/a\n'
    """
    lines = [columns, *([format_cell(row.get(column)) for column in columns] for row in rows)]
    return "".join("\t".join(line) + "\n" for line in lines).encode()


def read_tsv(path: Path, remedy: str = "correct it") -> tuple[list[str], list[dict[str, str]]]:
    """Read a table: its columns, and the text of each row by column.

    A byte order mark and blank lines are passed over.  ``remedy`` is the advice of the message if
    it is no table.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    BadData
        The file cannot be read, or a row does not have as many cells as there are columns.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise
    except (OSError, ValueError) as error:
        raise BadData(f"{path} cannot be read ({error}): {remedy}.") from error
    lines = [
        (number, line.split("\t"))
        for number, line in enumerate(text.splitlines(), start=1)
        if line.strip()
    ]
    columns = lines[0][1] if lines else []
    for number, cells in lines:
        if len(cells) != len(columns):
            raise BadData(
                f"{path} is not a tab-separated table: line {number} has {len(cells)} cells, "
                f"the first {len(columns)}; {remedy}."
            )
    return columns, [dict(zip(columns, cells, strict=True)) for _, cells in lines[1:]]
