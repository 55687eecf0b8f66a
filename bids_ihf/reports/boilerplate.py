"""Boilerplate for the methods section of a paper, with its references."""

from __future__ import annotations

import re
import sys
from importlib import metadata, resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import frozen

from bids_ihf.io.atomic import write_atomic
from bids_ihf.reports.templates import render
from bids_ihf.version import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SOFTWARE_PACKAGES = ("antspyx", "nipype", "pybids", "nibabel", "numpy", "torch")
CITATION_FILE = Path("logs") / "CITATION.md"
IDENTIFIERS = {"eprint": "arXiv", "doi": "doi"}
"""How identifiers are introduced, by field of the bibliography."""
_CITATION = re.compile(r"\[([^\]@]*@[^\]]*)\]")
_KEY = re.compile(r"@(\w+)")
_ENTRY = re.compile(r"^@\w+\{(\w+),\n(.*?)^\}", re.MULTILINE | re.DOTALL)
_FIELD = re.compile(r"^\s*(\w+) = \{(.*)\},?$", re.MULTILINE)


@frozen
class Reference:
    """An entry of the bibliography."""

    fields: Mapping[str, str]

    @property
    def authors(self) -> list[str]:
        """Family names and initials, such as ``Avants BB``; the last is "et al" if cut short."""
        names = [name.split(", ") for name in self.fields["author"].split(" and ")]
        return [
            f"{name[0]} {name[1].replace('.', '').replace(' ', '')}" if len(name) > 1 else "et al"
            for name in names
        ]

    @property
    def citation(self) -> str:
        """The citation in the text, such as ``Avants et al., 2011``."""
        families = [name.split(", ")[0] for name in self.fields["author"].split(" and ")]
        authors = " and ".join(families) if len(families) < 3 else f"{families[0]} et al."
        return f"{authors}, {self.fields['year']}"

    def __str__(self) -> str:
        fields = self.fields
        parts = [f"{', '.join(self.authors)} ({fields['year']}). {fields['title']}."]
        if "journal" in fields:
            number = f"({fields['number']})" if "number" in fields else ""
            parts.append(f"{fields['journal']} {fields['volume']}{number}:{fields['pages']}.")
        identifiers = [f"{k}:{fields[key]}." for key, k in IDENTIFIERS.items() if key in fields]
        return " ".join([*parts, *identifiers])


@frozen
class Boilerplate:
    """Paragraphs in plain text, citations in parentheses, and the references they cite."""

    paragraphs: Sequence[str]
    references: Sequence[str]

    def to_markdown(self) -> str:
        """Return the text with its references as Markdown."""
        references = "".join(f"- {reference}\n" for reference in self.references)
        body = "\n\n".join(self.paragraphs)
        return f"# Methods\n\n{body}\n\n# References\n\n{references}"


def make_boilerplate(
    targets: Sequence[str] = (), options: Mapping[str, Any] | None = None
) -> Boilerplate:
    """Return the description of what was done.

    Parameters
    ----------
    targets
        Names of the targets; none stands for those named in the sidecars.
    options
        Options of the run, as its settings file has them; the text leaves open what depends on
        options that are not given.
    """
    text = render(
        "boilerplate.md.j2",
        targets=targets,
        options=options or {},
        software=_software_versions(),
    )
    bibliography = read_bibliography()
    cited = set()

    def cite(match: re.Match[str]) -> str:
        cited.update(_KEY.findall(match[1]))
        return f"({_KEY.sub(lambda key: bibliography[key[1]].citation, match[1])})"

    text = _CITATION.sub(cite, text)
    paragraphs = [" ".join(paragraph.split()) for paragraph in text.split("\n\n")]
    references = sorted(str(bibliography[key]) for key in cited)
    return Boilerplate([paragraph for paragraph in paragraphs if paragraph], references)


def read_bibliography() -> dict[str, Reference]:
    """Read ``references.bib``: one field a line, no nested braces."""
    source = resources.files("bids_ihf.reports") / "templates" / "references.bib"
    entries = _ENTRY.findall(source.read_text(encoding="utf-8"))
    return {key: Reference(dict(_FIELD.findall(fields))) for key, fields in entries}


def _software_versions() -> str:
    versions = [
        f"ihf-harmony {__version__}",
        f"Python {sys.version_info.major}.{sys.version_info.minor}",
    ]
    for package in SOFTWARE_PACKAGES:
        try:
            versions.append(f"{package} {metadata.version(package)}")
        except metadata.PackageNotFoundError:
            continue
    return ", ".join(versions)


def write_boilerplate(out_dir: Path) -> Path:
    """Write ``logs/CITATION.md``, the methods of the whole output folder.

    Participants that end at the same time write the same text, each in one step.

    Raises
    ------
    CannotWrite
        It cannot be written.
    """
    path = out_dir / CITATION_FILE
    content = make_boilerplate().to_markdown().encode()
    try:
        unchanged = path.read_bytes() == content
    except OSError:
        unchanged = False
    if not unchanged:
        write_atomic(path, content)
    return path
