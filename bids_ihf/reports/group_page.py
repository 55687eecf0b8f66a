"""What ``group.html`` says."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from bids_ihf import __version__
from bids_ihf.bids.scans_table import MEASURE_COLUMNS
from bids_ihf.io.tsv import MISSING_VALUE
from bids_ihf.qc.flags import harmonization_warning, qc_flags
from bids_ihf.reports import markup
from bids_ihf.reports.distance_plot import distance_plot
from bids_ihf.reports.group import DICTIONARY, by_suffix, by_vendor, group_row
from bids_ihf.reports.group_data import members
from bids_ihf.reports.group_plots import density_plot, embedding_plot
from bids_ihf.reports.group_scanners import scanner_numbers
from bids_ihf.reports.measures_table import verdict
from bids_ihf.reports.outliers import CUT, FEWEST, MEASURES, find_outliers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bids_ihf.bids.harmonized_images import HarmonizedImage

SCRIPT = Path(__file__).with_name("sort.html")
STYLE = Path(__file__).with_name("style.html")
_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
{style}</head>
<body>
<nav><strong>{title}</strong>{links}</nav>
<main>
{body}
</main>
{script}</body>
</html>
"""


def render_page(out_dir: Path, images: Sequence[HarmonizedImage]) -> str:
    """Return the page; it needs no other file, and links to those of the participants."""
    groups = by_suffix(images)
    subjects = {image.subject for image in images}
    body = [
        f"<h1>{len(images)} harmonized images of {len(subjects)} participants</h1>\n",
        *(_section(out_dir, suffix, group) for suffix, group in groups.items()),
    ]
    return _PAGE.format(
        title=markup.render(f"Group | ihf-harmony {__version__}"),
        style=STYLE.read_text(encoding="utf-8"),
        links="".join(f"\n{markup.link(f'#{suffix}', suffix).html}" for suffix in groups),
        body="".join(body),
        script=SCRIPT.read_text(encoding="utf-8"),
    )


def _section(out_dir: Path, suffix: str, images: Sequence[HarmonizedImage]) -> str:
    vendors = by_vendor(images)
    makers = {vendor: members(out_dir, own) for vendor, own in vendors.items()}
    group = [member for own in makers.values() for member in own]
    parts = [f'<section id="{suffix}">\n<h2>{suffix}</h2>\n', _counts(vendors)]
    parts += [_look_at(out_dir, images), _outliers(out_dir, images)]
    plots = (
        (
            "Distance to the target",
            distance_plot(suffix, vendors),
            "Distance of each image to its target, before and after; bars are medians.",
        ),
        (
            "Intensities by vendor",
            density_plot(suffix, makers),
            "Mean densities of the brain's intensities. All vendors should meet the target's.",
        ),
        (
            "Scanners in the encoder's eyes",
            embedding_plot(suffix, group),
            "Each mark is an image. Scanners that stand apart before should mix after.",
        ),
    )
    for title, plot, caption in plots:
        if plot:
            parts.append(f"<h3>{title}</h3>\n<figure>{plot}<figcaption>{caption}</figcaption>")
            parts.append("</figure>\n")
    parts += [scanner_numbers(group), _all(out_dir, suffix, images)]
    return "".join([*parts, "</section>\n"])


def _counts(vendors: dict[str, list[HarmonizedImage]]) -> str:
    rows = []
    for vendor, images in vendors.items():
        targets = sorted(
            {image.text("harmonization_target", "HarmonizationTarget") for image in images}
        )
        closer = [image for image in images if _closer(image)]
        known = [image for image in images if image.number("distance_after") is not None]
        rows.append(
            (vendor, str(len(images)), f"{len(closer)} of {len(known)}", ", ".join(targets))
        )
    return markup.table(("Source vendor", "Images", "Closer than before", "Target"), rows)


def _closer(image: HarmonizedImage) -> bool:
    before, after = image.number("distance_before"), image.number("distance_after")
    return before is not None and after is not None and after < before


def _page_link(out_dir: Path, image: HarmonizedImage) -> markup.Cell:
    """Return the name of an image, linked to its place on the page that shows it."""
    for page in (f"sub-{image.subject}_ses-{image.session}.html", f"sub-{image.subject}.html"):
        if (out_dir / page).is_file():
            return markup.link(f"{page}#{image.full_name}", image.full_name)
    return image.full_name


def _look_at(out_dir: Path, images: Sequence[HarmonizedImage]) -> str:
    flagged = [(image, words) for image in images if (words := harmonization_warning(image))]
    rows = [(image, found) for image in images if (found := qc_flags(image))]
    parts = ["<h3>Look at these</h3>\n"]
    if flagged:
        words = f"{markup.count(len(flagged), 'image')} out of range."
        parts.append(markup.note(words, "failure"))
        cells = [(_page_link(out_dir, image), words) for image, words in flagged]
        parts.append(markup.table(("Image", "Warning"), cells))
    if rows:
        cells = [(_page_link(out_dir, image), " ".join(found)) for image, found in rows]
        parts.append(markup.table(("Image", "Why"), cells))
    if not flagged and not rows:
        words = "Nothing in the measures of these images asks for a second look."
        parts.append(markup.note(words))
    return "".join(parts)


def _outliers(out_dir: Path, images: Sequence[HarmonizedImage]) -> str:
    head = "<h3>Outliers</h3>\n"
    if len(images) < FEWEST:
        return f"{head}<p>Not looked for among fewer than {FEWEST} images.</p>\n"
    found = find_outliers(images)
    names = ", ".join(str(MEASURE_COLUMNS[measure]["LongName"]) for measure in MEASURES)
    words = (
        f"More than {CUT} robust standard deviations (0.6745 (x - median) / median absolute "
        f"deviation) from the median of these images, in: {names}."
    )
    if not found:
        return f"{head}<p>None. Criterion: {markup.render(words)}</p>\n"
    rows = [
        (
            _page_link(out_dir, outlier.image),
            str(MEASURE_COLUMNS[outlier.measure]["LongName"]),
            f"{outlier.value:.4g}",
            f"{outlier.score:+.1f}",
        )
        for outlier in found
    ]
    table = markup.table(("Image", "Measure", "Value", "Robust score"), rows)
    return f"{head}<p>{markup.render(words)}</p>\n{table}"


def _all(out_dir: Path, suffix: str, images: Sequence[HarmonizedImage]) -> str:
    rows = [group_row(image) for image in images]
    columns = [
        column
        for column in DICTIONARY
        if column != "filename" and any(row[column] != MISSING_VALUE for row in rows)
    ]
    head = ["Image", "Lights", *(str(DICTIONARY[column]["LongName"]) for column in columns)]
    cells = [
        [
            _page_link(out_dir, image),
            verdict(image),
            *(_measured(column, row[column]) for column in columns),
        ]
        for image, row in zip(images, rows, strict=True)
    ]
    source = markup.link(f"group_{suffix}.tsv", f"group_{suffix}.tsv").html
    words = f"<p>A click on a heading sorts. The same to compute with: {source}</p>\n"
    return f"<h3>All images</h3>\n{words}{markup.table(head, cells, sortable=True)}"


def _measured(column: str, words: str) -> markup.Cell:
    return markup.number(column, words) if markup.is_number(words) else words
