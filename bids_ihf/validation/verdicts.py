"""What the tables mean, in sentences."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from attrs import frozen

from bids_ihf.reports.templates import count_noun
from bids_ihf.validation.agreement import Estimate
from bids_ihf.validation.outcomes import HISTOGRAM_MATCHING, IHF_HARMONY, UNTOUCHED
from bids_ihf.validation.records import COMBAT, StructureAgreement

OUTCOME_TEXTS = {
    "helped": "harmonization helped",
    "harmed": "harmonization did harm",
    "no clear difference": "no clear difference",
}
"""The end of the sentence on a structure, by verdict."""

COMPARED_METHODS = (HISTOGRAM_MATCHING, COMBAT)
"""Methods whose AVDP is named beside."""


FEW_PEOPLE = 5
"""People below whom the summary warns that little can be told."""


@frozen
class Verdict:
    """What harmonization did to the agreement on one structure; ``kind`` as in the tables."""

    kind: str
    sentence: str


def structure_verdicts(agreements: Sequence[StructureAgreement]) -> list[Verdict]:
    """A sentence for each tool and structure whose volume is there before and after."""
    groups: dict[tuple[str, str], dict[str, StructureAgreement]] = {}
    for row in agreements:
        groups.setdefault((row.tool, row.structure), {})[row.method] = row
    return [
        Verdict(methods[IHF_HARMONY].verdict, _sentence(methods))
        for methods in groups.values()
        if {UNTOUCHED, IHF_HARMONY} <= set(methods)
        and np.isfinite(methods[IHF_HARMONY].change.value)
    ]


def _sentence(methods: dict[str, StructureAgreement]) -> str:
    before, after = methods[UNTOUCHED], methods[IHF_HARMONY]
    beside = [
        f"{method} {_number(methods[method].agreement.difference.value)} %"
        for method in COMPARED_METHODS
        if method in methods
    ]
    if np.isfinite(before.repeat.value):
        beside.append(f"repeats by one scanner {_number(before.repeat.value)} %")
    return (
        f"{after.structure} ({after.tool}): scanners differ by "
        f"{_number(before.agreement.difference.value)} % before and "
        f"{_number(after.agreement.difference.value)} % after"
        f"{' (' + ', '.join(beside) + ')' if beside else ''}; change {_change(after.change)}: "
        f"{OUTCOME_TEXTS[after.verdict]}. All volumes moved by {_signed(after.shift.value)} %."
    )


def summary_sentence(verdicts: Sequence[Verdict], people: int) -> str:
    """How many structures were helped and harmed, and what so few people can tell."""
    if not verdicts:
        return "No volume was measured before and after harmonization."
    count = {kind: sum(v.kind == kind for v in verdicts) for kind in OUTCOME_TEXTS}
    sentence = (
        f"Of {count_noun(len(verdicts), 'structure')}, harmonization helped in {count['helped']}, "
        f"did harm in {count['harmed']}, and made no clear difference in "
        f"{count['no clear difference']}."
    )
    if people < FEW_PEOPLE:
        sentence += (
            f" With {people} people on several scanners only large effects can be told from "
            "chance."
        )
    return sentence


def summary_kind(verdicts: Sequence[Verdict]) -> str:
    """Style of the summary's note: failure with any harm, else warning with no help."""
    kinds = {verdict.kind for verdict in verdicts}
    if "harmed" in kinds:
        return "failure"
    return "" if "helped" in kinds else "warning"


def _change(change: Estimate) -> str:
    if not np.isfinite(change.low):
        return f"{_signed(change.value)} percentage points in one person"
    return (
        f"{_signed(change.value)} percentage points, 95 % interval {_signed(change.low)} to "
        f"{_signed(change.high)}"
    )


def _number(value: float) -> str:
    return f"{value:.1f}" if abs(value) >= 1 else f"{value:.2f}"


def _signed(value: float) -> str:
    """A number with its sign; zero without.

    >>> _signed(-0.001), _signed(2.34), _signed(-0.5)
    ('0', '+2.3', '-0.50')
    """
    text = _number(value)
    return "0" if float(text) == 0 else text if value < 0 else f"+{text}"
