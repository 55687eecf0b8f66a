"""Pieces of HTML; all that is given as text is escaped."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING
from urllib.parse import quote

from attrs import frozen

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


@frozen
class Markup:
    """Text that is HTML already and not escaped again."""

    html: str


@frozen
class Number(Markup):
    """A measured value that names its column of the table of measures."""


Cell = str | Markup


def render(cell: Cell) -> str:
    """Return HTML: text escaped, markup as it is."""
    return cell.html if isinstance(cell, Markup) else escape(cell)


def link(target: str, words: str) -> Markup:
    """Return a link to a file beside the page, or to a place in it (``#name``)."""
    return Markup(f'<a href="{escape(quote(target, safe="/#"))}">{escape(words)}</a>')


def number(column: str, words: str) -> Number:
    """Return a value that says which column it is of, for who checks or copies the page."""
    return Number(f'<span data-column="{escape(column)}">{escape(words)}</span>')


def note(cell: Cell, kind: str = "") -> str:
    """Return a paragraph that stands out; `kind` is "", ``warning`` or ``failure``."""
    return f'<p class="{f"note {kind}".strip()}">{render(cell)}</p>\n'


def facts(pairs: Iterable[tuple[str, Cell]]) -> str:
    """Return a table of names and values."""
    rows = "".join(
        f'<tr><th scope="row">{escape(name)}</th><td>{render(value)}</td></tr>\n'
        for name, value in pairs
    )
    return f"<table>\n{rows}</table>\n"


def table(head: Sequence[str], rows: Iterable[Sequence[Cell]], *, sortable: bool = False) -> str:
    """Return a table with a heading; cells that are numbers stand to the right.

    Where it is `sortable` its headings are buttons, for a script of the page to act on.
    """
    words = [f"<button>{escape(each)}</button>" if sortable else escape(each) for each in head]
    top = "".join(f'<th scope="col">{each}</th>' for each in words)
    body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>\n" for row in rows)
    kind = ' class="sortable"' if sortable else ""
    return (
        f'<div class="wide"><table{kind}>\n<thead><tr>{top}</tr></thead>\n'
        f"<tbody>\n{body}</tbody></table></div>\n"
    )


def _cell(cell: Cell) -> str:
    plain = isinstance(cell, str) and is_number(cell)
    kind = ' class="number"' if plain or isinstance(cell, Number) else ""
    return f"<td{kind}>{render(cell)}</td>"


def is_number(words: str) -> bool:
    """Whether a text reads as a number."""
    try:
        float(words)
    except ValueError:
        return False
    return True


def count(number: int, noun: str) -> str:
    """Return a number with its noun."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def bullets(items: Iterable[Cell]) -> str:
    """Return a list."""
    return "<ul>\n" + "".join(f"<li>{render(item)}</li>\n" for item in items) + "</ul>\n"


def details(summary: Cell, content: str) -> str:
    """Return `content` (HTML) folded away under a line."""
    return f"<details><summary>{render(summary)}</summary>\n{content}</details>\n"


def flicker(source: str, alternative: str, caption: str, name: str) -> str:
    """Return a picture that shows two images by turns, with buttons that hold one of them.

    The file has the views ``#before`` and ``#after``; `name` sets these buttons apart.
    """
    address, words = escape(quote(source)), escape(alternative)
    looks = (
        ("turns", "", "by turns"),
        ("before", "#before", "before"),
        ("after", "#after", "after"),
    )
    buttons = "".join(
        f'<input type="radio" name="{escape(name)}" id="{escape(name)}-{kind}" class="{kind}"'
        f"{' checked' if kind == 'turns' else ''}>"
        f'<label for="{escape(name)}-{kind}">{label}</label>\n'
        for kind, _, label in looks
    )
    pictures = "".join(
        f'<img class="{kind}" src="{address}{view}" alt="{words}: {label}" loading="lazy">\n'
        for kind, view, label in looks
    )
    return (
        f'<figure class="flicker">{buttons}{pictures}'
        f"<figcaption>{escape(caption)}</figcaption></figure>\n"
    )


def figure(source: str, alternative: str, caption: str, *, narrow: bool = False) -> str:
    """Return a picture from a file beside the page."""
    address = escape(quote(source))
    kind = ' class="narrow"' if narrow else ""
    return (
        f'<figure{kind}><a href="{address}"><img src="{address}" alt="{escape(alternative)}" '
        f'loading="lazy"></a>\n<figcaption>{escape(caption)}</figcaption></figure>\n'
    )
