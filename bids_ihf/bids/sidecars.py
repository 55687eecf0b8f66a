"""JSON sidecars of derivatives; that of the harmonized image marks it as finished."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bids_ihf.bids.images import SourceImage
from bids_ihf.bids.names import is_valid_field, scan_fields
from bids_ihf.io.atomic import write_atomic

# Acquisition fields that dcm2niix writes and the BIDS schema does not list for these images.
_DCM2NIIX_FIELDS = frozenset(
    "EchoTrainLength PercentPhaseFOV PercentSampling PhaseEncodingAxis PixelBandwidth "
    "RepetitionTime RepetitionTimeExcitation SliceThickness SpacingBetweenSlices".split()
)
# True of the source file only: they refer to field maps or other files, or to its content.
_UNCOPIED_FIELDS = frozenset(
    "B0FieldIdentifier B0FieldSource IntendedFor SkullStripped Sources Units".split()
)
# They refer to axes or positions of the source's grid, so they do not survive resampling.
_GRID_FIELDS = frozenset(
    "AnatomicalLandmarkCoordinates PartialFourierDirection PhaseEncodingAxis "
    "PhaseEncodingDirection SliceEncodingDirection SliceThickness SliceTiming "
    "SpacingBetweenSlices TablePosition".split()
)
# BIDS requires them of a derivative with these entities, which the source may be itself.
_ENTITY_FIELDS = {"space": "SpatialReference", "res": "Resolution", "den": "Density"}
_UNKNOWN_TEXT = "As in the source image, whose sidecar does not specify it."

HARMONIZED_DESCRIPTION = "Image with its contrast harmonized to {}, on the grid of its source."
CHANGE_DESCRIPTION = "Harmonized image minus its source."
COMPACT_CHANGE_DESCRIPTION = (
    "Harmonized image in the units of its source (divided by ChangeUnitFactor), minus its source."
)


def derivative_sidecar(
    image: SourceImage,
    *,
    description: str,
    skull_stripped: bool,
    extra: Mapping[str, Any],
    same_grid: bool = True,
) -> dict[str, Any]:
    """Return the sidecar of an image derived from `image`.

    The acquisition fields of the source remain true and are copied if the BIDS schema has them and
    accepts their type, so that no private or invalid field is passed on; ``Manufacturer`` remains
    that of the scanner.

    Parameters
    ----------
    image
        The source.
    description
        One sentence for ``Description``.
    skull_stripped
        Whether the derived image shows the brain only.
    extra
        Further fields, which replace those above, ``Sources`` included.
    same_grid
        False for an image in another space, where fields that refer to axes do not hold.
    """
    copied = (scan_fields() | _DCM2NIIX_FIELDS) - _UNCOPIED_FIELDS
    if not same_grid:
        copied -= _GRID_FIELDS
    return {
        "Description": description,
        "SkullStripped": skull_stripped,
        "Sources": [image.uri],
        **{
            key: value
            for key, value in sorted(image.metadata.items())
            if key in copied and is_valid_field(key, value)
        },
        **(_grid_reference(image) if same_grid else {}),
        **extra,
    }


def mask_sidecar(
    image: SourceImage, *, description: str, extra: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the sidecar of the brain mask of `image`; `extra` replaces the other fields."""
    return {
        "Description": description,
        "Type": "Brain",
        "Sources": [image.uri],
        **_grid_reference(image),
        **extra,
    }


def _grid_reference(image: SourceImage) -> dict[str, Any]:
    """Fields on space and resolution of a source that is a derivative; a space that its sidecar
    does not specify is that of the source itself."""
    missing = {"SpatialReference": image.uri}
    return {
        field: image.metadata[field]
        if is_valid_field(field, image.metadata.get(field))
        else missing.get(field, _UNKNOWN_TEXT)
        for entity, field in _ENTITY_FIELDS.items()
        if image.name.get(entity)
    }


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON file in one step, encoded by `to_json`.

    Raises
    ------
    CannotWrite
        It cannot be written.
    """
    write_atomic(path, to_json(content))


def to_json(content: Mapping[str, Any]) -> bytes:
    r"""Encode indented JSON; NumPy values and paths become plain ones, NaN becomes null.

    >>> to_json({"SNR": float("nan")})
    b'{\n  "SNR": null\n}\n'
    """
    text = json.dumps(_plain(content), indent=2, ensure_ascii=False, allow_nan=False)
    # Paths may hold bytes that are no text; JSON has escapes for them.
    return (text + "\n").encode(errors="backslashreplace")


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object; empty if the file is missing, damaged or holds something else."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def is_finished(sidecar_path: Path, configuration_hash: str) -> bool:
    """Whether an image and its sidecar were completely written with this configuration."""
    try:
        size = sidecar_path.with_suffix(".nii.gz").stat().st_size
    except OSError:
        return False
    return size > 0 and read_json(sidecar_path).get("ConfigurationHash") == configuration_hash


def _plain(value: Any) -> Any:
    """Convert a value to the types of JSON."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(item) for item in value]
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if hasattr(value, "tolist"):
        return _plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
