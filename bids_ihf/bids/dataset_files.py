"""The files at the root of an output folder, which many jobs may start at the same time."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

from bids_ihf.bids.sidecars import read_json, to_json
from bids_ihf.io.atomic import warn_if_no_locks, write_once
from bids_ihf.version import __version__

LOGGER = logging.getLogger(__name__)

PIPELINE_NAME = "ihf-harmony"
BIDS_VERSION = "1.10.0"

_ROOT_FILES = Path(__file__).with_name("root_files")


def initialize_output(out_dir: Path, bids_dir: Path) -> None:
    """Write all root files that do not exist yet; warn if the file system has no locks.

    Raises
    ------
    CannotWrite
        The output folder cannot be written.
    """
    warn_if_no_locks(out_dir)
    write_dataset_description(out_dir, bids_dir)
    for path in _ROOT_FILES.iterdir():
        name = ".bidsignore" if path.name == "bidsignore" else path.name
        write_once(out_dir / name, path.read_bytes())


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
        "DatasetLinks": {"raw": _link(_normalized(out_dir), _normalized(bids_dir))},
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


def _normalized(path: Path) -> Path:
    """An absolute path without ``..``; links are not resolved."""
    return Path(os.path.abspath(path))


def _link(out_dir: Path, bids_dir: Path) -> str:
    """Return the URI of the input, relative if the output is inside, so that both can be moved."""
    if bids_dir in out_dir.parents:
        return "/".join([".."] * len(out_dir.relative_to(bids_dir).parts))
    return bids_dir.as_uri()
