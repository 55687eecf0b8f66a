"""Docstrings describe the parameters that a function has: the reference pages are made of them."""

from __future__ import annotations

import ast
import re
from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "bids_ihf"
PARAMETERS = re.compile(
    r"^Parameters\n-+\n(.*?)(?=^\w[^\n]*\n-{3,}$|\Z)", re.MULTILINE | re.DOTALL
)
ENTRY = re.compile(r"^[\w*][\w*, ]*(?=$| :)", re.MULTILINE)


def described_parameters(docstring: str) -> set[str]:
    """Names in the section of parameters of a numpydoc docstring."""
    section = PARAMETERS.search(docstring)
    entries = ENTRY.findall(section[1]) if section else []
    return {name.strip().lstrip("*") for entry in entries for name in entry.split(",")}


def signature_parameters(function: ast.FunctionDef | ast.AsyncFunctionDef) -> set[str]:
    """Names of all parameters of a function."""
    arguments = function.args
    named = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    starred = [argument for argument in (arguments.vararg, arguments.kwarg) if argument]
    return {argument.arg for argument in [*named, *starred]}


def test_described_parameters_exist() -> None:
    wrong, described = {}, 0
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                names = described_parameters(ast.get_docstring(node) or "")
                described += len(names)
                if names - signature_parameters(node):
                    name = f"{path.relative_to(PACKAGE)}:{node.lineno} {node.name}"
                    wrong[name] = sorted(names - signature_parameters(node))
    assert described > 100
    assert not wrong
