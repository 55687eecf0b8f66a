"""JSON sidecars of derivatives; the one of the harmonized image marks it as finished."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bids_ihf.bids.images import SourceImage
from bids_ihf.bids.names import scan_fields
from bids_ihf.io.atomic import write_atomic

# Acquisition fields that dcm2niix writes and the BIDS schema does not list for these images.
_DCM2NIIX_FIELDS = frozenset(
    {
        "EchoTrainLength",
        "PercentPhaseFOV",
        "PercentSampling",
        "PhaseEncodingAxis",
        "PixelBandwidth",
        "RepetitionTime",
        "RepetitionTimeExcitation",
        "SliceThickness",
        "SpacingBetweenSlices",
    }
)
# True of the source file only: they point at field maps or other files, or state its own content.
_UNCOPIED_FIELDS = frozenset(
    {"B0FieldIdentifier", "B0FieldSource", "IntendedFor", "SkullStripped", "Sources", "Units"}
)
# They name axes or places of the source's grid, so they fall with a resampling.
_GRID_FIELDS = frozenset(
    {
        "AnatomicalLandmarkCoordinates",
        "PartialFourierDirection",
        "PhaseEncodingAxis",
        "PhaseEncodingDirection",
        "SliceEncodingDirection",
        "SliceThickness",
        "SliceTiming",
        "SpacingBetweenSlices",
        "TablePosition",
    }
)


def derivative_sidecar(
    image: SourceImage,
    *,
    description: str,
    skull_stripped: bool,
    extra: Mapping[str, Any],
    same_grid: bool = True,
) -> dict[str, Any]:
    """Describe an image derived from `image`.

    How the source was acquired remains true and is copied, as far as the BIDS schema knows the
    field (so that no private one travels on); ``Manufacturer`` stays the maker of the scanner.

    Parameters
    ----------
    image
        The source.
    description
        One sentence for ``Description``.
    skull_stripped
        Whether the derived image shows the brain alone.
    extra
        Further fields; they win over those above, ``Sources`` included.
    same_grid
        False for an image in another space, where fields that name axes no longer hold.
    """
    kept = (scan_fields() | _DCM2NIIX_FIELDS) - _UNCOPIED_FIELDS
    if not same_grid:
        kept -= _GRID_FIELDS
    return {
        "Description": description,
        "SkullStripped": skull_stripped,
        "Sources": [image.uri],
        **{key: value for key, value in sorted(image.metadata.items()) if key in kept},
        **extra,
    }


def mask_sidecar(
    image: SourceImage, *, description: str, extra: Mapping[str, Any]
) -> dict[str, Any]:
    """Describe the brain mask of `image`; `extra` wins over the other fields."""
    return {"Description": description, "Type": "Brain", "Sources": [image.uri], **extra}


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON file in one step; NumPy numbers and paths are made plain, NaN becomes null.

    Raises
    ------
    CannotWrite
        It cannot be written.
    """
    write_atomic(path, to_json(content))


def to_json(content: Mapping[str, Any]) -> bytes:
    """Return indented UTF-8 JSON that ends with a line break."""
    text = json.dumps(_plain(content), indent=2, ensure_ascii=False, allow_nan=False)
    return (text + "\n").encode()


def is_finished(sidecar_path: Path, configuration_hash: str) -> bool:
    """Whether an image was finished with this configuration: sidecar written, image there."""
    try:
        content = json.loads(sidecar_path.read_text(encoding="utf-8"))
        size = sidecar_path.with_suffix(".nii.gz").stat().st_size
    except (OSError, ValueError):
        return False
    if not isinstance(content, dict) or size == 0:
        return False
    return bool(content.get("ConfigurationHash") == configuration_hash)


def _plain(value: Any) -> Any:
    """Bring a value to what JSON knows."""
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
