"""The page of a participant, from what a run has left in the output folder."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bids_ihf.bids.harmonized_images import HarmonizedImage, find_harmonized_images
from bids_ihf.io.atomic import remove, write_atomic
from bids_ihf.reports.boilerplate import make_boilerplate, write_boilerplate
from bids_ihf.reports.image_report import report_image
from bids_ihf.reports.run_history import RunHistory, read_options, read_run_history
from bids_ihf.reports.templates import render

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from bids_ihf.config import RunConfig

MAX_SESSIONS_PER_PAGE = 4
SECTIONS = {"T1w": "T1w", "T2w": "T2w", "dwi": "Diffusion"}
"""Headings of the page by suffix."""


def build_participant_report(out_dir: Path, subject: str, config: RunConfig | None = None) -> Path:
    """Write the page of a participant, and ``logs/CITATION.md``.

    With more than `MAX_SESSIONS_PER_PAGE` sessions, each session has its page
    ``sub-X_ses-Y.html``, and that of the participant is an overview.  Sidecars, scans tables,
    figures and logs are read; no image is.

    Parameters
    ----------
    out_dir
        Root of the output.
    subject
        Label, with or without ``sub-``.
    config
        Options of the run; without them, those recorded by the latest run are used.

    Returns
    -------
    Path
        ``OUT/sub-X.html``.

    Raises
    ------
    CannotWrite
        It cannot be written.
    """
    label = subject.removeprefix("sub-")
    write_boilerplate(out_dir)
    images = sorted(
        find_harmonized_images(out_dir, label), key=lambda image: (image.suffix, image.relative)
    )
    history = read_run_history(out_dir, label, images, _options(out_dir, label, config))
    overview = f"sub-{label}.html"
    pages = {page_name(images, image) for image in images} | {overview}
    for outdated in out_dir.glob(f"sub-{label}_ses-*.html"):
        if outdated.name not in pages:
            remove(outdated)
    for name in sorted(pages):
        shown = [image for image in images if page_name(images, image) == name]
        summarized = images if name == overview else shown
        page = _render_page(out_dir, name, shown, summarized, images, history)
        write_atomic(out_dir / name, page.encode())
    return out_dir / overview


def page_name(images: Sequence[HarmonizedImage], image: HarmonizedImage) -> str:
    """Return the name of the page that shows an image, one of all the participant's images."""
    sessions = {member.session for member in images}
    if image.session is None or len(sessions) <= MAX_SESSIONS_PER_PAGE:
        return f"sub-{image.subject}.html"
    return f"sub-{image.subject}_ses-{image.session}.html"


def _options(out_dir: Path, subject: str, config: RunConfig | None) -> dict[str, Any]:
    """Return the options of the run that made the images, which a run for reports only did not."""
    if config is None or config.reports_only:
        return read_options(out_dir, subject)
    return {
        "modalities": list(config.modalities),
        "preprocessed": config.preprocessed,
        "output_spaces": list(config.output_spaces),
        "normalization": config.normalization,
        "run_uuid": config.run_uuid,
    }


def _render_page(
    out_dir: Path,
    name: str,
    shown: Sequence[HarmonizedImage],
    summarized: Sequence[HarmonizedImage],
    images: Sequence[HarmonizedImage],
    history: RunHistory,
) -> str:
    """Render a page that shows some of a participant's images and summarizes more of them."""
    entries = {
        image.full_name: report_image(out_dir, image, page_name(images, image), history.warnings)
        for image in summarized
    }
    targets = {image.text("harmonization_target", "HarmonizationTarget") for image in summarized}
    sections = [
        (heading, suffix)
        for suffix, heading in SECTIONS.items()
        if any(image.suffix == suffix for image in shown)
    ]
    headings = ["Summary", *(heading for heading, _ in sections), "About"]
    return render(
        "participant.html.j2",
        title=name.removesuffix(".html"),
        navigation=headings,
        sections=sections,
        images=summarized,
        shown=shown,
        entries=entries,
        out_of_range=sum(entry.warning is not None for entry in entries.values()),
        history=history,
        boilerplate=make_boilerplate(sorted(targets), history.options),
    )
