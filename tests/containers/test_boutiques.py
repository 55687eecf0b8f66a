"""The Boutiques descriptor and the README offer what the command line can do: no more, no less."""

from __future__ import annotations

import argparse
import json
import re
import runpy
from pathlib import Path
from typing import Any

import pytest

from bids_ihf.cli.entry_point import EXIT_CODES
from bids_ihf.cli.options import build_parser
from bids_ihf.config import values
from bids_ihf.targets.target import BUILTIN_VENDORS
from bids_ihf.version import __version__

ROOT = Path(__file__).parents[2]
DESCRIPTOR: dict[str, Any] = json.loads((ROOT / "boutiques.json").read_text())
INPUTS: list[dict[str, Any]] = DESCRIPTOR["inputs"]
LEFT_OUT = {
    "help": "is no processing",
    "version": "is no processing",
    "notrack": "does nothing",
    "bids_database_dir": "would have to outlive the task",
    "use_plugin": "the platform schedules, not nipype",
}
"""Options that have no place in a form, and why."""
NUMBERS = (values.positive_integer, values.whole_number)
FILES = (values.existing_file, values.derivatives_folder, Path)


def actions() -> dict[str, argparse.Action]:
    """The parser's options and positionals that the descriptor must offer, by name."""
    return {
        action.dest: action
        for action in build_parser()._actions
        if action.dest not in LEFT_OUT and action.help != argparse.SUPPRESS
    }


def offered(action: argparse.Action) -> list[dict[str, Any]]:
    """The descriptor's inputs that feed an option, by its flag, or a positional, by its place."""
    if action.option_strings:
        return [i for i in INPUTS if i.get("command-line-flag") in action.option_strings]
    key = {"out_dir": "[OUTPUT_DIR]"}.get(action.dest, f"[{action.dest.upper()}]")
    return [i for i in INPUTS if i["value-key"] == key]


def kind(action: argparse.Action) -> str:
    """The Boutiques type of an option."""
    if action.nargs == 0:
        return "Flag"
    if action.type in NUMBERS:
        return "Number"
    return "File" if action.type in FILES else "String"


@pytest.mark.parametrize("name", actions())
def test_every_option_is_offered(name: str) -> None:
    action = actions()[name]
    inputs = offered(action)
    assert inputs, f"boutiques.json lacks {action.option_strings or name}"
    if name in ("bids_dir", "out_dir", "target"):  # folders, and a name or a file
        assert "File" in {entry["type"] for entry in inputs}
    else:
        assert [entry["type"] for entry in inputs] == [kind(action)]


@pytest.mark.parametrize("name", actions())
def test_values(name: str) -> None:
    action = actions()[name]
    for entry in offered(action):
        assert entry.get("list", False) == (action.nargs in ("+", "*"))
        if action.choices is not None:
            assert set(entry["value-choices"]) == set(action.choices)
        if action.type is values.positive_integer:
            assert (entry["integer"], entry["minimum"]) == (True, 1)
        # The parser must take every choice that the form gives.
        convert = action.type
        if callable(convert) and name != "device":
            for choice in entry.get("value-choices", ()):
                assert convert(choice) == choice


@pytest.mark.parametrize("name", ["boutiques.json", "README.md"])
def test_up_to_date(name: str) -> None:
    make_options = runpy.run_path(str(ROOT / "docs" / "make_options.py"))
    assert make_options["updated"](ROOT / name) == (ROOT / name).read_text(), (
        "run: python docs/make_options.py boutiques.json README.md"
    )


def test_table_lists_every_option() -> None:
    table = (ROOT / "README.md").read_text().partition("<!-- options:begin -->")[2]
    listed = set(re.findall(r"`(--?[a-z0-9-]+)", table.partition("<!-- options:end -->")[0]))
    visible = {a for a in build_parser()._actions if a.help != argparse.SUPPRESS}
    assert listed == {flag for a in visible for flag in a.option_strings} - {
        *("-h", "--help", "--version")
    }


def test_nothing_else_is_offered() -> None:
    known = {flag for action in actions().values() for flag in action.option_strings}
    assert {
        entry["command-line-flag"] for entry in INPUTS if "command-line-flag" in entry
    } <= known


def test_choices_the_parser_leaves_open() -> None:
    by_id = {entry["id"]: entry for entry in INPUTS}
    assert tuple(by_id["target"]["value-choices"]) == BUILTIN_VENDORS
    for device in by_id["device"]["value-choices"]:
        assert values._DEVICE_PATTERN.fullmatch(device)


def test_optional_is_what_the_parser_says() -> None:
    required = {entry["id"] for entry in INPUTS if not entry["optional"]}
    assert required == {"bids_dir", "analysis_level"}
    (output,) = [g for g in DESCRIPTOR["groups"] if g["id"] == "output_directory"]
    assert output["one-is-required"]


def test_keys_and_groups_are_whole() -> None:
    keys = [entry["value-key"] for entry in INPUTS]
    assert set(re.findall(r"\[\w+\]", DESCRIPTOR["command-line"])) == set(keys)
    ids = {entry["id"] for entry in INPUTS}
    members = [member for group in DESCRIPTOR["groups"] for member in group["members"]]
    assert ids - set(members) == {"bids_dir", "analysis_level"}
    assert len(members) == len(set(members))


def test_version_and_exit_codes() -> None:
    assert DESCRIPTOR["tool-version"] == __version__
    assert DESCRIPTOR["container-image"]["image"].endswith(f":{__version__}")
    codes = {int(code) for code in re.findall(r"(\d+) [a-z]", build_parser().epilog or "")}
    assert codes == EXIT_CODES.keys()
    assert {entry["code"] for entry in DESCRIPTOR["error-codes"]} == codes - {0}


def test_cbrain_modules_name_what_exists() -> None:
    modules = DESCRIPTOR["custom"]["cbrain:integrator_modules"]
    ids = {entry["id"] for entry in INPUTS}
    outputs = {entry["id"] for entry in DESCRIPTOR["output-files"]}
    maker = modules["BoutiquesBidsSingleSubjectMaker"]
    assert {maker["dataset_input_id"], maker["subjects_input_id"]} <= ids
    for name in ("FileTypeVerifier", "InputValueFixer", "InputCacheCleaner"):
        assert set(modules[f"Boutiques{name}"]) <= ids
    for name in ("OutputFileTypeSetter", "ForcedOutputBrowsePath", "OutputCacheCleaner"):
        assert set(modules[f"Boutiques{name}"]) <= outputs
