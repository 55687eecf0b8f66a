"""Which dataset an output folder belongs to: mixed up, participants would take others' results."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from bids_ihf.bids.dataset_files import PIPELINE_NAME, dataset_description
from bids_ihf.bids.output_files import LOG_NAME
from bids_ihf.bids.raw_files import RAW_DATATYPES
from bids_ihf.bids.sidecars import read_json
from bids_ihf.errors import UsageError
from bids_ihf.io.content_hash import content_hash

LOGGER = logging.getLogger(__name__)

MAX_COMPARED_IMAGES = 20
"""Finished images whose sources are looked for in a dataset that may be another one."""
_DESCRIPTION_FIELDS = ("Name", "License", "SourceDatasets")


def require_same_dataset(out_dir: Path, bids_dir: Path, *, allow_other: bool = False) -> None:
    """Check that the results in an output folder are those of this dataset.

    It is the same if its path and its description are.  Otherwise the sources of finished images
    decide by their content: one that is the same will do.  If none of them is there (another
    participant's job, for example), the path or the description must be the same.

    What another program has written there would be overwritten where names agree (brain masks).

    Raises
    ------
    UsageError
        It is another dataset or another program's, and that is not allowed.
    """
    recorded = read_json(out_dir / "dataset_description.json")
    if not recorded and not any(_images(out_dir)):
        return
    if _pipeline_name(recorded) != PIPELINE_NAME and (recorded or not _has_log(out_dir)):
        _refuse(f"{out_dir} holds results of {_pipeline_name(recorded)}", allow_other=allow_other)
        return
    current = dataset_description(out_dir, bids_dir)
    same_path = recorded.get("DatasetLinks") == current["DatasetLinks"]
    same_description = bool(read_json(bids_dir / "dataset_description.json").get("Name")) and all(
        recorded.get(key) == current.get(key) for key in _DESCRIPTION_FIELDS
    )
    if same_path and same_description:
        return
    matches = list(islice(_source_matches(out_dir, bids_dir), MAX_COMPARED_IMAGES))
    if any(matches) or (not matches and (same_path or same_description or not recorded)):
        return
    first = (recorded.get("DatasetLinks") or {}).get("raw", "another dataset")
    message = f"{out_dir} holds the results of {first}, and {bids_dir} is another dataset"
    _refuse(message, allow_other=allow_other)


def _refuse(message: str, *, allow_other: bool) -> None:
    if not allow_other:
        raise UsageError(
            f"{message}: name another OUT_DIR, or mix them with --allow-other-dataset."
        )
    LOGGER.warning("%s: they are mixed.", message)


def _pipeline_name(description: dict[str, Any]) -> str:
    """Name of what made a dataset of derivatives."""
    generators = description.get("GeneratedBy")
    first = generators[0] if isinstance(generators, list) and generators else None
    name = first.get("Name") if isinstance(first, dict) else None
    return str(name or description.get("Name") or "another program")


def _has_log(out_dir: Path) -> bool:
    """Whether a run of ours left its log: a full disk, say, may have taken the description."""
    return any(out_dir.glob(f"sub-*/log/*/{LOG_NAME}"))


def _images(out_dir: Path) -> Iterator[Path]:
    for level in ("sub-*", "sub-*/ses-*"):
        for datatype in RAW_DATATYPES:
            yield from out_dir.glob(f"{level}/{datatype}/*.nii*")


def _source_matches(out_dir: Path, bids_dir: Path) -> Iterator[bool]:
    """For each finished image with a source of that name here: whether its content is the same."""
    for level in ("sub-*", "sub-*/ses-*"):
        for datatype in RAW_DATATYPES:
            for path in out_dir.glob(f"{level}/{datatype}/*_desc-harmonized_*.json"):
                sidecar = read_json(path)
                source = bids_dir / str(sidecar.get("Sources", [""])[0]).removeprefix("bids:raw:")
                if "SourceHash" in sidecar and source.is_file():
                    yield content_hash(source) == sidecar["SourceHash"]
