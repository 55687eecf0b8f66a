"""Bring ``boutiques.json`` and the table of options in README.md up to date.

``python docs/make_options.py boutiques.json README.md`` rewrites what follows from the schema of
the settings; the rest of these files (author, citations, CBRAIN modules, text) stays as it is.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bids_ihf.cli.entry_point import EXIT_CODES
from bids_ihf.cli.options import ALL_OPTIONS
from bids_ihf.config import values
from bids_ihf.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from bids_ihf.config.option import Option

OPTIONS_WITHOUT_INPUT = {"notrack", "bids_database_dir", "use_plugin"}
"""Without meaning on a platform, where no index outlives a task and no plugin schedules."""
FIXED_INPUTS = {"target": ["target_file"], "out_dir": ["output_dir_name", "participants_dir"]}
"""Inputs written by hand, for what is either a name or a file."""
INPUT_TYPES: dict[object, dict[str, Any]] = {
    values.positive_integer: {"type": "Number", "integer": True, "minimum": 1},
    values.whole_number: {"type": "Number", "integer": True},
    values.existing_file: {"type": "File"},
    values.existing_folder: {"type": "File"},
    values.derivatives_folder: {"type": "File"},
    Path: {"type": "File"},
}
"""Boutiques types by the function that reads the value; all others are strings."""
INPUT_DETAILS: dict[str, dict[str, Any]] = {
    "bids_dir": {"name": "BIDS dataset"},
    "analysis_level": {"default-value": "participant"},
    "bids_filter_file": {"name": "BIDS filter file"},
    "skip_bids_validation": {"name": "Skip BIDS validation"},
    "target": {"value-choices": ["Siemens", "GE", "Philips"]},
    "normalization": {"requires-inputs": ["output_spaces"]},
    "n_procs": {"name": "Processors"},
    "omp_nthreads": {"name": "Processors per image"},
    "mem_gb": {"name": "Memory"},
    "device": {"value-choices": ["auto", "cpu", "cuda"]},
}
"""What a form needs beyond the schema."""


def first_long_flag(name: str) -> str:
    """The usual flag of an option; the name of a positional argument."""
    flags = ALL_OPTIONS[name].flags.split()
    return next((flag for flag in flags if flag.startswith("--")), name)


def input_id(name: str) -> str:
    """Name of an option in the descriptor."""
    return first_long_flag(name).removeprefix("--").replace("-", "_")


def sentence(text: str, choices: Sequence[str] = ()) -> str:
    """A text as a sentence; a value that it begins with keeps its case."""
    begins_with_value = re.split(r"\W", text, maxsplit=1)[0] in choices
    return f"{text if begins_with_value else text[0].upper() + text[1:]}."


def option_input(name: str, option: Option) -> dict[str, Any]:
    """The input of the Boutiques descriptor for an option."""
    identity, details = input_id(name), INPUT_DETAILS.get(name, {})
    choices = details.get("value-choices", option.choices or ())
    entry: dict[str, Any] = {
        "id": identity,
        "name": identity.replace("_", " ").capitalize(),
        "description": sentence(option.description, choices),
        "type": "String" if option.action == "store" else "Flag",
        **INPUT_TYPES.get(option.convert, {}),
        "value-key": f"[{identity.upper()}]",
        "optional": bool(option.flags),
    }
    if option.flags:
        entry["command-line-flag"] = first_long_flag(name)
    if option.nargs:
        entry["list"] = True
    if choices:
        entry["value-choices"] = list(choices)
    return entry | details


def updated_descriptor(text: str) -> str:
    """The text of the Boutiques descriptor, brought up to date."""
    content = json.loads(text)
    previous = {entry["id"]: entry for entry in content["inputs"]}
    options = {
        name: option for name, option in ALL_OPTIONS.items() if name not in OPTIONS_WITHOUT_INPUT
    }
    inputs: list[dict[str, Any]] = []
    for name, option in options.items():
        if name != "out_dir":
            inputs.append(option_input(name, option))
        inputs += [previous[identity] for identity in FIXED_INPUTS.get(name, ())]
    keys = " ".join(dict.fromkeys(entry["value-key"] for entry in inputs))
    for group in content["groups"]:
        if not group.get("mutually-exclusive"):
            group["members"] = [
                input_id(name)
                for name, option in options.items()
                if option.group == group["name"].lower() and name not in FIXED_INPUTS
            ]
    content |= {
        "tool-version": __version__,
        "command-line": f"mkdir -p [OUTPUT_DIR]; ihf-harmony {keys}",
        "inputs": inputs,
        "error-codes": [
            {"code": code, "description": sentence(meaning)}
            for code, meaning in EXIT_CODES.items()
            if code
        ],
    }
    content["container-image"]["image"] = f"ihf-harmony:{__version__}"
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def table(header: tuple[str, str], rows: Iterable[tuple[str, str]]) -> str:
    """Two columns in Markdown."""
    lines = [header, ("---", "---"), *rows]
    cells = [[cell.replace("|", "\\|") for cell in line] for line in lines]
    return "".join(f"| {' | '.join(line)} |\n" for line in cells)


def option_row(name: str, option: Option) -> tuple[str, str]:
    """Names of an option with its value, and its meaning."""
    value = "|".join(option.choices or ()) or option.metavar or name.upper()
    value += " ..." if option.nargs == "+" else ""
    *aliases, flag = option.flags.split()
    names = [*aliases, f"{flag} {value}" if option.action == "store" else flag]
    return ", ".join(f"`{name}`" for name in names), option.description


def updated_page(text: str) -> str:
    """The text of a page, its tables between comments brought up to date."""
    options = [option_row(name, option) for name, option in ALL_OPTIONS.items() if option.flags]
    codes = [(str(code), meaning) for code, meaning in EXIT_CODES.items()]
    for block, content in {
        "options": table(("option", "meaning"), options),
        "exit-codes": table(("code", "meaning"), codes),
    }.items():
        begin, end = f"<!-- {block}:begin -->\n", f"<!-- {block}:end -->"
        if begin in text:
            before, after = text.split(begin)
            text = before + begin + content + end + after.split(end)[1]
    return text


def updated(path: Path) -> str:
    """The text of ``boutiques.json`` or of a page, brought up to date."""
    text = path.read_text(encoding="utf-8")
    return updated_descriptor(text) if path.suffix == ".json" else updated_page(text)


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        Path(argument).write_text(updated(Path(argument)), encoding="utf-8")
