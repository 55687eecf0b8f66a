"""How one setting is given."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Literal

from attrs import field, frozen

OptionGroup = Literal["dataset", "input selection", "processing", "resources", "execution"]


@frozen
class Option:
    """A setting as the command line, a settings file and a form take it."""

    group: OptionGroup
    """Heading under which it is listed."""
    flags: str
    """Names on the command line, separated by spaces; empty for a positional argument."""
    help: str
    """What it means; the default too, if that is no constant."""
    convert: Callable[[str], Any] = str
    """Reads one value from text, or raises `argparse.ArgumentTypeError`."""
    default: Any = None
    """A tuple if it takes several values."""
    choices: tuple[str, ...] | None = None
    metavar: str | None = None
    action: Literal["store", "store_true", "count"] = "store"
    nargs: Literal["+", "*"] | None = field()

    @nargs.default
    def _default_nargs(self) -> Literal["+"] | None:
        return "+" if isinstance(self.default, tuple) else None

    @property
    def description(self) -> str:
        """The help text with the default."""
        if not self.default or not self.flags or "(default" in self.help:
            return self.help
        values = self.default if isinstance(self.default, tuple) else [self.default]
        return f"{self.help} (default: {' '.join(map(str, values))})"


def unique_items(converted: Iterable[Any]) -> tuple[Any, ...]:
    """Converted values in order, once each, where one text may give several (a file of labels)."""
    items: list[Any] = []
    for value in converted:
        items.extend(value if isinstance(value, tuple) else (value,))
    return tuple(dict.fromkeys(items))
