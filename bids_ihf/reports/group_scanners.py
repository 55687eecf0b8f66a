"""What the group's page says in numbers about its scanners."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bids_ihf.reports import markup
from bids_ihf.reports.group_numbers import (
    FEWEST,
    FOLDS,
    VARIANCE_OF,
    Separability,
    Variance,
    separability,
    variances,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bids_ihf.reports.group_data import Member


def scanner_numbers(group: Sequence[Member]) -> str:
    """Return how well scanners are told apart and how much measures vary between them."""
    return f"<h3>Scanner effects</h3>\n{_told_apart(separability(group))}{_vary(variances(group))}"


def _told_apart(found: Separability | None) -> str:
    if found is None:
        return (
            "<p>Whether scanners can be told apart was not tried: this needs two scanners with "
            f"at least {FEWEST} images each, of at least two people.</p>\n"
        )
    words = (
        f"A linear classifier on the encoder's statistics names the scanner of people it has not "
        f"seen ({found.images} images of {found.people} people, {found.before.classes} scanners, "
        f"{min(FOLDS, found.people)} parts left out in turn). Chance is the share of "
        "the most frequent scanner; where scanners are permuted, 95 % of the tries stay below the "
        "last column."
    )
    rows = [
        (side, _percent(one.accuracy), _percent(one.chance), _percent(one.permuted))
        for side, one in (("before", found.before), ("after", found.after))
    ]
    head = ("Images", "Named rightly", "Chance", "95 % of permutations")
    return f"<p>{markup.render(words)}</p>\n{markup.table(head, rows)}"


def _vary(found: Sequence[Variance]) -> str:
    if not found:
        return ""
    words = (
        "Share of the variance over images that lies between scanners. Where every scanner has "
        "other people, part of it is theirs; by chance it would be what the last column says."
    )
    rows = [
        (
            VARIANCE_OF[one.measure],
            str(one.images),
            _percent(one.before),
            _percent(one.after),
            _percent(one.chance),
        )
        for one in found
    ]
    head = ("Measure", "Images", "Before", "After", "By chance")
    return f"<p>{markup.render(words)}</p>\n{markup.table(head, rows)}"


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"
