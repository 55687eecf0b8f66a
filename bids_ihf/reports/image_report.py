"""What a participant's page says of one image."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import frozen

from bids_ihf.qc.flags import harmonization_warning, qc_flags
from bids_ihf.reports.figures import FIGURE_KINDS, figure_name
from bids_ihf.reports.measures_table import MeasureRow, measure_rows

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from bids_ihf.bids.harmonized_images import HarmonizedImage

HASH_DIGITS = 12
SHELL_KEYS = ("BValue", "TargetBValue", "AttenuationExponent", "AnisotropyFactor")
HASH_KEYS = ("HarmonizationTargetHash", "HarmonizationModelHash", "ConfigurationHash")


@frozen
class ImageReport:
    """All that the page at `page` says of one image."""

    page: str
    warning: str | None
    flags: Sequence[str]
    run_warnings: Sequence[str]
    facts: Mapping[str, str]
    distances: str
    measures: Sequence[MeasureRow]
    shells: Sequence[Sequence[str]]
    figures: Mapping[str, str]
    provenance: Mapping[str, str]


def report_image(
    out_dir: Path, image: HarmonizedImage, page: str, warnings: Sequence[str]
) -> ImageReport:
    """Gather what the page says of an image; `warnings` are those of the latest run."""
    warning = harmonization_warning(image)
    return ImageReport(
        page=page,
        warning=warning,
        flags=qc_flags(image),
        run_warnings=[
            text
            for text in warnings
            if image.full_name in text and not (warning and warning in text)
        ],
        facts=_facts(image),
        distances=_distances(image),
        measures=measure_rows(image),
        shells=_shells(image),
        figures=_figures(out_dir, image),
        provenance=_provenance(image),
    )


def _facts(image: HarmonizedImage) -> dict[str, str]:
    sidecar = image.sidecar
    names = [str(sidecar[k]) for k in ("Manufacturer", "ManufacturersModelName") if sidecar.get(k)]
    field_strength = sidecar.get("MagneticFieldStrength")
    seconds = image.number("seconds")
    return {
        "Target": image.text("harmonization_target", "HarmonizationTarget"),
        "Source vendor": image.text("source_vendor", "SourceVendor"),
        "Scanner": (" ".join(names) or "n/a")
        + (f", {field_strength} T" if field_strength else ""),
        "Model": str(sidecar.get("HarmonizationModel", "n/a")),
        "Device": str(sidecar.get("Device", "n/a")),
        "Processing time": "n/a" if seconds is None else f"{seconds:.0f} s",
    }


def _distances(image: HarmonizedImage) -> str:
    """Return the distance before and after, and the change in percent."""
    before, after = image.number("distance_before"), image.number("distance_after")
    if before is None or after is None:
        return "n/a"
    change = f" ({100 * (after / before - 1):+.0f} %)" if before > 0 else ""
    return f"{before:.4g} → {after:.4g}{change}"


def _shells(image: HarmonizedImage) -> list[list[str]]:
    """Return how each shell of a diffusion series was changed."""
    shells = image.sidecar.get("HarmonizationShells")
    return [
        [f"{shell[key]:.4g}" if key in shell else "n/a" for key in SHELL_KEYS]
        for shell in (shells if isinstance(shells, list) else [])
        if isinstance(shell, dict)
    ]


def _figures(out_dir: Path, image: HarmonizedImage) -> dict[str, str]:
    """Return the paths of the figures that exist, by kind; a page must be possible without."""
    paths = {
        kind: f"sub-{image.subject}/figures/{figure_name(image.stem, kind, image.suffix)}"
        for kind in FIGURE_KINDS
    }
    return {kind: path for kind, path in paths.items() if (out_dir / path).is_file()}


def _provenance(image: HarmonizedImage) -> dict[str, str]:
    provenance = {key: str(image.sidecar.get(key, "n/a"))[:HASH_DIGITS] for key in HASH_KEYS}
    scaling, sources = image.sidecar.get("IntensityScaling"), image.sidecar.get("Sources")
    if isinstance(scaling, dict):
        values = (f"{key} {value}" for key, value in scaling.items())
        provenance["IntensityScaling"] = ", ".join(values)
    if isinstance(sources, list):
        provenance["Sources"] = ", ".join(map(str, sources))
    return provenance
