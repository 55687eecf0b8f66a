"""The files at the root of an output folder, which many tasks may start at the same time."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path
from typing import Any

from bids_ihf import __version__
from bids_ihf.bids.sidecars import to_json
from bids_ihf.io.atomic import write_once

LOGGER = logging.getLogger(__name__)

PIPELINE_NAME = "ihf-harmony"
BIDS_VERSION = "1.10.0"

# The validator does not know these kinds of file; a folder must be given without a last slash.
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
    "harmonized": "Image with its contrast brought to that of the target; same grid as the source",
    "change": "What was added to the source: the harmonized image less the source image",
    "brain": "Brain mask on the grid of the source image",
    "brainT2w": "Brain mask of a T2w image, where a T1w image of the same name has its own mask",
}

_README_TEXT = """# Images harmonized by ihf-harmony

Every `*_desc-harmonized_*` image here is a scan of the source dataset with its contrast brought to
that of a target scanner, named in `HarmonizationTarget` of its JSON file.  It has the grid of its
source.  Beside it lie

* `*_desc-change_*`: what was added.  The harmonized image less this one is the original image
  (`ihf restore` does it);
* `*_desc-brain_mask`: the brain mask that was used;
* `*_xfm.mat`: the transform from the image to the template.

`Manufacturer` in a JSON file is still the maker of the scanner that acquired the image.  The
measures of each image are in `sub-*/**/*_scans.tsv`, explained in the JSON file beside each table;
`sub-*.html` shows the images before and after, `group.html` all of them.  A JSON file with
`HarmonizationWarning` belongs to an image that was unlike anything known: look before you use it.
A harmonized image without its JSON file is not finished; running the same command again completes
it.
"""


def initialize_output(out_dir: Path, bids_dir: Path) -> None:
    """Write all the root files that are not there yet.

    Raises
    ------
    CannotWrite
        The output folder cannot be written.
    """
    write_dataset_description(out_dir, bids_dir)
    write_once(
        out_dir / ".bidsignore", "".join(f"{line}\n" for line in _BIDSIGNORE_PATTERNS).encode()
    )
    write_once(out_dir / "README.md", _README_TEXT.encode())
    rows = "".join(f"desc-{label}\t{text}\n" for label, text in _DESC_LABELS.items())
    write_once(out_dir / "descriptions.tsv", f"desc_id\tdescription\n{rows}".encode())
    write_once(out_dir / "descriptions.json", to_json(_DESCRIPTIONS_DICTIONARY))


def write_dataset_description(out_dir: Path, bids_dir: Path) -> None:
    """Write ``dataset_description.json``, once; warn where another version wrote it before.

    Raises
    ------
    CannotWrite
        It cannot be written.
    """
    path = out_dir / "dataset_description.json"
    if write_once(path, to_json(dataset_description(out_dir, bids_dir))):
        return
    generated = _read(path).get("GeneratedBy")
    first = generated[0] if isinstance(generated, list) and generated else {}
    before = first.get("Version") if isinstance(first, dict) else None
    if before != __version__:
        LOGGER.warning(
            "%s was begun by version %s, this is %s: results may differ within it.",
            out_dir,
            before or "unknown",
            __version__,
        )


def dataset_description(out_dir: Path, bids_dir: Path) -> dict[str, Any]:
    """Return the content of ``dataset_description.json`` (BIDS derivatives)."""
    source = _read(bids_dir / "dataset_description.json")
    generator: dict[str, Any] = {
        "Name": PIPELINE_NAME,
        "Version": __version__,
        "Description": "Brings the contrast of brain MRI from different scanners to one target.",
    }
    container = _container()
    if container:
        generator["Container"] = container
    content: dict[str, Any] = {
        "Name": f"Harmonized images of: {source.get('Name') or bids_dir.absolute().name}",
        "BIDSVersion": BIDS_VERSION,
        "DatasetType": "derivative",
        "HowToAcknowledge": "Cite ihf-harmony as its CITATION.cff asks, and the source dataset.",
        "GeneratedBy": [generator],
        "DatasetLinks": {"raw": _link(out_dir.absolute(), bids_dir.absolute())},
    }
    if source.get("License"):
        content["License"] = source["License"]
    if source.get("DatasetDOI"):
        content["SourceDatasets"] = [{"DOI": source["DatasetDOI"]}]
    return content


def _container() -> dict[str, str]:
    """Return what the image says of itself in its environment."""
    names = {"Type": "IHF_CONTAINER_TYPE", "Tag": "IHF_CONTAINER_TAG", "URI": "IHF_CONTAINER_URI"}
    return {key: os.environ[name] for key, name in names.items() if os.environ.get(name)}


def _link(out_dir: Path, bids_dir: Path) -> str:
    """Return the URI of the input: relative where the output lies in it, so that both can move."""
    if bids_dir in out_dir.parents:
        return "/".join([".."] * len(out_dir.relative_to(bids_dir).parts))
    return bids_dir.as_uri()


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


_DESCRIPTIONS_DICTIONARY = {
    "Description": "What the desc labels in the names of this dataset's files mean",
    "desc_id": {"LongName": "Label", "Description": "The desc entity with its label"},
    "description": {"LongName": "Description", "Description": "What the files contain"},
}
