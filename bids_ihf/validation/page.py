"""The page ``validation.html``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bids_ihf.io.atomic import write_atomic
from bids_ihf.io.tsv import MISSING_VALUE
from bids_ihf.reports import charts
from bids_ihf.reports.group_charts import GROUP_COLOURS, GROUP_MARKERS
from bids_ihf.reports.templates import render
from bids_ihf.validation.comparison import DEFORMABLE_SUFFIX, METRICS
from bids_ihf.validation.features import FEATURE_MEANINGS
from bids_ihf.validation.records import VOLUME_METHODS, StructureAgreement
from bids_ihf.validation.results import METHOD_LEVELS, TargetResults
from bids_ihf.validation.verdicts import structure_verdicts, summary_kind, summary_sentence

if TYPE_CHECKING:
    from markupsafe import Markup
    from matplotlib.figure import Figure

    from bids_ihf.validation.agreement import Estimate
    from bids_ihf.validation.measuring import Findings
    from bids_ihf.validation.results import Row

MAX_CHART_STRUCTURES = 24
"""Structures that a chart shows; the table has all."""


def write_page(out_dir: Path, sections: Sequence[dict[str, Any]], facts: dict[str, str]) -> Path:
    """Write ``validation.html`` from the sections of all modalities.

    Raises
    ------
    CannotWrite
        It cannot be written.
    """
    page = render(
        "validation.html.j2",
        title="Validation",
        navigation=[section["modality"] for section in sections],
        sections=sections,
        facts=facts,
        methods=METHOD_LEVELS,
        features=FEATURE_MEANINGS,
    )
    path = out_dir / "validation.html"
    write_atomic(path, page.encode())
    return path


def page_section(
    findings: Findings,
    results: Sequence[TargetResults],
    tables: dict[str, list[Row]],
) -> dict[str, Any]:
    """What the page says of one modality."""
    study = findings.study
    return {
        "modality": study.modality,
        "people": len(study.people),
        "travelers": len(study.travelers),
        "images": len(study.scans),
        "scanners": study.scanners,
        "scanner_source": study.scanner_source,
        "failures": findings.failures,
        "targets": [_target_entry(study.modality, result, tables) for result in results],
    }


def _target_entry(
    modality: str, results: TargetResults, tables: dict[str, list[Row]]
) -> dict[str, Any]:
    verdicts = structure_verdicts(results.agreements)
    people = max((row.agreement.people for row in results.agreements), default=0)

    def rows(name: str) -> list[Row]:
        return [row for row in tables[name] if row["target_scanner"] in (None, results.target)]

    return {
        "target": results.target,
        "summary": summary_sentence(verdicts, people),
        "summary_kind": summary_kind(verdicts),
        "verdicts": verdicts,
        "volumes": [_volume_cells(row) for row in results.agreements],
        "charts": _agreement_charts(modality, results),
        "similarity": _similarity_cells(rows("pairs")),
        "probes": [_probe_cells(row) for row in rows("probes")],
        "effects": [_effect_cells(row) for row in rows("effects")],
        "combat_problem": results.combat_problem,
    }


def _volume_cells(row: StructureAgreement) -> tuple[str, ...]:
    agreement = row.agreement
    return (
        row.tool,
        row.structure,
        row.method,
        f"{row.mean_ml:.4g}",
        _with_interval(agreement.difference),
        _with_interval(agreement.variation),
        _with_interval(agreement.absolute, 3),
        _with_interval(agreement.consistent, 3),
        _decimal(row.repeat.value),
        _decimal(row.shift.value) if row.verdict else "",
        row.verdict,
    )


def _similarity_cells(rows: Sequence[Row]) -> list[tuple[str, ...]]:
    """Mean of each metric over pairs, by method."""
    columns = [*METRICS, *(name + DEFORMABLE_SUFFIX for name in METRICS)]
    methods = dict.fromkeys(str(row["method"]) for row in rows)
    table = []
    for method in methods:
        members = [row for row in rows if row["method"] == method]
        cells = [method, str(len(members))]
        for column in columns:
            values = [float(row[column] or 0) for row in members if row.get(column) is not None]
            cells.append(_decimal(float(np.mean(values)), 4) if values else MISSING_VALUE)
        table.append(tuple(cells))
    return table


def _probe_cells(row: Row) -> tuple[str, ...]:
    accuracy, low, high = (
        f"{100 * float(row[name] or 0):.0f}"
        for name in ("accuracy", "accuracy_low", "accuracy_high")
    )
    chance, permuted = (f"{100 * float(row[name] or 0):.0f} %" for name in ("chance", "permuted"))
    named = "yes" if float(row["accuracy"] or 0) > float(row["permuted"] or 0) else "no"
    label = (str(row["features"]), str(row["method"]))
    return (*label, f"{accuracy} % [{low}, {high}]", chance, permuted, named)


def _effect_cells(row: Row) -> tuple[str, ...]:
    slope = f"{row['effect']:.3g} [{row['effect_low']:.3g}, {row['effect_high']:.3g}]"
    names = ("column", "unit", "tool", "structure", "method")
    return (
        *(str(row[name]) for name in names),
        slope,
        f"{row['p_value']:.2g}",
        str(row["people"]),
    )


def _agreement_charts(modality: str, results: TargetResults) -> list[Markup]:
    """A chart of AVDP by structure and method for each tool."""
    tools = dict.fromkeys(row.tool for row in results.agreements)
    return [
        _agreement_chart(f"{modality}-{results.target}-{number}", tool, results.agreements)
        for number, tool in enumerate(tools)
    ]


def _agreement_chart(name: str, tool: str, agreements: Sequence[StructureAgreement]) -> Markup:
    members = [row for row in agreements if row.tool == tool]
    structures = list(dict.fromkeys(row.structure for row in members))[:MAX_CHART_STRUCTURES]
    methods = [m for m in VOLUME_METHODS if any(row.method == m for row in members)]
    rank = {structure: index for index, structure in enumerate(structures)}
    legend_height = charts.LEGEND_ROW_PT * len(methods) + 10
    height = 30 * len(structures) + 100 + legend_height

    def draw(figure: Figure) -> None:
        (axes,) = charts.add_panels(figure, 1, (230, 46 + legend_height))
        axes.set(
            xlabel="difference between scanners (AVDP), %", ylim=(len(structures) - 0.4, -0.6)
        )
        axes.set_yticks(range(len(structures)), structures)
        axes.grid(axis="y", color="#e3e8ec", linewidth=1)
        for number, method in enumerate(methods):
            rows = [r for r in members if r.method == method and r.structure in rank]
            values = [r.agreement.difference.value for r in rows]
            offset = 0.12 * (number - (len(methods) - 1) / 2)
            heights = [rank[r.structure] + offset for r in rows]
            colour, marker = GROUP_COLOURS[number], GROUP_MARKERS[number % len(GROUP_MARKERS)]
            axes.scatter(values, heights, s=50, c=colour, marker=marker, label=method, zorder=2)
        axes.set_xlim(left=0)
        charts.add_legend(figure)

    safe = "".join(letter if letter.isalnum() else "-" for letter in name)
    return charts.draw_svg(
        draw,
        960,
        height,
        name=safe,
        title=f"Difference between scanners by structure, {tool}",
        description=f"A mark for each method: {', '.join(methods)}.",
    )


def _with_interval(estimate: Estimate, digits: int = 2) -> str:
    if not np.isfinite(estimate.value):
        return MISSING_VALUE
    if not np.isfinite(estimate.low):
        return _decimal(estimate.value, digits)
    low, high = (_decimal(value, digits) for value in (estimate.low, estimate.high))
    return f"{_decimal(estimate.value, digits)} [{low}, {high}]"


def _decimal(value: float, digits: int = 2) -> str:
    return f"{value:.{digits}f}" if np.isfinite(value) else MISSING_VALUE
