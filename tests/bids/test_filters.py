from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bids_ihf.bids.filters import matches, read_filters
from bids_ihf.bids.names import parse_name
from bids_ihf.errors import UsageError

NAME = parse_name(Path("anat/sub-01_ses-A_acq-mprage_run-02_T1w.nii.gz"))
METADATA = {"MagneticFieldStrength": 3, "ImageType": ["ORIGINAL", "NORM"]}


def write(folder: Path, content: Any) -> Path:
    path = folder / "filters.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


@pytest.mark.parametrize(
    ("query", "fits"),
    [
        ({}, True),
        ({"session": "A"}, True),
        ({"session": "ses-A"}, True),
        ({"ses": ["B", "ses-A"]}, True),
        ({"session": "a"}, False),
        ({"subject": "sub-01"}, True),
        ({"acquisition": "mprage", "run": 2}, True),
        ({"run": "2"}, True),
        ({"run": [1, 3]}, False),
        ({"part": None}, True),
        ({"acquisition": None}, False),
        ({"acquisition": "*"}, True),
        ({"reconstruction": "*"}, False),
        ({"reconstruction": [None, "norm"]}, True),
        ({"suffix": "T1w", "datatype": "anat", "extension": "nii.gz"}, True),
        ({"extension": [".nii"]}, False),
        ({"proc": None, "mtransfer": None, "mt": None}, True),
        ({"MagneticFieldStrength": 3}, True),
        ({"MagneticFieldStrength": [1.5, 3.0]}, True),
        ({"MagneticFieldStrength": 1.5}, False),
        ({"ImageType": ["ORIGINAL", "NORM"]}, True),
        ({"EchoTime": "*"}, False),
        ({"EchoTime": None}, True),
    ],
)
def test_matches(query: dict[str, Any], fits: bool) -> None:
    assert matches(NAME, METADATA, query) is fits


def test_modalities_in_any_case(tmp_path: Path) -> None:
    path = write(tmp_path, {"t1w": {"session": "A"}, "T2W": {}, "flair": {"run": 1}, "bold": {}})
    assert read_filters(path) == {"T1w": {"session": "A"}, "T2w": {}, "FLAIR": {"run": 1}}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"t1": {}}, "unknown key 't1'"),
        ({"t1w": {"sesion": "A"}}, "unknown entity 'sesion'"),
        ({"t1w": []}, "must be an object"),
        ([], "must hold an object"),
        ("{", "cannot be read as JSON"),
    ],
)
def test_mistakes_are_refused(tmp_path: Path, content: Any, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        read_filters(write(tmp_path, content))


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"none\.json"):
        read_filters(tmp_path / "none.json")
