"""Rendering of the jinja2 templates of pages, figures and the boilerplate."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from bids_ihf.version import __version__

TEMPLATES_DIR = Path(__file__).with_name("templates")


@lru_cache(maxsize=1)
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES_DIR),
        autoescape=select_autoescape(disabled_extensions=("md.j2", "css", "js"), default=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["version"] = __version__
    environment.filters |= {
        "count": count_noun,
        "number": format_number,
        "percent": lambda fraction: f"{100 * fraction:.0f} %",
    }
    environment.tests["numeric"] = is_numeric
    return environment


def render(template: str, /, **context: Any) -> str:
    """Fill in a template; all that is inserted into pages and figures is escaped."""
    return _environment().get_template(template).render(context)


def count_noun(count: int, noun: str) -> str:
    """Return a count with its noun, such as ``2 images``."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def format_number(value: float) -> str:
    """Return four significant digits, without an exponent for large numbers."""
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def is_numeric(text: str) -> bool:
    """Whether a text reads as a number."""
    try:
        float(text)
    except ValueError:
        return False
    return True
