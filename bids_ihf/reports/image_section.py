"""What a participant's page says of one image."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bids_ihf.qc.flags import harmonization_warning, qc_flags
from bids_ihf.reports import markup
from bids_ihf.reports.figures import (
    ALIGNMENT,
    ANISOTROPY,
    CHANGE,
    DENSITIES,
    FLICKER,
    HARMONIZED,
    KINDS,
    MASK,
    figure_name,
)
from bids_ihf.reports.measures_table import measures_table

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from bids_ihf.bids.harmonized_images import HarmonizedImage

TITLES = {
    HARMONIZED: "Before, after, and the target's contrast",
    FLICKER: "Before and after by turns",
    CHANGE: "Change made by the harmonization",
    DENSITIES: "Intensity densities",
    ANISOTROPY: "Fractional anisotropy before and after",
    MASK: "Brain mask",
    ALIGNMENT: "Alignment to the template",
}
CAPTIONS = {
    HARMONIZED: (
        "The same slices, with one window unless the units differ. Gyri, ventricles and lesions "
        "must be the same; "
        "only the contrast may differ. Target: the template's tissues painted in the target's "
        "intensities, since a target holds no image. Left is left."
    ),
    FLICKER: "Nothing but brightness may change: edges that jump were moved.",
    CHANGE: (
        "What was added, over the harmonized image: red brighter, blue darker. Expect it to "
        "follow the tissues; rims, blocks and stripes are signs of trouble."
    ),
    DENSITIES: (
        "Intensities inside the brain, of each tissue where it could be told. After should lie "
        "on the target's, drawn dashed."
    ),
    ANISOTROPY: "By a tensor fitted to weightings up to 1500 s/mm\u00b2. It should hardly differ.",
    MASK: "The mask's outline. It should follow the brain's edge and leave no gyrus out.",
    ALIGNMENT: (
        "The template's brain (green) and white matter (red), aligned by a rigid transform: the "
        "same place and tilt, not the same folds or size."
    ),
}
OF_SERIES = {
    HARMONIZED: (
        "Before and after",
        "The mean of the lowest shell. Anatomy must be the same; only brightness may differ.",
    ),
    DENSITIES: (
        TITLES[DENSITIES],
        "Intensities of the lowest shell's mean inside the brain mask.",
    ),
}
"""What is said differently of diffusion series."""
_HASH = 12


def image_section(out_dir: Path, image: HarmonizedImage, warnings: Sequence[str]) -> str:
    """Return the HTML of one image: facts, concerns, figures, measures, provenance."""
    parts = [f'<p class="file">{markup.render(image.relative)}</p>\n']
    flagged = harmonization_warning(image)
    if flagged:
        parts.append(markup.note(flagged, "failure"))
    parts += [markup.note(words, "warning") for words in qc_flags(image)]
    others = [words for words in warnings if not flagged or flagged not in words]
    parts += [markup.note(f"Warning of the run: {words}", "warning") for words in others]
    parts += [
        '<div class="facts">',
        markup.facts(_facts(image)),
        measures_table(image),
        "</div>\n",
    ]
    parts += _shells(image)
    parts += _figures(out_dir, image)
    parts.append(markup.details("Provenance", markup.facts(_provenance(image))))
    return "".join(parts)


def _shells(image: HarmonizedImage) -> list[str]:
    """What was done to each shell of a diffusion series."""
    shells = image.sidecar.get("HarmonizationShells")
    if not isinstance(shells, list):
        return []
    names = ("BValue", "TargetBValue", "AttenuationExponent", "AnisotropyFactor")
    rows = [
        tuple(f"{shell[name]:.4g}" if name in shell else "n/a" for name in names)
        for shell in shells
        if isinstance(shell, dict)
    ]
    head = ("b-value", "Target's b-value", "Exponent of attenuation", "Factor on anisotropy")
    return ["<h4>Shells</h4>\n", markup.table(head, rows)]


def distances(image: HarmonizedImage) -> str:
    """Return distance before and after, and the change in percent."""
    before, after = image.number("distance_before"), image.number("distance_after")
    if before is None or after is None:
        return "n/a"
    change = f" ({100 * (after / before - 1):+.0f} %)" if before > 0 else ""
    return f"{before:.4g} → {after:.4g}{change}"


def _facts(image: HarmonizedImage) -> Iterable[tuple[str, str]]:
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
    seconds = image.number("seconds")
    yield "Time", "n/a" if seconds is None else f"{seconds:.0f} s"


def _figures(out_dir: Path, image: HarmonizedImage) -> list[str]:
    """Return the figures that are there; a page must be possible without them."""
    found = []
    for kind in KINDS:
        name = figure_name(image.stem, kind, image.suffix)
        relative = f"sub-{image.subject}/figures/{name}"
        if not (out_dir / relative).is_file():
            continue
        title, caption = TITLES[kind], CAPTIONS[kind]
        if image.suffix == "dwi":
            title, caption = OF_SERIES.get(kind, (title, caption))
        alternative = f"{image.full_name}: {title}"
        screen = ' class="screen"' if kind == FLICKER else ""  # it cannot turn on paper
        found.append(f"<h4{screen}>{markup.render(title)}</h4>\n")
        if kind == FLICKER:
            name = f"flicker-{image.full_name}"
            found.append(markup.flicker(relative, alternative, caption, name))
        else:
            found.append(markup.figure(relative, alternative, caption))
    return found or [markup.note("The figures of this image are not here.", "warning")]


def _provenance(image: HarmonizedImage) -> Iterable[tuple[str, str]]:
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
