"""BIDS filter files: which images a user wants, by entity, suffix or sidecar field."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bids_ihf.bids.names import BIDSName, entity_keys, index_keys
from bids_ihf.errors import UsageError

LOGGER = logging.getLogger(__name__)

MODALITIES = ("T1w", "T2w", "dwi")
# Names that a file shared with other BIDS Apps may hold; nothing here is done with those images.
_IGNORED_MODALITIES = frozenset(
    {"flair", "sbref", "fmap", "bold", "asl", "roi", "pet", "t2starw", "pdw"}
)
# Names that pybids uses besides the schema's own.
_PYBIDS_NAMES = {"proc": "proc", "staining": "stain", "inv": "inv", "mt": "mt"}
_NAME_FIELDS = frozenset({"suffix", "extension", "datatype"})

Filters = Mapping[str, Mapping[str, Any]]


def read_filters(path: Path) -> dict[str, dict[str, Any]]:
    """Read a filter file: JSON of ``{modality: {entity: value}}``.

    Modalities are taken in any case and given back as ``T1w``, ``T2w``, ``dwi``.  A value is text,
    a number, a list of them (any will do), ``null`` (must be absent) or ``"*"`` (must be present).
    Entities may be long or short names; a key with a capital letter is a field of the sidecar.

    Raises
    ------
    UsageError
        The file cannot be read, or holds a key that means nothing.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"The filter file {path} cannot be read as JSON: {error}.") from error
    if not isinstance(content, dict):
        raise UsageError(f"The filter file {path} must hold an object such as {{'t1w': {{}}}}.")
    names = {modality.lower(): modality for modality in MODALITIES}
    filters: dict[str, dict[str, Any]] = {}
    for key, query in content.items():
        if key.lower() in names:
            filters[names[key.lower()]] = _checked(query, key, path)
        elif key.lower() in _IGNORED_MODALITIES:
            LOGGER.info("Filter '%s' of %s is not used: no such image is harmonized.", key, path)
        else:
            known = ", ".join(names)
            raise UsageError(f"The filter file {path} has the unknown key '{key}': use {known}.")
    return filters


def matches(name: BIDSName, metadata: Mapping[str, Any], query: Mapping[str, Any]) -> bool:
    """Whether an image fits all the conditions of one modality's filter."""
    return all(_fits(key, wanted, name, metadata) for key, wanted in query.items())


def _checked(query: object, modality: str, path: Path) -> dict[str, Any]:
    if not isinstance(query, dict):
        raise UsageError(f"Filter '{modality}' of {path} must be an object of entities: mend it.")
    for key in query:
        if not (key in _NAME_FIELDS or key[:1].isupper() or _short(key)):
            raise UsageError(
                f"Filter '{modality}' of {path} names the unknown entity '{key}': use an entity "
                "of BIDS or a field of the sidecar."
            )
    return query


def _short(key: str) -> str | None:
    """Short key of an entity given by its long, short or pybids name."""
    keys = entity_keys()
    return key if key in keys.values() else keys.get(key, _PYBIDS_NAMES.get(key))


def _fits(key: str, wanted: Any, name: BIDSName, metadata: Mapping[str, Any]) -> bool:
    short = _short(key)
    if short:
        found: Any = name.get(short)
    elif key in _NAME_FIELDS:
        found = getattr(name, key)
    else:
        found = metadata.get(key)
    if isinstance(wanted, Sequence) and not isinstance(wanted, str):
        # A list-valued field of the sidecar may be given whole.
        return found == wanted or any(_equal(short or key, one, found) for one in wanted)
    return _equal(short or key, wanted, found)


def _equal(key: str, wanted: Any, found: Any) -> bool:
    if wanted is None or found is None:
        return wanted is found
    if wanted == "*":
        return True
    if key[:1].isupper():
        return bool(wanted == found)
    text = str(wanted).removeprefix(f"{key}-")
    if key == "extension":
        return text.lstrip(".") == str(found).lstrip(".")
    if key in index_keys() and text.isdigit() and str(found).isdigit():
        return int(text) == int(found)
    return text == str(found)
