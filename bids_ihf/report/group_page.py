"""What ``group.html`` says."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from bids_ihf import __version__
from bids_ihf.bids.scans import COLUMNS
from bids_ihf.report import markup
from bids_ihf.report.checks import concerns
from bids_ihf.report.distance_plot import distance_plot
from bids_ihf.report.group import by_suffix, by_vendor, group_row
from bids_ihf.report.image_section import distances
from bids_ihf.report.outliers import CUT, FEWEST, MEASURES, find_outliers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bids_ihf.report.images import Finished

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
</body>
</html>
"""


def render_page(out_dir: Path, images: Sequence[Finished]) -> str:
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
    )


def _section(out_dir: Path, suffix: str, images: Sequence[Finished]) -> str:
    vendors = by_vendor(images)
    parts = [f'<section id="{suffix}">\n<h2>{suffix}</h2>\n', _counts(vendors)]
    plot = distance_plot(suffix, vendors)
    if plot:
        parts.append(
            f"<figure>{plot}<figcaption>Distance of each image to its target, before and after; "
            "bars are medians.</figcaption></figure>\n"
        )
    parts += [_look_at(out_dir, images), _outliers(out_dir, images)]
    parts.append(markup.details(f"All {len(images)} images", _all(out_dir, suffix, images)))
    return "".join([*parts, "</section>\n"])


def _counts(vendors: dict[str, list[Finished]]) -> str:
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


def _closer(image: Finished) -> bool:
    before, after = image.number("distance_before"), image.number("distance_after")
    return before is not None and after is not None and after < before


def _page_link(out_dir: Path, image: Finished) -> markup.Cell:
    """Return the name of an image, linked to the page of its participant where that is there."""
    words = f"{image.stem}_{image.suffix}"
    page = f"sub-{image.subject}.html"
    return markup.link(page, words) if (out_dir / page).is_file() else words


def _look_at(out_dir: Path, images: Sequence[Finished]) -> str:
    rows = [(image, concerns(image)) for image in images]
    rows = [(image, found) for image, found in rows if found]
    if not rows:
        return markup.note("Nothing in the measures of these images asks for a second look.")
    cells = [(_page_link(out_dir, image), " ".join(found)) for image, found in rows]
    return "<h3>Look at these</h3>\n" + markup.table(("Image", "Why"), cells)


def _outliers(out_dir: Path, images: Sequence[Finished]) -> str:
    head = "<h3>Outliers</h3>\n"
    if len(images) < FEWEST:
        return f"{head}<p>Not looked for among fewer than {FEWEST} images.</p>\n"
    found = find_outliers(images)
    names = ", ".join(str(COLUMNS[measure]["LongName"]).lower() for measure in MEASURES)
    words = (
        f"More than {CUT} robust standard deviations (0.6745 (x - median) / median absolute "
        f"deviation) from the median of these images, in: {names}."
    )
    if not found:
        return f"{head}<p>None. Criterion: {markup.render(words)}</p>\n"
    rows = [
        (
            _page_link(out_dir, outlier.image),
            str(COLUMNS[outlier.measure]["LongName"]),
            f"{outlier.value:.4g}",
            f"{outlier.score:+.1f}",
        )
        for outlier in found
    ]
    table = markup.table(("Image", "Measure", "Value", "Robust score"), rows)
    return f"{head}<p>{markup.render(words)}</p>\n{table}"


def _all(out_dir: Path, suffix: str, images: Sequence[Finished]) -> str:
    columns = [
        column
        for column in COLUMNS
        if column not in {"filename", "distance_before", "distance_after"}
    ]
    head = ["Image", "Distance to the target"]
    head += [str(COLUMNS[column]["LongName"]) for column in columns]
    rows = []
    for image in images:
        row = group_row(image)
        cells = [row[column] for column in columns]
        rows.append([_page_link(out_dir, image), distances(image), *cells])
    source = markup.link(f"group_{suffix}.tsv", f"group_{suffix}.tsv").html
    return f"<p>The same as a table: {source}</p>\n{markup.table(head, rows)}"
