"""Quality-control flags of one harmonized image, raised by its measures."""

from __future__ import annotations

from bids_ihf.bids.harmonized_images import HarmonizedImage
from bids_ihf.preprocessing.prepare import alignment_warning

MAX_ROUND_TRIP_ERROR = 1e-4
"""Largest error of harmonized minus change against the original, relative to the largest
intensity; rounding in single precision stays well below."""

USUAL_BRAIN_VOLUME_ML = (700.0, 2100.0)
"""Plausible volumes (mL) of a whole brain from childhood on, including the surrounding CSF."""


def harmonization_warning(image: HarmonizedImage) -> str | None:
    """Return the ``HarmonizationWarning`` of the image's sidecar; None if there is none."""
    warning = image.sidecar.get("HarmonizationWarning")
    return warning if isinstance(warning, str) and warning else None


def qc_flags(image: HarmonizedImage) -> list[str]:
    """Return a sentence for each measure that calls for visual inspection of the image."""
    flags = []
    before, after = image.number("distance_before"), image.number("distance_after")
    closer = before is None or after is None or after < before
    if not closer and not is_target_vendor(image):
        flags.append(
            "Not closer to the target after harmonization "
            f"(distance {before:.4g} before, {after:.4g} after)."
        )
    error = image.number("round_trip_max_error")
    if error is not None and error > MAX_ROUND_TRIP_ERROR:
        flags.append(
            "Harmonized image minus change differs from the original "
            f"(maximum relative error {error:.2g})."
        )
    volume = image.number("mask_volume_ml")
    if volume is not None and not USUAL_BRAIN_VOLUME_ML[0] <= volume <= USUAL_BRAIN_VOLUME_ML[1]:
        flags.append(f"Brain mask volume of {volume:.0f} mL is implausible for a whole brain.")
    similarity = image.number("alignment_similarity")
    coverage = image.number("alignment_coverage")
    registration = None if similarity is None else alignment_warning(similarity, coverage)
    if registration:
        flags.append(registration)
    if image.text("source_vendor", "SourceVendor") in {"unknown", "n/a"}:
        flags.append("The scanner manufacturer is unknown.")
    if image.modality != image.suffix:
        flags.append(f"Named {image.suffix}, but harmonized as {image.modality} by its contrast.")
    return flags


def is_target_vendor(image: HarmonizedImage) -> bool:
    """Whether source and target vendor agree: such an image need not move closer to the target."""
    vendor = image.text("source_vendor", "SourceVendor").casefold()
    return vendor == image.text("harmonization_target", "HarmonizationTarget").casefold()
