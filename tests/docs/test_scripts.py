"""Scripts of the documentation fit the package: all that they import exists."""

from __future__ import annotations

import ast
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPTS = sorted([*(ROOT / "docs").glob("figures/*.py"), *(ROOT / "docs").glob("examples/*.py")])


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_imported_names_exist(script: Path) -> None:
    imports = [
        node
        for node in ast.walk(ast.parse(script.read_text()))
        if isinstance(node, ast.ImportFrom) and node.module
    ]
    project_imports = [node for node in imports if node.module.startswith(("bids_ihf", "tests"))]
    assert project_imports
    for node in project_imports:
        module = import_module(node.module)
        missing = [alias.name for alias in node.names if not hasattr(module, alias.name)]
        assert not missing, f"{node.module} has no {', '.join(missing)}"
