"""The page of a participant, from what a run has left in the output folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bids_ihf.bids.harmonized_images import HarmonizedImage, find_harmonized_images
from bids_ihf.io.atomic import remove, write_atomic
from bids_ihf.qc.flags import harmonization_warning, qc_flags
from bids_ihf.reports.boilerplate import make_boilerplate, write_boilerplate
from bids_ihf.reports.figures import FIGURE_DESCS, figure_name
from bids_ihf.reports.reference_flags import lacks_reference_ranges, reference_flag
from bids_ihf.reports.run_history import RunHistory, read_run_history
from bids_ihf.reports.templates import render

MAX_SESSIONS_PER_PAGE = 4


def build_participant_report(out_dir: Path, subject: str) -> Path:
    """Write the page of a participant, ``OUT/sub-X.html``, and ``logs/CITATION.md``.

    With more than `MAX_SESSIONS_PER_PAGE` sessions, each session has its page
    ``sub-X_ses-Y.html``, and that of the participant is an overview.  Sidecars, scans tables,
    figures and logs are read; no image is.  The label may begin with ``sub-``.  Raises
    CannotWrite.
    """
    label = subject.removeprefix("sub-")
    write_boilerplate(out_dir)
    images = sorted(
        find_harmonized_images(out_dir, label), key=lambda image: (image.suffix, image.relative)
    )
    history = read_run_history(out_dir, label, images)
    overview = f"sub-{label}.html"
    pages = {page_name(images, image) for image in images} | {overview}
    for outdated in out_dir.glob(f"sub-{label}_ses-*.html"):
        if outdated.name not in pages:
            remove(outdated)
    for name in sorted(pages):
        page = _render_page(out_dir, name, images, history, is_overview=name == overview)
        write_atomic(out_dir / name, page.encode(errors="replace"))
    return out_dir / overview


def page_name(images: Sequence[HarmonizedImage], image: HarmonizedImage) -> str:
    """Return the name of the page that shows an image, one of all the participant's images."""
    sessions = {member.session for member in images}
    if image.session is None or len(sessions) <= MAX_SESSIONS_PER_PAGE:
        return f"sub-{image.subject}.html"
    return f"sub-{image.subject}_ses-{image.session}.html"


def _render_page(
    out_dir: Path,
    name: str,
    images: Sequence[HarmonizedImage],
    history: RunHistory,
    *,
    is_overview: bool,
) -> str:
    """Render a page; the overview lists all images of the participant, whichever page they
    are shown on."""
    shown = [image for image in images if page_name(images, image) == name]
    listed = images if is_overview else shown
    targets = {image.text("harmonization_target", "HarmonizationTarget") for image in listed}
    suffixes = sorted({image.suffix for image in shown})
    sections = {suffix: "Diffusion" if suffix == "dwi" else suffix for suffix in suffixes}
    return render(
        "participant.html.j2",
        title=name.removesuffix(".html"),
        navigation=["Summary", *sections.values(), "About"],
        sections=sections,
        images=listed,
        shown=shown,
        pages={image.full_name: page_name(images, image) for image in listed},
        figure_paths={image.full_name: _figure_paths(out_dir, image) for image in shown},
        out_of_range=sum(harmonization_warning(image) is not None for image in listed),
        history=history,
        boilerplate=make_boilerplate(sorted(targets), history.options),
        harmonization_warning=harmonization_warning,
        qc_flags=qc_flags,
        reference_flag=reference_flag,
        lacks_reference_ranges=lacks_reference_ranges,
    )


def _figure_paths(out_dir: Path, image: HarmonizedImage) -> dict[str, str]:
    """Return the figures that exist, by kind, relative to the page."""
    folder = f"sub-{image.subject}/figures"
    names = {desc: figure_name(image.stem, desc, image.suffix) for desc in FIGURE_DESCS}
    paths = {desc: f"{folder}/{name}" for desc, name in names.items()}
    return {desc: path for desc, path in paths.items() if (out_dir / path).is_file()}
