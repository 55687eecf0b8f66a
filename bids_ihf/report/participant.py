"""The page of a participant, assembled by nireports from what lies in the output folder."""

from __future__ import annotations

import copy
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bids_ihf import __version__
from bids_ihf.report import markup
from bids_ihf.report.checks import concerns
from bids_ihf.report.image_section import distances, image_section
from bids_ihf.report.images import Finished, find_finished
from bids_ihf.report.logs import Crash, find_crashes, find_options, find_warnings
from bids_ihf.report.methods import as_html, paragraphs, write_boilerplate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bids_ihf.config import RunConfig

BOOTSTRAP = Path(__file__).with_name("participant.yml")
IMAGE = "image"
"""The `desc` in the bootstrap that stands for every image."""


def build_participant_report(out_dir: Path, subject: str, config: RunConfig | None = None) -> Path:
    """Write the page of a participant, all sessions in it, and ``logs/CITATION.md``.

    Sidecars, scans tables, figures and logs are read; no image is.

    Parameters
    ----------
    out_dir
        Root of the output.
    subject
        Label, with or without ``sub-``.
    config
        Options of the run; without them, those that the latest run recorded are used.

    Returns
    -------
    Path
        ``OUT/sub-X.html``.

    Raises
    ------
    CannotCreate
        It cannot be written.
    """
    from bids_ihf.bids.write import write_atomic

    label = subject.removeprefix("sub-")
    write_boilerplate(out_dir)
    content = assemble(label, *_fragments(out_dir, label, _options(out_dir, label, config)))
    path = out_dir / f"sub-{label}.html"
    write_atomic(path, content)
    return path


def assemble(
    subject: str, fragments: dict[str, str], images: dict[str, list[tuple[str, str]]]
) -> bytes:
    """Let nireports join fragments of HTML into a page.

    nireports gets its reportlets as files in a folder of their own and not the output folder: its
    index takes entities from anywhere in a path, knows only some of them, and would rewrite the
    figures.

    Parameters
    ----------
    subject
        Label of the participant.
    fragments
        HTML by the `desc` that the bootstrap asks for.
    images
        (title, HTML) of each image by suffix.
    """
    import yaml  # type: ignore[import-untyped]
    from nireports.assembler.report import Report

    settings = yaml.safe_load(BOOTSTRAP.read_text(encoding="utf-8"))
    settings["template_path"] = str(BOOTSTRAP.with_name(settings["template_path"]).absolute())
    settings["title"] = f"sub-{subject} | {settings['title']} {__version__}"
    settings["sections"] = [_expanded(section, images) for section in settings["sections"]]
    with tempfile.TemporaryDirectory(prefix="report") as name:
        folder = Path(name)
        for desc, html in fragments.items():
            _store(folder / f"sub-{subject}_desc-{desc}_report.html", html)
        for suffix, entries in images.items():
            for index, (_, html) in enumerate(entries):
                _store(folder / f"sub-{subject}_desc-{IMAGE}{index}_{suffix}.html", html)
        _store(folder / "bootstrap.yml", yaml.safe_dump(settings, sort_keys=False))
        page = folder / "page" / f"sub-{subject}.html"
        make_report: Any = Report  # nireports has no annotations
        make_report(
            folder / "page",
            "",
            bootstrap_file=folder / "bootstrap.yml",
            reportlets_dir=folder,
            out_filename=page,
            plugins=[],
        ).generate_report()
        return page.read_bytes()


