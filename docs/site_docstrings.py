"""Docstrings as Markdown for the reference pages of the site: an extension of griffe.

Sphinx roles become plain code, and square brackets that are no link, as in a usage line, are
escaped so that they are not taken for a reference.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from griffe import Extension

if TYPE_CHECKING:
    from griffe import Object

ROLE = re.compile(r":(?:func|class|meth|mod|attr|data):(?=`)")
CODE_SPAN = re.compile(r"(`+.*?`+)", re.DOTALL)
BRACKET = re.compile(r"\[(?![^\]]*\]\()")


class PlainMarkdown(Extension):
    """Rewrites every docstring once it has been read."""

    def on_object(self, *, obj: Object, **_: Any) -> None:
        """Rewrite the docstring of a module, class, function or attribute."""
        if obj.docstring is not None:
            parts = CODE_SPAN.split(ROLE.sub("", obj.docstring.value))
            parts[::2] = [BRACKET.sub(r"\\[", text) for text in parts[::2]]
            obj.docstring.value = "".join(parts)
