"""BIDS filter files: selecting images by entity, suffix or sidecar field."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bids_ihf.bids.names import IMAGE_SUFFIXES, BIDSName, entity_keys, index_keys
from bids_ihf.errors import UsageError

LOGGER = logging.getLogger(__name__)

# Modalities in filter files that are shared with other BIDS Apps; such images are not harmonized.
_IGNORED_MODALITIES = frozenset({"sbref", "fmap", "bold", "asl", "roi", "pet", "t2starw", "pdw"})
# Names that pybids uses besides those of the schema.
_PYBIDS_NAMES = {"proc": "proc", "staining": "stain", "inv": "inv", "mt": "mt"}
_NAME_FIELDS = frozenset({"suffix", "extension", "datatype"})

Filters = Mapping[str, Mapping[str, Any]]


def read_filters(path: Path) -> dict[str, dict[str, Any]]:
    """Read a filter file: JSON of ``{modality: {entity: value}}``.

    Modalities are accepted in any case and returned as suffixes.  A value is text, a number, a
    list of those (any may match), ``null`` (must be absent) or ``"*"`` (must be present).
    Entities have their long or short names; a key with a capital letter is a field of the sidecar.

    Raises
    ------
    UsageError
        The file cannot be read, or has an unknown key.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"The filter file {path} cannot be read as JSON: {error}.") from error
    if not isinstance(content, dict):
        raise UsageError(f"The filter file {path} must hold an object such as {{'t1w': {{}}}}.")
    suffixes = {suffix.lower(): suffix for suffix in IMAGE_SUFFIXES}
    filters: dict[str, dict[str, Any]] = {}
    for key, query in content.items():
        if key.lower() in suffixes:
            filters[suffixes[key.lower()]] = _checked(query, key, path)
        elif key.lower() in _IGNORED_MODALITIES:
            LOGGER.info("Filter '%s' of %s is ignored: no such image is harmonized.", key, path)
        else:
            raise UsageError(
                f"The filter file {path} has the unknown key '{key}': use {', '.join(suffixes)}."
            )
    return filters


def matches(name: BIDSName, metadata: Mapping[str, Any], query: Mapping[str, Any]) -> bool:
    """Whether an image fulfils all conditions of its modality's filter.

    >>> from bids_ihf.bids.names import parse_name
    >>> name = parse_name("sub-01_acq-mprage_run-02_T1w.nii.gz")
    >>> matches(name, {"EchoTime": 0.003}, {"run": 2, "part": None, "EchoTime": "*"})
    True
    """
    return all(_matches_key(key, expected, name, metadata) for key, expected in query.items())


def _checked(query: object, modality: str, path: Path) -> dict[str, Any]:
    if not isinstance(query, dict):
        raise UsageError(
            f"Filter '{modality}' of {path} must be an object of entities: correct it."
        )
    for key in query:
        if not (key in _NAME_FIELDS or key[:1].isupper() or _short_key(key)):
            raise UsageError(
                f"Filter '{modality}' of {path} has the unknown entity '{key}': use an entity of "
                "BIDS or a field of the sidecar."
            )
    return query


def _short_key(key: str) -> str | None:
    """Short key of an entity given by its long, short or pybids name."""
    keys = entity_keys()
    return key if key in keys.values() else keys.get(key, _PYBIDS_NAMES.get(key))


def _matches_key(key: str, expected: Any, name: BIDSName, metadata: Mapping[str, Any]) -> bool:
    short_key = _short_key(key)
    if short_key:
        value: Any = name.get(short_key)
    elif key in _NAME_FIELDS:
        value = getattr(name, key)
    else:
        value = metadata.get(key)
    key = short_key or key
    if isinstance(expected, Sequence) and not isinstance(expected, str):
        # The value of a sidecar field may itself be a list.
        return value == expected or any(_equal(key, option, value) for option in expected)
    return _equal(key, expected, value)


def _equal(key: str, expected: Any, value: Any) -> bool:
    if expected is None or value is None:
        return expected is value
    if expected == "*":
        return True
    if key[:1].isupper():
        return bool(expected == value)
    text = str(expected).removeprefix(f"{key}-")
    if key == "extension":
        return text.lstrip(".") == str(value).lstrip(".")
    if key in index_keys() and text.isdigit() and str(value).isdigit():
        return int(text) == int(value)
    return text == str(value)
