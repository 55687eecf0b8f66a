"""Signs in the measures of one image that a person should look at it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bids_ihf.preprocessing.prepare import doubt

if TYPE_CHECKING:
    from bids_ihf.bids.harmonized_images import Finished

MAX_ROUND_TRIP_ERROR = 1e-4
"""Encoding and decoding in single precision stays well below this."""
USUAL_BRAIN_VOLUME_ML = (700.0, 2100.0)
"""Brain volumes that are usual from childhood on, CSF round the brain included."""


def harmonization_warning(image: Finished) -> str | None:
    """Return the sentence with which the image was flagged; None where it was not."""
    found = image.sidecar.get("HarmonizationWarning")
    return found if isinstance(found, str) and found else None


def qc_flags(image: Finished) -> list[str]:
    """Return one sentence for each sign."""
    found = []
    before, after = image.number("distance_before"), image.number("distance_after")
    if (
        before is not None
        and after is not None
        and after >= before
        and not is_target_vendor(image)
    ):
        found.append(
            f"Not closer to the target than before (distance {before:.4g} to {after:.4g})."
        )
    error = image.number("round_trip_max_error")
    if error is not None and error > MAX_ROUND_TRIP_ERROR:
        found.append(f"Harmonized less change is not the original (off by {error:.2g}).")
    volume = image.number("mask_volume_ml")
    if volume is not None and not USUAL_BRAIN_VOLUME_ML[0] <= volume <= USUAL_BRAIN_VOLUME_ML[1]:
        found.append(f"A brain mask of {volume:.0f} ml is unusual for a whole brain.")
    similarity = image.number("alignment_similarity")
    coverage = image.number("alignment_coverage")
    why = None if similarity is None else doubt(similarity, coverage)
    if why:
        found.append(why)
    if image.text("source_vendor", "SourceVendor") in {"unknown", "n/a"}:
        found.append("The maker of the scanner is not known.")
    return found


def is_target_vendor(image: Finished) -> bool:
    """Whether the scanner is of the target's make: such an image has nowhere to come closer to."""
    vendor = image.text("source_vendor", "SourceVendor").casefold()
    return vendor == image.text("harmonization_target", "HarmonizationTarget").casefold()
