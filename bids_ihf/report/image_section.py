"""What a participant's page says of one image."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bids_ihf.report import markup
from bids_ihf.report.checks import concerns
from bids_ihf.report.figures import CHANGE, DENSITIES, HARMONIZED, figure_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from bids_ihf.report.images import Finished

TITLES = {
    HARMONIZED: "Before and after harmonization",
    CHANGE: "Change made by the harmonization",
    DENSITIES: "Intensity densities in the brain before and after",
}
CAPTIONS = {
    HARMONIZED: (
        "Before and after, in the same slices. Gyri, ventricles and lesions must be the same; "
        "only the contrast may differ. Slices lie in the image's own orientation; left is left."
    ),
    CHANGE: (
        "What was added, over the harmonized image: red brighter, blue darker. Expect it to "
        "follow the tissues; rims, blocks and stripes are signs of trouble."
    ),
    DENSITIES: "Densities of the intensities inside the brain mask.",
}
_HASH = 12


def image_section(out_dir: Path, image: Finished, warnings: Sequence[str]) -> str:
    """Return the HTML of one image: facts, concerns, figures, provenance."""
    parts = [f'<p class="file">{markup.render(image.relative)}</p>\n']
    parts += [markup.note(words, "warning") for words in concerns(image)]
    parts += [markup.note(f"Warning of the run: {words}", "warning") for words in warnings]
    parts.append('<div class="facts">')
    parts += [markup.facts(_facts(image)), markup.facts(_measures(image)), "</div>\n"]
    parts += _figures(out_dir, image)
    parts.append(markup.details("Provenance", markup.facts(_provenance(image))))
    return "".join(parts)


def distances(image: Finished) -> str:
    """Return distance before and after, and the change in percent."""
    before, after = image.number("distance_before"), image.number("distance_after")
    if before is None or after is None:
        return "n/a"
    change = f" ({100 * (after / before - 1):+.0f} %)" if before > 0 else ""
    return f"{before:.4g} → {after:.4g}{change}"


def _facts(image: Finished) -> Iterable[tuple[str, str]]:
    sidecar = image.sidecar
    scanner = [
        str(sidecar[key]) for key in ("Manufacturer", "ManufacturersModelName") if sidecar.get(key)
    ]
    field = sidecar.get("MagneticFieldStrength")
    yield "Target", image.text("harmonization_target", "HarmonizationTarget")
    yield "Source vendor", image.text("source_vendor", "SourceVendor")
    yield "Scanner", (" ".join(scanner) or "n/a") + (f", {field} T" if field else "")
    yield "Network", str(sidecar.get("HarmonizationModel", "n/a"))
    yield "Device", str(sidecar.get("Device", "n/a"))


def _measures(image: Finished) -> Iterable[tuple[str, str]]:
    error = image.text("round_trip_max_error", "RoundTripMaxError")
    yield "Distance to the target", distances(image)
    yield "Size of the change (RMS)", image.measures.get("change_rms", "n/a")
    yield "Round-trip error", f"{float(error):.2g}" if markup.is_number(error) else error
    yield "Brain mask", _with_unit(image, "mask_volume_ml", "ml")
    yield "Alignment", _with_unit(image, "alignment_similarity", "")
    yield "Time", _with_unit(image, "seconds", "s")


def _with_unit(image: Finished, column: str, unit: str) -> str:
    value = image.number(column)
    if value is None:
        return "n/a"
    return f"{value:.0f} {unit}" if unit else f"{value:.3f}"


def _figures(out_dir: Path, image: Finished) -> list[str]:
    """Return the figures that are there; a page must be possible without them."""
    found = []
    for kind, title in TITLES.items():
        name = figure_name(image.stem, kind, image.suffix)
        relative = f"sub-{image.subject}/figures/{name}"
        if (out_dir / relative).is_file():
            alternative = f"{image.stem}_{image.suffix}: {title}"
            found.append(
                markup.figure(relative, alternative, CAPTIONS[kind], narrow=kind == DENSITIES)
            )
    return found or [markup.note("The figures of this image are not here.", "warning")]


def _provenance(image: Finished) -> Iterable[tuple[str, str]]:
    keys = ("HarmonizationTargetHash", "HarmonizationModelHash", "ConfigurationHash")
    for key in keys:
        yield key, str(image.sidecar.get(key, "n/a"))[:_HASH]
    scaling = image.sidecar.get("IntensityScaling")
    if isinstance(scaling, dict):
        words = ", ".join(f"{key} {value}" for key, value in scaling.items())
        yield "IntensityScaling", words
    sources = image.sidecar.get("Sources")
    if isinstance(sources, list):
        yield "Sources", ", ".join(map(str, sources))
