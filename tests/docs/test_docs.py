"""What the pages mention exists: links, anchors, paths, names of the package, commands."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest
import yaml

from bids_ihf.cli.toolbox import COMMAND_MODULES

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), ROOT / "bids_ihf/data/README.md"]
)
LINK = re.compile(r"\]\(([^)\s]+)\)")
EXTERNAL = re.compile(r"[a-z]+:")
DOTTED_NAME = re.compile(r"(?<![\w/.])bids_ihf(?:\.[A-Za-z_]\w*)+")
REPOSITORY_PATH = re.compile(r"(?<![\w/.<-])(?:bids_ihf|docs|tests|examples)/[\w./-]*\w")
FILES_OF_A_FOLDER = re.compile(r"`([\w/]+/)`: ((?:`\w+\.py`(?:, )?)+)")
COMMAND = re.compile(r"(?:^|`)ihf ([a-z][a-z-]+)", re.MULTILINE)
CODE_FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)


def page_id(page: Path) -> str:
    """Path of a page in the repository."""
    return str(page.relative_to(ROOT))


@cache
def anchors(page: Path) -> set[str]:
    """Anchors of a page's headings, as code hosts and the site make them."""
    headings = re.findall(r"^#+ (.+)$", CODE_FENCE.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", text.lower()).strip().replace(" ", "-") for text in headings}


@cache
def defined_names(path: Path) -> dict[str, set[str]]:
    """Top-level names of a module, each with the names defined in its class body, if any."""
    names: dict[str, set[str]] = {}
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            names[node.name] = {
                name for child in node.body for name in _assigned(child) if name != node.name
            }
        elif isinstance(node, ast.ImportFrom):
            names |= {alias.asname or alias.name: set() for alias in node.names}
        else:
            names |= {name: set() for name in _assigned(node) if name not in names}
    return names


def _assigned(node: ast.AST) -> list[str]:
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return [node.name]
    targets = node.targets if isinstance(node, ast.Assign) else []
    targets = [node.target] if isinstance(node, ast.AnnAssign) else targets
    return [target.id for target in targets if isinstance(target, ast.Name)]


def resolves(dotted: str) -> bool:
    """Whether a dotted name is a room, a module, or something defined in one."""
    path, rest = ROOT, dotted.split(".")
    while rest and (path / rest[0]).is_dir():
        path, rest = path / rest[0], rest[1:]
    if rest and (path / f"{rest[0]}.py").is_file():
        module, rest = path / f"{rest[0]}.py", rest[1:]
    else:
        module = path / "__init__.py"
    if not rest:
        return module.is_file()
    names = defined_names(module)
    return rest[0] in names and (len(rest) == 1 or rest[1] in names[rest[0]])


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_links_lead_to_files_and_headings(page: Path) -> None:
    broken = []
    for link in LINK.findall(CODE_FENCE.sub("", page.read_text())):
        if EXTERNAL.match(link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert not broken


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_names_of_the_package_exist(page: Path) -> None:
    names = {name for name in DOTTED_NAME.findall(page.read_text()) if not name.endswith(".py")}
    assert not {name for name in names if not resolves(name)}


def test_a_wrong_name_does_not_resolve() -> None:
    assert resolves("bids_ihf.errors.BadData.exit_code")
    assert not resolves("bids_ihf.errors.NoSuchError")
    assert not resolves("bids_ihf.no_such_room.module")


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_paths_in_the_repository_exist(page: Path) -> None:
    text = page.read_text()
    paths = set(REPOSITORY_PATH.findall(text))
    for folder, files in FILES_OF_A_FOLDER.findall(text):
        paths |= {folder + file for file in re.findall(r"[\w]+\.py", files)}
    starts = (ROOT, page.parent)
    assert not {path for path in paths if not any((s / path).exists() for s in starts)}


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_commands_exist(page: Path) -> None:
    assert not set(COMMAND.findall(page.read_text())) - set(COMMAND_MODULES)


def test_where_to_change_names_what_is_there() -> None:
    rows = re.findall(
        r"^\| ([^|]+) \| (`bids_ihf/[^|]+) \|([^|]*)\|$",
        (ROOT / "docs/architecture.md").read_text(),
        re.MULTILINE,
    )
    assert len(rows) >= 20
    for change, files, names in rows:
        text = "".join((ROOT / path).read_text() for path in re.findall(r"`([^`]+\.py)`", files))
        for name in re.findall(r"`(\w+)`", names):
            assert re.search(rf"\b{name}\b", text), f"{change}: no {name} in {files}"


def test_the_navigation_lists_every_page() -> None:
    navigation = yaml.dump(yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"])
    listed = set(re.findall(r"[\w-]+\.md", navigation))
    assert {page.name for page in (ROOT / "docs").glob("*.md")} <= listed


def test_the_readme_has_the_options() -> None:
    block = (ROOT / "README.md").read_text().split("<!-- options:begin -->")[1]
    table = block.split("<!-- options:end -->")[0]
    assert {"--target", "--participant-label", "--n-procs"} <= set(re.findall(r"--[\w-]+", table))
