"""The page of the group: ``group.html``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bids_ihf.bids.harmonized_images import HarmonizedImage
from bids_ihf.io.atomic import write_atomic
from bids_ihf.io.tsv import MISSING_VALUE
from bids_ihf.qc.flags import harmonization_warning, qc_flags
from bids_ihf.reports import group_statistics, group_tables
from bids_ihf.reports.group_charts import distance_chart, embedding_chart, vendor_density_chart
from bids_ihf.reports.group_statistics import GroupImage
from bids_ihf.reports.reference_flags import flag_summary
from bids_ihf.reports.templates import render


def group_page(out_dir: Path) -> Path:
    """Write ``group.html``: one self-contained file with tables, charts and outliers.

    No image is loaded.  Images link to the pages of their participants.  Raises NothingSelected
    without any harmonized image, and CannotWrite.
    """
    images = group_tables.require_harmonized_images(out_dir)
    groups = group_tables.images_by_modality(images)
    page = render(
        "group.html.j2",
        title="Group",
        navigation=list(groups),
        images=images,
        pages={image.full_name: _page_of(out_dir, image) for image in images},
        sections=[_section(out_dir, modality, members) for modality, members in groups.items()],
        dictionary=group_tables.GROUP_COLUMNS,
        statistics=group_statistics,
    )
    path = out_dir / "group.html"
    write_atomic(path, page.encode(errors="replace"))
    return path


def _section(out_dir: Path, modality: str, images: Sequence[HarmonizedImage]) -> dict[str, Any]:
    """Return what the page says of the images of one modality."""
    members = group_statistics.load_group(out_dir, images)
    by_vendor: dict[str, list[GroupImage]] = {}
    for member in members:
        vendor = member.image.text("source_vendor", "SourceVendor")
        by_vendor.setdefault(vendor, []).append(member)
    by_vendor = dict(sorted(by_vendor.items()))
    rows = [group_tables.group_row(image) for image in images]
    measured = {column for row in rows for column, text in row.items() if text != MISSING_VALUE}
    return {
        "modality": modality,
        "vendors": [_vendor_row(vendor, group) for vendor, group in by_vendor.items()],
        "warnings": [(i, [warning]) for i in images if (warning := harmonization_warning(i))],
        "flags": [(image, flags) for image in images if (flags := qc_flags(image))],
        "outliers": group_statistics.find_outliers(images),
        "distances": distance_chart(modality, by_vendor),
        "densities": vendor_density_chart(modality, by_vendor),
        "embedding": embedding_chart(modality, members),
        "separation": group_statistics.scanner_separation(members),
        "variances": group_statistics.between_scanner_variance(members),
        "columns": [c for c in group_tables.GROUP_COLUMNS if c in measured and c != "filename"],
        "rows": [(i, flag_summary(i), row) for i, row in zip(images, rows, strict=True)],
    }


def _vendor_row(vendor: str, group: Sequence[GroupImage]) -> tuple[str, int, str, str]:
    """Return vendor, number of images, how many came closer to the target, and targets."""
    distances = [member.distances for member in group if member.distances]
    closer = sum(after < before for before, after in distances)
    targets = {m.image.text("harmonization_target", "HarmonizationTarget") for m in group}
    return vendor, len(group), f"{closer} of {len(distances)}", ", ".join(sorted(targets))


def _page_of(out_dir: Path, image: HarmonizedImage) -> str | None:
    """Return the name of the page that shows an image; None if there is none."""
    names = (f"sub-{image.subject}_ses-{image.session}.html", f"sub-{image.subject}.html")
    return next((name for name in names if (out_dir / name).is_file()), None)
