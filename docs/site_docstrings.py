"""Extensions of griffe, which reads the package for the reference pages of the site.

Docstrings: Sphinx roles become plain code, square brackets that are no link, as in a usage line,
are escaped so that they are not taken for a reference, and examples become blocks of code.
Classes of attrs: the fields are shown as the signature.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from griffe import Attribute, Extension, Function, Parameter, ParameterKind, Parameters

if TYPE_CHECKING:
    from griffe import Class, Module, Object

ROLE = re.compile(r":(?:func|class|meth|mod|attr|data):(?=`)")
CODE_SPAN = re.compile(r"(`+.*?`+)", re.DOTALL)
EXAMPLE = re.compile(r"(?:^>>> .*\n?(?:^(?!>>> ).+\n?)*)+", re.MULTILINE)
"""Lines of a doctest with their results, up to an empty line."""
DOCTEST_FLAG = re.compile(r" *# doctest:.*$", re.MULTILINE)
BRACKET = re.compile(r"\[(?![^\]]*\]\()")
ATTRS_DECORATORS = {"attrs.frozen", "attrs.define"}


class PlainMarkdown(Extension):
    """Rewrites every docstring once it has been read."""

    def on_object(self, *, obj: Object, **_: Any) -> None:
        """Rewrite the docstring of a module, class, function or attribute."""
        if obj.docstring is not None:
            parts = CODE_SPAN.split(ROLE.sub("", obj.docstring.value))
            parts[::2] = [BRACKET.sub(r"\\[", text) for text in parts[::2]]
            text = "".join(parts)
            if "Examples\n----" not in text:  # griffe knows those of this section by itself
                text = EXAMPLE.sub(self._code_block, text)
            obj.docstring.value = text

    def on_package(self, *, pkg: Module, **_: Any) -> None:
        """Rewrite the docstring of the package, which is no object of a module."""
        self.on_object(obj=pkg)

    @staticmethod
    def _code_block(example: re.Match[str]) -> str:
        code = DOCTEST_FLAG.sub("", example[0]).replace("\\[", "[").rstrip()
        return f"```pycon\n{code}\n```\n"


class AttrsSignatures(Extension):
    """Gives every attrs class the constructor that attrs would generate."""

    def on_class(self, *, cls: Class, **_: Any) -> None:
        """Add ``__init__`` with a parameter for each field."""
        if not {decorator.callable_path for decorator in cls.decorators} & ATTRS_DECORATORS:
            return
        fields = [
            Parameter(
                name,
                annotation=member.annotation,
                kind=ParameterKind.positional_or_keyword,
                default=None if member.value is None else "...",
            )
            for name, member in cls.members.items()
            if isinstance(member, Attribute)
            and member.annotation
            and not member.is_private
            and "ClassVar" not in str(member.annotation)
        ]
        this = Parameter("self", kind=ParameterKind.positional_or_keyword)
        parameters = Parameters(this, *fields)
        cls.set_member("__init__", Function("__init__", parameters=parameters, parent=cls))
