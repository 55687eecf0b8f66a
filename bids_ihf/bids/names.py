"""BIDS file names: taking them apart, and naming derivatives with every entity of their source."""

from __future__ import annotations

import re
from functools import cache
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from attrs import frozen

from bids_ihf.errors import InvalidBIDS

if TYPE_CHECKING:
    from collections.abc import Mapping

_ENTITY_PATTERN = re.compile(r"([a-z]+)-([0-9A-Za-z+]+)")
_SUFFIX_PATTERN = re.compile(r"([0-9A-Za-z]+)(\.[0-9A-Za-z.]+)")


@frozen
class BIDSName:
    """A BIDS file name taken apart.

    Attributes
    ----------
    entities
        (key, value) pairs as they stand in the name, such as ``("sub", "01")``.
    suffix
        What the image is, such as ``T1w``.
    extension
        With its leading dot, such as ``.nii.gz``.
    datatype
        The folder the file lies in (``anat``, ``dwi``), where the path told it.
    """

    entities: tuple[tuple[str, str], ...]
    suffix: str
    extension: str
    datatype: str | None = None

    def get(self, key: str) -> str | None:
        """Return the value of an entity by its short key, or None where it is absent."""
        return dict(self.entities).get(key)

    def without(self, *keys: str) -> tuple[tuple[str, str], ...]:
        """Return the entities, less those of these keys."""
        return tuple((key, value) for key, value in self.entities if key not in keys)

    def __str__(self) -> str:
        return _join(self.entities, self.suffix, self.extension)


def parse_name(name: str | PurePath) -> BIDSName:
    """Take a file name, or a path to it, apart.

    Raises
    ------
    InvalidBIDS
        The name is not of the form ``key-value_..._suffix.extension``, or repeats a key.
    """
    path = PurePath(name)
    *pairs, tail = path.name.split("_")
    matches = [_ENTITY_PATTERN.fullmatch(pair) for pair in pairs]
    end = _SUFFIX_PATTERN.fullmatch(tail)
    entities = tuple((match[1], match[2]) for match in matches if match)
    keys = {key for key, _ in entities}
    if end is None or not pairs or len(entities) != len(pairs) or len(keys) != len(pairs):
        raise InvalidBIDS(
            f"{path} is not named as BIDS asks: rename it to key-value pairs joined by '_', "
            "then a suffix and an extension."
        )
    datatype = path.parent.name if path.parent.name in _datatypes() else None
    return BIDSName(entities, end[1], end[2], datatype)


def derivative_name(
    source: BIDSName,
    *,
    add: Mapping[str, str],
    suffix: str | None = None,
    extension: str,
) -> str:
    """Name a derivative of `source`.

    All entities of the source are kept, and all are put in the order of the BIDS schema with
    ``desc`` last; keys that the schema does not know (``from``, ``to``, ``mode``) keep their order
    before it.  An added entity takes the place of the source's one of the same key.

    Raises
    ------
    ValueError
        Nothing is added (a derivative may not bear a raw name), or a value is not alphanumeric.
    """
    if not add:
        raise ValueError("a derivative needs at least one entity that its source has not")
    for key, value in add.items():
        if not _ENTITY_PATTERN.fullmatch(f"{key}-{value}"):
            raise ValueError(f"{key}-{value} is not a BIDS entity")
    entities = dict(source.entities) | dict(add)
    return _join(in_schema_order(entities), suffix or source.suffix, extension)


def in_schema_order(entities: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """Sort entities as the BIDS schema does, unknown ones just before ``desc``."""
    rank = {key: index for index, key in enumerate(entity_keys().values())}
    unknown = rank["desc"] - 0.5
    return tuple(sorted(entities.items(), key=lambda pair: rank.get(pair[0], unknown)))


@cache
def entity_keys() -> dict[str, str]:
    """Short keys by long names (``acquisition``: ``acq``), in the order of the BIDS schema."""
    schema = _schema()
    return {name: str(schema.objects.entities[name]["name"]) for name in schema.rules.entities}


@cache
def index_keys() -> frozenset[str]:
    """Short keys of the entities whose values are numbers, so that 1 and 01 are the same."""
    entities = _schema().objects.entities
    return frozenset(str(item["name"]) for item in entities.values() if item["format"] == "index")


@cache
def scan_fields() -> frozenset[str]:
    """Names of the sidecar fields that the BIDS schema lists for MRI, anatomical and DWI."""
    sidecars = _schema().rules.sidecars
    groups = [group for room in ("mri", "anat", "dwi") for group in sidecars[room].values()]
    return frozenset(str(field).split("__")[0] for group in groups for field in group["fields"])


@cache
def _datatypes() -> frozenset[str]:
    return frozenset(str(name) for name in _schema().objects.datatypes)


@cache
def _schema() -> Any:
    from bidsschematools.schema import load_schema

    return load_schema()


def _join(entities: tuple[tuple[str, str], ...], suffix: str, extension: str) -> str:
    return "_".join([*(f"{key}-{value}" for key, value in entities), suffix]) + extension
