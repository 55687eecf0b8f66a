"""Which dataset an output folder belongs to: mixed up, participants would take others' results."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from bids_ihf.bids.dataset_files import dataset_description
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

    Raises
    ------
    UsageError
        It is another dataset, and that is not allowed.
    """
    recorded = read_json(out_dir / "dataset_description.json")
    if not recorded:
        return
    current = dataset_description(out_dir, bids_dir)
    same_path = recorded.get("DatasetLinks") == current["DatasetLinks"]
    same_description = bool(read_json(bids_dir / "dataset_description.json").get("Name")) and all(
        recorded.get(key) == current.get(key) for key in _DESCRIPTION_FIELDS
    )
    if same_path and same_description:
        return
    matches = list(islice(_source_matches(out_dir, bids_dir), MAX_COMPARED_IMAGES))
    if any(matches) or (not matches and (same_path or same_description)):
        return
    first = (recorded.get("DatasetLinks") or {}).get("raw", "another dataset")
    message = f"{out_dir} holds the results of {first}, and {bids_dir} is another dataset"
    if not allow_other:
        raise UsageError(
            f"{message}: name another OUT_DIR, or mix them with --allow-other-dataset."
        )
    LOGGER.warning("%s: they are mixed.", message)


def _source_matches(out_dir: Path, bids_dir: Path) -> Iterator[bool]:
    """For each finished image with a source of that name here: whether its content is the same."""
    for level in ("sub-*", "sub-*/ses-*"):
        for datatype in RAW_DATATYPES:
            for path in out_dir.glob(f"{level}/{datatype}/*_desc-harmonized_*.json"):
                sidecar = read_json(path)
                source = bids_dir / str(sidecar.get("Sources", [""])[0]).removeprefix("bids:raw:")
                if "SourceHash" in sidecar and source.is_file():
                    yield content_hash(source) == sidecar["SourceHash"]
