"""The page of a participant, assembled by nireports from what lies in the output folder."""

from __future__ import annotations

import copy
import tempfile
from collections import Counter, defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import frozen

from bids_ihf import __version__
from bids_ihf.bids.harmonized_images import HarmonizedImage, find_harmonized_images
from bids_ihf.qc.flags import harmonization_warning, qc_flags
from bids_ihf.reports import markup
from bids_ihf.reports.image_section import distances, image_section
from bids_ihf.reports.logs import Crash, find_crashes, find_options, find_warnings
from bids_ihf.reports.methods import as_html, paragraphs, write_boilerplate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bids_ihf.config import RunConfig

MANY = 4
"""Most sessions that one page shows."""

BOOTSTRAP = Path(__file__).with_name("participant.yml")
IMAGE = "image"
"""The `desc` in the bootstrap that stands for every image."""


@frozen
class Entry:
    """An image's part of a page: its title, the name of its place there, and its HTML."""

    title: str
    name: str
    html: str


@frozen
class Story:
    """What happened to a participant: failures, warnings, options of the run."""

    crashes: Sequence[Crash]
    warnings: Sequence[str]
    options: dict[str, Any]


def build_participant_report(out_dir: Path, subject: str, config: RunConfig | None = None) -> Path:
    """Write the page of a participant, and ``logs/CITATION.md``.

    Where there are more than `MANY` sessions, each has a page ``sub-X_ses-Y.html`` of its own, and
    that of the participant is their overview.  Sidecars, scans tables, figures and logs are read;
    no image is.

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
    CannotWrite
        It cannot be written.
    """
    from bids_ihf.io.atomic import remove, write_atomic

    label = subject.removeprefix("sub-")
    write_boilerplate(out_dir)
    options = _options(out_dir, label, config)
    pages = _pages(out_dir, label, options)
    for old in out_dir.glob(f"sub-{label}_ses-*.html"):
        if old.name not in pages:
            remove(old)
    for name, content in pages.items():
        write_atomic(out_dir / name, content)
    return out_dir / f"sub-{label}.html"


def _pages(out_dir: Path, subject: str, options: dict[str, Any]) -> dict[str, bytes]:
    """Return the pages of a participant by file name."""
    found = sorted(
        find_harmonized_images(out_dir, subject), key=lambda image: (image.suffix, image.relative)
    )
    story = Story(find_crashes(out_dir, subject, found), find_warnings(out_dir, subject), options)
    names = {page_name(found, image) for image in found}
    own = f"sub-{subject}.html"
    pages = {}
    for name in sorted(names - {own}):
        images = [image for image in found if page_name(found, image) == name]
        title = name.removesuffix(".html")
        pages[name] = assemble(title, *_fragments(out_dir, images, story, name, found))
    pages[own] = assemble(f"sub-{subject}", *_fragments(out_dir, found, story, own, found))
    return pages


def page_name(found: Sequence[HarmonizedImage], image: HarmonizedImage) -> str:
    """Name of the page that shows an image, one of all the participant's."""
    sessions = {each.session for each in found}
    if image.session is None or len(sessions) <= MANY:
        return f"sub-{image.subject}.html"
    return f"sub-{image.subject}_ses-{image.session}.html"


def assemble(title: str, fragments: dict[str, str], images: dict[str, list[Entry]]) -> bytes:
    """Let nireports join fragments of HTML into a page.

    nireports gets its reportlets as files in a folder of their own and not the output folder: its
    index takes entities from anywhere in a path, knows only some of them, and would rewrite the
    figures.

    Parameters
    ----------
    title
        ``sub-X``, or ``sub-X_ses-Y``.
    fragments
        HTML by the `desc` that the bootstrap asks for.
    images
        What to say of each image, by suffix.
    """
    import yaml  # type: ignore[import-untyped]
    from nireports.assembler.report import Report

    settings = yaml.safe_load(BOOTSTRAP.read_text(encoding="utf-8"))
    settings["template_path"] = str(BOOTSTRAP.with_name(settings["template_path"]).absolute())
    settings["title"] = f"{title} | {settings['title']} {__version__}"
    settings["sections"] = [_expanded(section, images) for section in settings["sections"]]
    with tempfile.TemporaryDirectory(prefix="report") as name:
        folder = Path(name)
        for desc, html in fragments.items():
            _store(folder / f"sub-x_desc-{desc}_report.html", html)
        for suffix, entries in images.items():
            for index, entry in enumerate(entries):
                _store(folder / f"sub-x_desc-{IMAGE}{index}_{suffix}.html", entry.html)
        _store(folder / "bootstrap.yml", yaml.safe_dump(settings, sort_keys=False))
        page = folder / "page" / "page.html"
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