def _store(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def _expanded(section: dict[str, Any], images: dict[str, list[tuple[str, str]]]) -> dict[str, Any]:
    """Repeat the reportlet of a section that stands for every image."""
    reportlets = []
    for reportlet in section["reportlets"]:
        query = reportlet["bids"]
        if query["desc"] != IMAGE:
            reportlets.append(reportlet)
            continue
        for index, (title, _) in enumerate(images.get(query["suffix"], [])):
            entry = copy.deepcopy(reportlet)
            entry["bids"]["desc"] = f"{IMAGE}{index}"
            reportlets.append({**entry, "title": title, "name": anchor(query["suffix"], index)})
    return {**section, "reportlets": reportlets}


def anchor(suffix: str, index: int) -> str:
    """Name of the place in the page where an image is."""
    return f"{suffix}-{index}"


def _options(out_dir: Path, subject: str, config: RunConfig | None) -> dict[str, Any]:
    """Return the options of the run that made the images; one that only reports made none."""
    if config is None or config.reports_only:
        return find_options(out_dir, subject)
    return {
        "preprocessed": config.preprocessed,
        "output_spaces": list(config.output_spaces),
        "normalization": config.normalization,
        "run_uuid": config.run_uuid,
    }


def _fragments(
    out_dir: Path, subject: str, options: dict[str, Any]
) -> tuple[dict[str, str], dict[str, list[tuple[str, str]]]]:
    found = sorted(
        find_finished(out_dir, subject), key=lambda image: (image.suffix, image.relative)
    )
    crashes = find_crashes(out_dir, subject, found)
    warnings = find_warnings(out_dir, subject)
    targets = sorted(
        {image.text("harmonization_target", "HarmonizationTarget") for image in found}
    )
    by_suffix: dict[str, list[tuple[str, str]]] = defaultdict(list)
    places = {}
    for image in found:
        own = [words for words in warnings if f"{image.stem}_{image.suffix}" in words]
        places[image.relative] = anchor(image.suffix, len(by_suffix[image.suffix]))
        by_suffix[image.suffix].append((image.title, image_section(out_dir, image, own)))
    fragments = {
        "summary": _summary(found, crashes, places),
        "errors": _errors(crashes, warnings),
        "methods": as_html(paragraphs(targets, options)),
    }
    if options:
        fragments["provenance"] = markup.facts(_provenance(options))
    return fragments, dict(by_suffix)


def _provenance(options: dict[str, Any]) -> list[tuple[str, markup.Cell]]:
    return [("Version", __version__), *((key, str(value)) for key, value in options.items())]


def _summary(images: Sequence[Finished], crashes: Sequence[Crash], places: dict[str, str]) -> str:
    open_crashes = [crash for crash in crashes if not crash.mended]
    words = f"{markup.count(len(images), 'image')} harmonized."
    parts = [markup.note(words, "" if images else "warning")]
    if open_crashes:
        text = f"{markup.count(len(open_crashes), 'step')} failed; see "
        parts.append(
            markup.note(
                markup.Markup(text + markup.link("#errors", "errors and warnings").html), "failure"
            )
        )
    rows = [
        (
            markup.link(f"#{places[image.relative]}", image.title),
            image.text("harmonization_target", "HarmonizationTarget"),
            image.text("source_vendor", "SourceVendor"),
            distances(image),
            " ".join(concerns(image)) or "none",
        )
        for image in images
    ]
    head = ("Image", "Target", "Source vendor", "Distance to the target", "Look at")
    return "".join(parts) + (markup.table(head, rows) if rows else "")


def _errors(crashes: Sequence[Crash], warnings: Sequence[str]) -> str:
    parts = []
    now = [crash for crash in crashes if not crash.mended]
    past = [crash for crash in crashes if crash.mended]
    if now:
        parts.append(markup.note(f"{markup.count(len(now), 'step')} failed.", "failure"))
        parts += map(_crash, now)
    else:
        parts.append(markup.note("No errors to report."))
    if past:
        older = "".join(map(_crash, past))
        parts.append(
            markup.details(f"{markup.count(len(past), 'earlier failure')}, finished since", older)
        )
    if warnings:
        parts += ["<h4>Warnings of the latest run</h4>\n", markup.bullets(warnings)]
    return "".join(parts)


def _crash(crash: Crash) -> str:
    title = markup.Markup(
        f"<strong>{markup.render(crash.node)}</strong>: {markup.render(crash.sentence)}"
    )
    content = f'<p class="file">{markup.render(crash.path)}</p>'
    return markup.details(title, f"{content}<pre>{markup.render(crash.details)}</pre>")
