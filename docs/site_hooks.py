"""What the site has beyond the Markdown in this folder; ``mkdocs.yml`` names this file.

* A reference page for the public API and one for each room, from the docstrings.
* The pages kept elsewhere in the repository: contributing, security, changelog, weights, and the
  options table of the README.
* Links to files outside this folder, such as ``../boutiques.json``: the files are copied to
  ``files/`` of the site, so that every link works there as it does on a code host.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "bids_ihf"
ROOT_PAGES = {
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "CHANGELOG.md": "changelog.md",
    "README.md": "options.md",
    "bids_ihf/data/README.md": "weights.md",
}
"""File of the repository -> page made of it."""

OPTIONS_BLOCK = re.compile(r"<!-- options:begin -->\n(.*?)<!-- options:end -->", re.DOTALL)
LINK = re.compile(r"(\]\()(\.\./[^)#\s]+|[A-Za-z][^):#\s]*)((?:#[^)\s]*)?\))")
"""A relative Markdown link: opening, path, anchor and closing."""

CODE_SPAN = re.compile(r"`[^`\n]+`")

REFERENCE = "reference"
"""Folder of the reference pages in the site."""


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Add the reference to the navigation, in front of the glossary."""
    pages = [{"bids_ihf": f"{REFERENCE}/index.md"}]
    pages += [{_room(folder): f"{REFERENCE}/{_room(folder)}.md"} for folder in _rooms()]
    titles = [next(iter(entry)) for entry in config.nav]
    config.nav.insert(titles.index("Glossary"), {"API reference": pages})
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are not files of this folder."""
    contents = {f"{REFERENCE}/index.md": _api_page()}
    contents |= {f"{REFERENCE}/{_room(folder)}.md": _room_page(folder) for folder in _rooms()}
    contents |= {page: _root_page(source) for source, page in ROOT_PAGES.items()}
    for path, content in contents.items():
        files.append(File.generated(config, path, content=content))
    for path in sorted(_outside_links(files)):
        files.append(File.generated(config, f"files/{path}", abs_src_path=str(ROOT / path)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Point links to files outside this folder at their copies."""
    if page.file.generated_by:
        return markdown

    def redirect(link: re.Match[str]) -> str:
        start, path, rest = link.groups()
        return f"{start}{_in_site(path) if path.startswith('../') else path}{rest}"

    return LINK.sub(redirect, markdown)


def _rooms() -> list[Path]:
    """The product's rooms in alphabetical order, then the laboratory's."""
    folders = [*sorted(PACKAGE.iterdir()), *sorted((PACKAGE / "lab").iterdir())]
    return [path for path in folders if (path / "__init__.py").is_file() and path.name != "lab"]


def _room(folder: Path) -> str:
    return ".".join(folder.relative_to(PACKAGE).parts)


def _module(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


def _api_page() -> str:
    """The names in ``bids_ihf.__all__``, functions first, then the errors."""
    names = _exported_names(PACKAGE / "__init__.py")
    defined = [getattr(node, "name", "") for node in _parsed(PACKAGE / "api.py").body]
    functions = [name for name in defined if name in names and name.islower()]
    ordered = [*functions, *(name for name in names if name not in functions)]
    lines = ["# bids_ihf", "", "::: bids_ihf", "    options: {members: false}", ""]
    for name in [*ordered, "errors"]:
        lines += [f"::: bids_ihf.{name}", "    options:", "      show_root_heading: true"]
        lines += ["      show_root_toc_entry: true", ""]
    return "\n".join(lines)


def _room_page(folder: Path) -> str:
    """A room: its docstring, then every module."""
    lines = [
        f"# {_room(folder)}",
        "",
        ast.get_docstring(_parsed(folder / "__init__.py")) or "",
        "",
    ]
    for path in sorted(folder.rglob("*.py")):
        if path.name not in ("__init__.py", "__main__.py"):
            lines += [f"## {_module(path)}", "", f"::: {_module(path)}", ""]
            lines += ["    options:", "      heading_level: 3", ""]
    return "\n".join(lines)


def _parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def _exported_names(path: Path) -> list[str]:
    """Names in a module's ``__all__``, without dunders."""
    for node in _parsed(path).body:
        targets = node.targets if isinstance(node, ast.Assign) else []
        if any(isinstance(target, ast.Name) and target.id == "__all__" for target in targets):
            return [name for name in ast.literal_eval(node.value) if not name.startswith("__")]
    return []


def _root_page(source: str) -> str:
    """A page of the root, its links rewritten for the site; of the README the options only."""
    text = (ROOT / source).read_text(encoding="utf-8")
    if source == "README.md":
        block = OPTIONS_BLOCK.search(text)
        if block is None:
            raise PluginError("README.md has no options table between its markers.")
        usage = "`ihf-harmony BIDS_DIR OUT_DIR participant|group [options]`"
        text = f"# Options\n\n{usage}\n\n{block[1]}"

    def redirect(link: re.Match[str]) -> str:
        start, path, rest = link.groups()
        return f"{start}{_in_site(f'../{path}')}{rest}"

    # Code hosts need a backslash before a bar in a table's code; here it would be shown.
    text = CODE_SPAN.sub(lambda code: code[0].replace("\\|", "|"), text)
    return LINK.sub(redirect, text)


def _in_site(path: str) -> str:
    """Where a link such as ``../boutiques.json`` or ``../docs/hpc.md`` leads in the site."""
    inside = str(PurePosixPath(path).relative_to(".."))
    if inside in ROOT_PAGES:
        return ROOT_PAGES[inside]
    if inside.startswith("docs/"):
        return inside.removeprefix("docs/")
    return f"files/{inside}"


def _outside_links(files: Files) -> set[str]:
    """Paths, from the root, of the files that pages link to outside this folder."""
    texts = [
        (ROOT / "docs" / page.src_uri).read_text(encoding="utf-8")
        for page in files.documentation_pages()
        if page.generated_by is None
    ]
    linked = {
        link[2] for text in texts for link in LINK.finditer(text) if link[2].startswith("../")
    }
    linked |= {
        f"../{link[2]}"
        for source in ROOT_PAGES
        if source != "README.md"
        for link in LINK.finditer((ROOT / source).read_text(encoding="utf-8"))
    }
    sites = {_in_site(path) for path in linked}
    return {site.removeprefix("files/") for site in sites if site.startswith("files/")}
