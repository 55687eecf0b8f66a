"""BIDS file names: parsing them, and naming derivatives with every entity of their source."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from math import inf
from pathlib import PurePath
from typing import Any, Literal, get_args

from attrs import frozen

from bids_ihf.errors import InvalidBIDS

Modality = Literal["T1w", "T2w", "FLAIR"]
"""Contrast of an anatomical image, as the suffix of its file name."""

ANATOMICAL_MODALITIES: tuple[Modality, ...] = get_args(Modality)
"""The anatomical contrasts that are harmonized; a T1w shows the brain best, so it comes first."""

IMAGE_SUFFIXES = (*ANATOMICAL_MODALITIES, "dwi")
"""Suffixes of the images that are harmonized."""

TEMPLATE_SPACE = "MNI152NLin2009aSym"
"""TemplateFlow's name of the template."""

_ENTITY_PATTERN = re.compile(r"([a-z]+)-([0-9A-Za-z+]+)")
_JSON_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "boolean": (bool,),
    "number": (int, float),
    "integer": (int,),
    "array": (list,),
    "object": (dict,),
}
_SUFFIX_PATTERN = re.compile(r"([0-9A-Za-z]+)(\.[0-9A-Za-z.]+)")


@frozen
class BIDSName:
    """A parsed BIDS file name.

    Attributes
    ----------
    entities
        (key, value) pairs in the order of the name, such as ``("sub", "01")``.
    suffix
        Last component, such as ``T1w``.
    extension
        With its leading dot, such as ``.nii.gz``.
    datatype
        Folder of the file (``anat``, ``dwi``), if the path has it.
    """

    entities: tuple[tuple[str, str], ...]
    suffix: str
    extension: str
    datatype: str | None = None

    def get(self, key: str) -> str | None:
        """Return the value of an entity by its short key, or None if it is absent."""
        return dict(self.entities).get(key)

    def without(self, *keys: str) -> tuple[tuple[str, str], ...]:
        """Return the entities except those with these keys."""
        return tuple((key, value) for key, value in self.entities if key not in keys)

    def __str__(self) -> str:
        return _join(self.entities, self.suffix, self.extension)


class NamedImage:
    """An image with a BIDS name: the labels in it that are asked for most."""

    __slots__ = ()
    name: BIDSName

    @property
    def subject(self) -> str:
        """Label of the participant, without ``sub-``."""
        return self.name.get("sub") or ""

    @property
    def session(self) -> str | None:
        """Label of the session, without ``ses-``."""
        return self.name.get("ses")

    @property
    def suffix(self) -> str:
        """Suffix of the file name: ``T1w``, ``T2w``, ``FLAIR`` or ``dwi``."""
        return self.name.suffix


def parse_name(name: str | PurePath) -> BIDSName:
    """Parse a file name or the path of a file.

    Raises
    ------
    InvalidBIDS
        The name is not of the form ``key-value_..._suffix.extension``, or repeats a key.

    Examples
    --------
    >>> name = parse_name("sub-01/anat/sub-01_run-2_T1w.nii.gz")
    >>> name.get("run"), name.suffix, name.extension, name.datatype
    ('2', 'T1w', '.nii.gz', 'anat')
    """
    path = PurePath(name)
    *pairs, last = path.name.split("_")
    matches = [_ENTITY_PATTERN.fullmatch(pair) for pair in pairs]
    suffix = _SUFFIX_PATTERN.fullmatch(last)
    entities = tuple((match[1], match[2]) for match in matches if match)
    keys = {key for key, _ in entities}
    if suffix is None or not pairs or len(entities) != len(pairs) or len(keys) != len(pairs):
        raise InvalidBIDS(
            f"{path} does not follow BIDS naming: rename it to key-value pairs joined by '_', "
            "then a suffix and an extension."
        )
    datatype = path.parent.name if path.parent.name in _datatypes() else None
    return BIDSName(entities, suffix[1], suffix[2], datatype)


def derivative_name(
    source: BIDSName,
    *,
    add: Mapping[str, str],
    suffix: str | None = None,
    extension: str,
) -> str:
    """Name a derivative of `source`.

    It keeps all entities of the source, in the order of the BIDS schema with ``desc`` last; keys
    that the schema does not have (``from``, ``to``, ``mode``) keep their order before it.  An
    added entity replaces that of the source with the same key.

    Raises
    ------
    ValueError
        No entity is added (a derivative must not have a raw name), or a value is not alphanumeric.

    Examples
    --------
    >>> source = parse_name("sub-01_run-2_T1w.nii.gz")
    >>> derivative_name(source, add={"desc": "brain"}, suffix="mask", extension=".nii.gz")
    'sub-01_run-2_desc-brain_mask.nii.gz'
    """
    if not add:
        raise ValueError("a derivative needs at least one entity that its source does not have")
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
    """Short keys of the entities with numbers as values, where 1 and 01 are the same."""
    entities = _schema().objects.entities
    return frozenset(str(item["name"]) for item in entities.values() if item["format"] == "index")


@cache
def scan_fields() -> frozenset[str]:
    """Names of the sidecar fields that the BIDS schema lists for MRI, anatomical and DWI."""
    sidecars = _schema().rules.sidecars
    groups = [group for rules in ("mri", "anat", "dwi") for group in sidecars[rules].values()]
    return frozenset(str(field).split("__")[0] for group in groups for field in group["fields"])


def is_valid_field(name: str, value: Any) -> bool:
    """Whether a sidecar field has the type that the BIDS schema asks for; unknown fields have.

    >>> is_valid_field("EchoTime", 0.003), is_valid_field("EchoTime", "0.003")
    (True, False)
    """
    definitions = _schema().objects.metadata
    return name not in definitions or _fits(value, definitions[name].to_dict())


def _fits(value: Any, definition: Mapping[str, Any]) -> bool:
    """Whether a value fits a definition in the vocabulary of JSON Schema."""
    if "anyOf" in definition:
        return any(_fits(value, alternative) for alternative in definition["anyOf"])
    if not isinstance(value, _JSON_TYPES.get(definition.get("type", ""), object)):
        return False
    if isinstance(value, bool):
        return definition.get("type") in ("boolean", None)
    if isinstance(value, (int, float)):
        least, most = definition.get("minimum", value), definition.get("maximum", value)
        return bool(least <= value <= most and value > definition.get("exclusiveMinimum", -inf))
    if isinstance(value, list):
        return all(_fits(item, definition.get("items", {})) for item in value)
    return "enum" not in definition or value in definition["enum"]


@cache
def _datatypes() -> frozenset[str]:
    return frozenset(str(name) for name in _schema().objects.datatypes)


@cache
def _schema() -> Any:
    from bidsschematools.schema import load_schema

    return load_schema()


def _join(entities: tuple[tuple[str, str], ...], suffix: str, extension: str) -> str:
    return "_".join([*(f"{key}-{value}" for key, value in entities), suffix]) + extension
