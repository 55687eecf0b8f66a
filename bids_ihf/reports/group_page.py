"""The page of the group: ``group.html``."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

from bids_ihf.bids.scans_table import MEASURE_COLUMNS
from bids_ihf.io.atomic import write_atomic
from bids_ihf.io.tsv import MISSING_VALUE
from bids_ihf.qc.flags import harmonization_warning, qc_flags
from bids_ihf.reports.group_charts import distance_chart, embedding_chart, vendor_density_chart
from bids_ihf.reports.group_statistics import (
    MIN_IMAGES_PER_SCANNER,
    TISSUE_MEASURES,
    between_scanner_variance,
    load_group,
    scanner_separation,
)
from bids_ihf.reports.group_tables import (
    GROUP_COLUMNS,
    group_by_suffix,
    group_row,
    require_harmonized_images,
)
from bids_ihf.reports.measures_table import flag_summary
from bids_ihf.reports.outliers import (
    MAX_ROBUST_Z,
    MIN_GROUP_SIZE,
    OUTLIER_MEASURES,
    find_outliers,
)
from bids_ihf.reports.templates import render

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from bids_ihf.bids.harmonized_images import HarmonizedImage


def group_page(out_dir: Path) -> Path:
    """Write ``group.html``: one self-contained file with tables, charts and outliers.

    No image is loaded.  Images link to the pages of their participants.

    Raises
    ------
    NothingSelected
        There is no harmonized image.
    CannotWrite
        It cannot be written.
    """
    images = require_harmonized_images(out_dir)
    groups = group_by_suffix(images)
    page = render(
        "group.html.j2",
        title="Group",
        navigation=list(groups),
        subjects={image.subject for image in images},
        images=images,
        sections=[_section(out_dir, suffix, members) for suffix, members in groups.items()],
        column_names={name: entry["LongName"] for name, entry in MEASURE_COLUMNS.items()},
        outlier_measures=OUTLIER_MEASURES,
        max_robust_z=MAX_ROBUST_Z,
        min_group_size=MIN_GROUP_SIZE,
        min_images_per_scanner=MIN_IMAGES_PER_SCANNER,
        tissue_measures=TISSUE_MEASURES,
    )
    path = out_dir / "group.html"
    write_atomic(path, page.encode())
    return path


def _section(out_dir: Path, suffix: str, images: Sequence[HarmonizedImage]) -> dict[str, Any]:
    """Return what the page says of the images of one suffix."""
    by_vendor = defaultdict(list)
    for member in load_group(out_dir, images):
        by_vendor[member.image.text("source_vendor", "SourceVendor")].append(member)
    vendors = dict(sorted(by_vendor.items()))
    members = [member for group in vendors.values() for member in group]
    images_by_vendor = {
        name: [member.image for member in group] for name, group in vendors.items()
    }
    rows = [group_row(image) for image in images]
    return {
        "suffix": suffix,
        "images": images,
        "vendors": [_vendor_row(name, group) for name, group in images_by_vendor.items()],
        "pages": {image.full_name: _page_of(out_dir, image) for image in images},
        "warnings": [(i, warning) for i in images if (warning := harmonization_warning(i))],
        "flags": [(image, flags) for image in images if (flags := qc_flags(image))],
        "outliers": find_outliers(images),
        "distances": distance_chart(suffix, images_by_vendor),
        "densities": vendor_density_chart(suffix, vendors),
        "embedding": embedding_chart(suffix, members),
        "separation": scanner_separation(members),
        "variances": between_scanner_variance(members),
        "columns": {
            column: entry["LongName"]
            for column, entry in GROUP_COLUMNS.items()
            if column != "filename" and any(row[column] != MISSING_VALUE for row in rows)
        },
        "rows": [(i, flag_summary(i), row) for i, row in zip(images, rows, strict=True)],
    }


def _vendor_row(vendor: str, images: Sequence[HarmonizedImage]) -> tuple[str, int, str, str]:
    """Return vendor, number of images, how many came closer to the target, and targets."""
    distances = [(i.number("distance_before"), i.number("distance_after")) for i in images]
    compared = [after for _, after in distances if after is not None]
    closer = [1 for before, after in distances if before and after is not None and after < before]
    targets = {image.text("harmonization_target", "HarmonizationTarget") for image in images}
    closer_of = f"{len(closer)} of {len(compared)}"
    return vendor, len(images), closer_of, ", ".join(sorted(targets))


def _page_of(out_dir: Path, image: HarmonizedImage) -> str | None:
    """Return the name of the page that shows an image; None if there is none."""
    names = (f"sub-{image.subject}_ses-{image.session}.html", f"sub-{image.subject}.html")
    return next((name for name in names if (out_dir / name).is_file()), None)
