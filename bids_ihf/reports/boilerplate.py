"""Boilerplate for the methods section of a paper, with its references."""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Any

from attrs import frozen

from bids_ihf.io.atomic import write_atomic
from bids_ihf.reports.templates import TEMPLATES_DIR, render
from bids_ihf.targets.regional import MAX_FIELD_RATIO
from bids_ihf.version import __version__

SOFTWARE_PACKAGES = ("antspyx", "nipype", "nibabel", "numpy", "torch")
CITATION_FILE = Path("logs") / "CITATION.md"


@frozen
class Boilerplate:
    """Paragraphs of plain text, and the references they cite."""

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
    """Describe how images were harmonized to targets of these names.

    Without targets, the text refers to those named in the sidecars; what depends on options
    (as the settings file of the run has them) that are not given is left open.
    """
    text = render(
        "boilerplate.md.j2",
        targets=targets,
        options=options or {},
        software=_software_versions(),
        max_field_ratio=MAX_FIELD_RATIO,
    )
    references = read_references()
    cited_key = re.compile(rf"@({'|'.join(references)})\b")
    cited = {references[key]["entry"] for key in cited_key.findall(text)}
    text = cited_key.sub(lambda match: references[match[1]]["citation"], text)
    paragraphs = [" ".join(paragraph.split()) for paragraph in text.split("\n\n")]
    return Boilerplate([paragraph for paragraph in paragraphs if paragraph], sorted(cited))


def read_references() -> dict[str, dict[str, str]]:
    """Read ``references.toml``: how each is cited in the text, and its entry in the list."""
    return tomllib.loads((TEMPLATES_DIR / "references.toml").read_text(encoding="utf-8"))


def _software_versions() -> str:
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    versions = [f"ihf-harmony {__version__}", f"Python {python}"]
    for package in SOFTWARE_PACKAGES:
        try:
            versions.append(f"{package} {metadata.version(package)}")
        except metadata.PackageNotFoundError:
            continue
    return ", ".join(versions)


def write_boilerplate(out_dir: Path) -> Path:
    """Write ``logs/CITATION.md``, the methods of the whole output folder.

    Participants that end at the same time write the same text, each in one step.  Raises
    CannotWrite.
    """
    path = out_dir / CITATION_FILE
    content = make_boilerplate().to_markdown().encode()
    with suppress(OSError):
        if path.read_bytes() == content:
            return path
    write_atomic(path, content)
    return path
