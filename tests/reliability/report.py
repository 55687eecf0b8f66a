"""The results of all parts in one JSON file; the tables of docs/reliability.md made from it."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any

from bids_ihf.io.atomic import folder_lock, write_atomic

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

FILE = "reliability.json"
BEGIN, END = "<!-- tables: begin -->\n", "<!-- tables: end -->\n"
PARTS = {
    "images": "Bad images and series",
    "datasets": "Bad datasets",
    "targets": "Bad targets",
    "files": "Bad filter, settings and plugin files",
    "command line": "Bad command lines and folders",
    "faults": "Faults at random moments",
    "together": "Many runs at once",
    "repeats": "The same input again",
    "geometry": "Grids and orientations",
    "endurance": "Long runs",
}


def keep(folder: Path, part: str, rows: Sequence[dict[str, Any]], key: str = "") -> None:
    """Put the results of a part, or of one ``key`` of it, beside those of the others."""
    path = folder / FILE
    with folder_lock(folder):
        content = json.loads(path.read_text()) if path.is_file() else {}
        content.setdefault(part, {})[key] = list(rows)
        write_atomic(path, (json.dumps(content, indent=1, sort_keys=True) + "\n").encode())


def row(case: str, outcome: str, complaints: Iterable[str], **more: Any) -> dict[str, Any]:
    """One case."""
    return {"case": case, "outcome": outcome, "complaints": list(complaints), **more}


def write_tables(folder: Path, page: Path) -> None:
    """Bring the tables of a page up to date."""
    content = json.loads((folder / FILE).read_text())
    parts = {
        part: [row for rows in content[part].values() for row in rows]
        for part in PARTS
        if part in content
    }
    text = page.read_text()
    before, rest = text.split(BEGIN)
    after = rest.split(END)[1]
    tables = "\n".join([_summary(parts), *(_part(part, rows) for part, rows in parts.items())])
    page.write_text(f"{before}{BEGIN}\n{tables}\n{END}{after}")


def _summary(parts: dict[str, list[dict[str, Any]]]) -> str:
    lines = ["| part | cases | passed |", "|---|---|---|"]
    for part, rows in parts.items():
        passed = sum(not row["complaints"] for row in rows)
        lines.append(f"| {PARTS[part]} | {len(rows)} | {passed} |")
    return "\n".join(lines) + "\n"


def _part(part: str, rows: list[dict[str, Any]]) -> str:
    lines = [f"### {PARTS[part]}", ""]
    if part == "faults":
        lines += ["| fault | injected | passed |", "|---|---|---|"]
        total = Counter(row["case"] for row in rows)
        good = Counter(row["case"] for row in rows if not row["complaints"])
        lines += [f"| {name} | {total[name]} | {good[name]} |" for name in sorted(total)]
    else:
        grouped: dict[str, list[str]] = defaultdict(list)
        for row in rows:
            if not row["complaints"]:
                grouped[row["outcome"]].append(row["case"])
        lines += ["| outcome | cases | which |", "|---|---|---|"]
        lines += [
            f"| {outcome} | {len(cases)} | {'; '.join(cases)} |"
            for outcome, cases in grouped.items()
        ]
    failed = [row for row in rows if row["complaints"]]
    if failed:
        lines += ["", "Not passed:", ""]
        lines += [
            f"* {row['case']}: {' '.join('; '.join(row['complaints']).split())[:200]}"
            for row in failed
        ]
    return "\n".join(lines) + "\n"
