"""Tables of benchmark results: TSV, a JSON data dictionary, and aligned text for the terminal."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from attrs import frozen

from bids_ihf.bids.sidecars import to_json
from bids_ihf.io import tsv

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

Row = dict[str, Any]


@frozen
class Column:
    """What the data dictionary says of a column."""

    description: str
    units: str | None = None
    long_name: str | None = None
    levels: Mapping[str, str] | None = None

    def entry(self) -> dict[str, Any]:
        """The column's entry in the data dictionary."""
        entry = {
            "LongName": self.long_name,
            "Description": self.description,
            "Units": self.units,
            "Levels": self.levels,
        }
        return {key: value for key, value in entry.items() if value is not None}


@frozen
class Table:
    """Rows, and the columns to write of them."""

    rows: Sequence[Row]
    columns: Mapping[str, Column]

    def files(self, name: str, facts: Mapping[str, Any]) -> dict[str, bytes]:
        """``name.tsv`` and its data dictionary ``name.json``, which ends with ``facts``."""
        dictionary = {column: described.entry() for column, described in self.columns.items()}
        return {
            f"{name}.tsv": to_tsv(self.rows, list(self.columns)),
            f"{name}.json": to_json(dictionary | dict(facts)),
        }


def to_tsv(rows: Iterable[Row], columns: Sequence[str]) -> bytes:
    """Tab-separated text of chosen columns; missing values and NaN are ``n/a``.

    Infinity, the PSNR of equal images, is ``inf``.
    """
    return tsv.to_tsv(columns, [{name: _cell(row.get(name)) for name in columns} for row in rows])


def _cell(value: Any) -> Any:
    infinite = isinstance(value, float) and math.isinf(value)
    return f"{value:g}" if infinite else value


def aligned(rows: Iterable[Row], columns: Sequence[str]) -> str:
    """Chosen columns as aligned text, numbers with four significant digits.

    >>> print(aligned([{"method": "none", "rmse": 0.12345}], ["method", "rmse"]), end="")
    method  rmse
    none    0.1235
    """
    lines = [list(columns)]
    for row in rows:
        cells = (row[name] for name in columns)
        lines.append([cell if isinstance(cell, str) else f"{cell:.4g}" for cell in cells])
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    padded = (
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )
    return "\n".join(padded) + "\n"


def markdown_row(cells: Iterable[str]) -> str:
    """A line of a Markdown table."""
    return f"| {' | '.join(cells)} |\n"


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table.

    >>> print(markdown_table(["what", "time"], [["mask", "4 s"]]), end="")
    | what | time |
    | --- | --- |
    | mask | 4 s |
    """
    return "".join(map(markdown_row, [head, ["---"] * len(head), *rows]))


def group_rows(rows: Iterable[Row], columns: Sequence[str]) -> dict[tuple[Any, ...], list[Row]]:
    """Rows by their values in some columns, in the order in which these occur."""
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault(tuple(row[name] for name in columns), []).append(row)
    return groups
