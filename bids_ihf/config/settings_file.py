"""Settings as TOML: written by each run, read by ``--config-file``."""

from __future__ import annotations

import platform
import tomllib
from argparse import ArgumentTypeError
from pathlib import Path
from typing import Any

import attrs

from bids_ihf.config.option import Option, unique_items
from bids_ihf.config.settings import SETTING_OPTIONS, RunConfig
from bids_ihf.config.values import memory_gb
from bids_ihf.errors import UsageError
from bids_ihf.version import __version__

FILE_OPTIONS = {
    name: option
    for name, option in SETTING_OPTIONS.items()
    if option.flags and option.action != "count"
}
"""Options that a settings file may give."""


def to_toml(config: RunConfig, **inputs: str) -> str:
    """The settings as TOML, with what they were applied to (``inputs``: hashes and names)."""
    import tomli_w

    def plain(_instance: object, _attribute: object, value: Any) -> Any:
        if isinstance(value, Path):
            return str(value)
        return [str(item) for item in value] if isinstance(value, tuple) else value

    settings = attrs.asdict(config, value_serializer=plain)
    options = {name: value for name, value in settings.items() if value is not None}
    software = {
        "version": __version__,
        "python": platform.python_version(),
        "host": platform.node(),
    }
    return tomli_w.dumps({"options": options, "software": software, "inputs": inputs})


def from_toml(path: Path) -> dict[str, Any]:
    """Settings for a new run, from a file that an earlier run or a user wrote.

    Positional arguments and ``verbose`` are left out, since each run has them anew.

    Raises
    ------
    UsageError
        The file cannot be read, or holds an unknown setting or a value that does not fit.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(
            f"{path}: not a readable TOML file ({error}); check --config-file."
        ) from error
    entries = content.get("options", content)
    if not isinstance(entries, dict):
        raise UsageError(f"{path}: 'options' is not a table; correct the file.")
    entries = {key.replace("-", "_"): value for key, value in entries.items()}
    unknown = sorted(entries.keys() - {setting.name for setting in attrs.fields(RunConfig)})
    if unknown:
        raise UsageError(f"{path}: unknown setting {', '.join(unknown)}; take it out of the file.")
    settings = {}
    for name, value in entries.items():
        if name not in FILE_OPTIONS:
            continue
        try:
            settings[name] = _converted(FILE_OPTIONS[name], value)
        except ArgumentTypeError as error:
            raise UsageError(f"{path}: {error} (setting {name}); correct the file.") from error
    return settings


def _converted(option: Option, value: Any) -> Any:
    """A value of the file, checked and converted as if typed on the command line."""
    if option.action == "store_true":
        if not isinstance(value, bool):
            raise ArgumentTypeError(f"{value!r} is neither true nor false")
        return value
    if option.nargs:
        items = value if isinstance(value, list) else [value]
        return unique_items(_converted_item(option, item) for item in items)
    return _converted_item(option, value)


def _converted_item(option: Option, value: Any) -> Any:
    if isinstance(value, (list, dict, bool)):
        type_name = {list: "a list", dict: "a table", bool: "a truth value"}[type(value)]
        raise ArgumentTypeError(f"{type_name} is given instead of a single value")
    if option.convert is memory_gb and not isinstance(value, str):
        value = f"{value}G"  # `to_toml` writes the number of GB
    converted = option.convert(str(value))
    if option.choices is not None and converted not in option.choices:
        raise ArgumentTypeError(f"{value!r} is none of {', '.join(option.choices)}")
    return converted
