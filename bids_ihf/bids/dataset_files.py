"""The files at the root of an output folder, which many jobs may start at the same time."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

from bids_ihf import __version__
from bids_ihf.bids.sidecars import read_json, to_json
from bids_ihf.io.atomic import warn_if_no_locks, write_once
from bids_ihf.io.tsv import describe_column, to_tsv

LOGGER = logging.getLogger(__name__)

PIPELINE_NAME = "ihf-harmony"
BIDS_VERSION = "1.10.0"

# Files that the validator does not know; a folder must be given without a slash at its end.
_BIDSIGNORE_PATTERNS = (
    "*.html",
    "sub-*/figures",
    "sub-*/log",
    "*_xfm.*",
    "*_dwi.bval",
    "*_dwi.bvec",
    "group_*",
)

_DESC_LABELS = {
    "harmonized": "Image with the contrast of the target, on the grid of the source image",
    "change": "Change by the harmonization: the harmonized image minus the source image",
    "brain": "Brain mask on the grid of the source image",
    "brainT2w": "Brain mask of a T2w image whose T1w image of the same name has its own mask",
}

_DESCRIPTIONS_DICTIONARY = {
    "Description": "Meaning of the desc labels in the file names of this dataset",
    "desc_id": describe_column("Label", "The desc entity with its label"),
    "description": describe_column("Description", "Content of the files"),
}

_README_TEXT = """# Images harmonized by ihf-harmony

Every `*_desc-harmonized_*` image is a scan of the source dataset on its native grid, with the
contrast of the target scanner that `HarmonizationTarget` in its JSON file names.  Beside it are

* `*_desc-change_*`: the change.  The harmonized image minus the change is the original image
  (`ihf restore` computes it);
* `*_desc-brain_mask`: the brain mask that was used;
* `*_xfm.mat`: the transform from the image to the template.

`Manufacturer` in a JSON file is that of the scanner that acquired the image.  The quality measures
of each image are in `sub-*/**/*_scans.tsv`, with a data dictionary in the JSON file beside each
table; `sub-*.html` shows the images before and after, `group.html` summarizes all of them.  If a
JSON file has a `HarmonizationWarning`, inspect the image before using it.  A harmonized image
without its JSON file is incomplete; running the same command again completes it.
"""


def initialize_output(out_dir: Path, bids_dir: Path) -> None:
    """Write all root files that do not exist yet; warn if the file system has no locks.

    Raises
    ------
    CannotWrite
        The output folder cannot be written.
    """
    warn_if_no_locks(out_dir)
    write_dataset_description(out_dir, bids_dir)
    write_once(
        out_dir / ".bidsignore", "".join(f"{line}\n" for line in _BIDSIGNORE_PATTERNS).encode()
    )
    write_once(out_dir / "README.md", _README_TEXT.encode())
    rows = [
        {"desc_id": f"desc-{label}", "description": text} for label, text in _DESC_LABELS.items()
    ]
    write_once(out_dir / "descriptions.tsv", to_tsv(["desc_id", "description"], rows))
    write_once(out_dir / "descriptions.json", to_json(_DESCRIPTIONS_DICTIONARY))


def write_dataset_description(out_dir: Path, bids_dir: Path) -> None:
    """Write ``dataset_description.json`` once; warn if another version wrote it before.

    Raises
    ------
    CannotWrite
        It cannot be written.
    """
    path = out_dir / "dataset_description.json"
    if write_once(path, to_json(dataset_description(out_dir, bids_dir))):
        return
    generators = read_json(path).get("GeneratedBy")
    first = generators[0] if isinstance(generators, list) and generators else {}
    version = first.get("Version") if isinstance(first, dict) else None
    if version != __version__:
        LOGGER.warning(
            "%s was begun by version %s, this is %s: results may differ within it.",
            out_dir,
            version or "unknown",
            __version__,
        )


def dataset_description(out_dir: Path, bids_dir: Path) -> dict[str, Any]:
    """Return the content of ``dataset_description.json`` (BIDS derivatives)."""
    source = read_json(bids_dir / "dataset_description.json")
    generator: dict[str, Any] = {
        "Name": PIPELINE_NAME,
        "Version": __version__,
        "Description": "Harmonizes the contrast of brain MRI from different scanners.",
    }
    container = _container()
    if container:
        generator["Container"] = container
    content: dict[str, Any] = {
        "Name": f"Harmonized images of: {source.get('Name') or bids_dir.absolute().name}",
        "BIDSVersion": BIDS_VERSION,
        "DatasetType": "derivative",
        "HowToAcknowledge": "Cite ihf-harmony as in its CITATION.cff, and the source dataset.",
        "GeneratedBy": [generator],
        "DatasetLinks": {"raw": _link(out_dir.absolute(), bids_dir.absolute())},
    }
    if source.get("License"):
        content["License"] = source["License"]
    if source.get("DatasetDOI"):
        content["SourceDatasets"] = [{"DOI": source["DatasetDOI"]}]
    return content


def _container() -> dict[str, str]:
    """Return the container's description from the environment variables that its image sets."""
    names = {"Type": "IHF_CONTAINER_TYPE", "Tag": "IHF_CONTAINER_TAG", "URI": "IHF_CONTAINER_URI"}
    return {key: os.environ[name] for key, name in names.items() if os.environ.get(name)}


def _link(out_dir: Path, bids_dir: Path) -> str:
    """Return the URI of the input, relative if the output is inside, so that both can be moved."""
    if bids_dir in out_dir.parents:
        return "/".join([".."] * len(out_dir.relative_to(bids_dir).parts))
    return bids_dir.as_uri()