def _expanded(section: dict[str, Any], images: dict[str, list[Entry]]) -> dict[str, Any]:
    """Repeat the reportlet of a section that stands for every image."""
    reportlets = []
    for reportlet in section["reportlets"]:
        query = reportlet["bids"]
        if query["desc"] != IMAGE:
            reportlets.append(reportlet)
            continue
        for index, image in enumerate(images.get(query["suffix"], [])):
            entry = copy.deepcopy(reportlet)
            entry["bids"]["desc"] = f"{IMAGE}{index}"
            reportlets.append({**entry, "title": image.title, "name": image.name})
    return {**section, "reportlets": reportlets}


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
    out_dir: Path,
    images: Sequence[HarmonizedImage],
    story: Story,
    page: str,
    everyone: Sequence[HarmonizedImage],
) -> tuple[dict[str, str], dict[str, list[Entry]]]:
    """Return what a page says; images that are shown elsewhere are only summed up."""
    targets = sorted(
        {image.text("harmonization_target", "HarmonizationTarget") for image in images}
    )
    by_suffix: dict[str, list[Entry]] = defaultdict(list)
    for image in images:
        if page_name(everyone, image) == page:
            own = [words for words in story.warnings if image.full_name in words]
            entry = Entry(image.title, image.full_name, image_section(out_dir, image, own))
            by_suffix[image.suffix].append(entry)
    fragments = {
        "summary": _summary(images, story.crashes, everyone),
        "errors": _errors(story.crashes, story.warnings),
        "methods": as_html(paragraphs(targets, story.options)),
    }
    if story.options:
        fragments["provenance"] = markup.facts(_provenance(story.options))
    return fragments, dict(by_suffix)


def _provenance(options: dict[str, Any]) -> list[tuple[str, markup.Cell]]:
    return [("Version", __version__), *((key, str(value)) for key, value in options.items())]


def _summary(
    images: Sequence[HarmonizedImage],
    crashes: Sequence[Crash],
    everyone: Sequence[HarmonizedImage],
) -> str:
    open_crashes = [crash for crash in crashes if not crash.mended]
    kinds = Counter(image.suffix for image in images)
    found = ", ".join(f"{count} {suffix}" for suffix, count in kinds.items())
    words = f"{markup.count(len(images), 'image')} harmonized{f': {found}' if found else ''}."
    parts = [markup.note(words, "" if images else "warning")]
    if open_crashes:
        text = f"{markup.count(len(open_crashes), 'step')} failed; see "
        parts.append(
            markup.note(
                markup.Markup(text + markup.link("#errors", "errors and warnings").html), "failure"
            )
        )
    flagged = sum(harmonization_warning(image) is not None for image in images)
    if flagged:
        are = "is" if flagged == 1 else "are"
        words = f"{markup.count(flagged, 'image')} {are} out of range; look before you use them."
        parts.append(markup.note(words, "failure"))
    rows = [_summary_row(image, everyone) for image in images]
    head = (
        *("Image", "Source vendor", "Target", "Network", "Device", "Time"),
        *("Distance to the target", "Look at"),
    )
    return "".join(parts) + (markup.table(head, rows) if rows else "")


def _summary_row(
    image: HarmonizedImage, everyone: Sequence[HarmonizedImage]
) -> tuple[markup.Cell, ...]:
    seconds = image.number("seconds")
    flagged = harmonization_warning(image)
    return (
        markup.link(f"{page_name(everyone, image)}#{image.full_name}", image.title),
        image.text("source_vendor", "SourceVendor"),
        image.text("harmonization_target", "HarmonizationTarget"),
        str(image.sidecar.get("HarmonizationModel", "n/a")),
        str(image.sidecar.get("Device", "n/a")),
        "n/a" if seconds is None else f"{seconds:.0f} s",
        distances(image),
        " ".join([*([flagged] if flagged else []), *qc_flags(image)]) or "none",
    )


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
