"""Make ``command.json``, a command of XNAT's Container Service, from ``boutiques.json``.

``python examples/xnat/make_command.py boutiques.json examples/xnat/command.json`` writes one
command with a wrapper for an imaging session, whose scans a setup command brings into BIDS.
Options that name files are left out, since a form has none; add a mount for those that you need.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

SETUP_COMMAND = "xnat/xnat2bids-setup:1.7:xnat2bids"
"""Brings the BIDS and NIFTI resources of a session's scans into BIDS."""
FIXED_INPUTS = {"bids_dir", "output_dir_name", "participants_dir", "analysis_level", "work_dir"}
"""Inputs that the mounts and the wrapper provide."""
XNAT_TYPES = {"String": "string", "Number": "number", "Flag": "boolean"}


def make_command(descriptor: dict[str, Any]) -> dict[str, Any]:
    """Return the command for a Boutiques descriptor."""
    offered = [
        entry
        for entry in descriptor["inputs"]
        if entry["id"] not in FIXED_INPUTS and entry["type"] in XNAT_TYPES
    ]
    options = " ".join(f"#{entry['id']}#" for entry in offered)
    version = descriptor["tool-version"]
    return {
        "name": descriptor["name"],
        "label": descriptor["name"],
        "description": descriptor["description"],
        "version": version,
        "schema-version": "1.0",
        "type": "docker",
        "image": descriptor["container-image"]["image"],
        "command-line": f"ihf-harmony /bids /out participant --work-dir /work {options}",
        "override-entrypoint": True,
        "mounts": [
            {"name": "bids", "writable": False, "path": "/bids"},
            {"name": "out", "writable": True, "path": "/out"},
            {"name": "work", "writable": True, "path": "/work"},
        ],
        "inputs": [_input(entry) for entry in offered],
        "outputs": [
            {
                "name": "derivatives",
                "description": descriptor["output-files"][0]["description"],
                "required": True,
                "mount": "out",
            }
        ],
        "xnat": [
            {
                "name": "ihf-harmony-session",
                "label": "Harmonize the scans of a session",
                "description": "Harmonizes T1w, T2w, FLAIR and diffusion scans of a session.",
                "contexts": ["xnat:imageSessionData"],
                "external-inputs": [
                    {
                        "name": "session",
                        "description": "Imaging session with scans in BIDS",
                        "type": "Session",
                        "required": True,
                        "load-children": True,
                        "provides-files-for-command-mount": "bids",
                        "via-setup-command": SETUP_COMMAND,
                    }
                ],
                "derived-inputs": [],
                "output-handlers": [
                    {
                        "name": "derivatives-resource",
                        "accepts-command-output": "derivatives",
                        "as-a-child-of": "session",
                        "type": "Resource",
                        "label": "ihf-harmony",
                    }
                ],
            }
        ],
    }


def _input(entry: dict[str, Any]) -> dict[str, Any]:
    """Return an input of the command for one of the descriptor."""
    made: dict[str, Any] = {
        "name": entry["id"],
        "label": entry["name"],
        "description": entry.get("description", entry["name"]),
        "type": XNAT_TYPES[entry["type"]],
        "required": not entry.get("optional", False) or entry["id"] == "target",
        "replacement-key": f"#{entry['id']}#",
    }
    if entry["type"] == "Flag":
        return made | {
            "default-value": False,
            "true-value": entry["command-line-flag"],
            "false-value": "",
        }
    choices = entry.get("value-choices")
    if choices and not entry.get("list"):
        made |= {"type": "select-one", "select-values": [str(choice) for choice in choices]}
    default = entry.get("default-value", "Siemens" if entry["id"] == "target" else None)
    if default is not None and not isinstance(default, list):
        made["default-value"] = default
    if "command-line-flag" in entry:
        made |= {"command-line-flag": entry["command-line-flag"], "command-line-separator": " "}
    return made


if __name__ == "__main__":
    source, destination = map(Path, sys.argv[1:])
    content = make_command(json.loads(source.read_text(encoding="utf-8")))
    destination.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
