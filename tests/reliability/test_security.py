"""No code from data, no shell, no way out of the output folder, no known holes."""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import bids_ihf
from bids_ihf.io.paths import packaged_file
from bids_ihf.io.tensors import read_safetensors, to_safetensors
from bids_ihf.targets.target_file import TARGET_FORMAT
from tests.reliability import phantom, runs

PACKAGE = Path(bids_ihf.__file__).parent
ROOT = Path(__file__).parents[2]
FORBIDDEN_MODULES = {
    *("pickle", "cPickle", "dill", "joblib", "cloudpickle", "shelve", "marshal"),
    *("tarfile", "zipfile", "socket", "urllib", "requests", "http"),
}
HARMLESS = {"urllib.parse"}
"""Takes addresses apart, and asks for none."""
FORBIDDEN_CALLS = {
    *("eval", "exec", "compile", "__import__", "os.system", "os.popen"),
    *("torch.load", "yaml.load", "yaml.unsafe_load", "shutil.unpack_archive"),
}
EVIL = '"><script>alert(1)</script>../../escaped'


def _name(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return f"{_name(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def _suspicious(path: Path) -> list[str]:
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        place = f"{path.name}:{getattr(node, 'lineno', 0)}"
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            # The error of a reader of pickles reads none itself.
            only_error = {alias.name for alias in node.names} == {"UnpicklingError"}
            names = [] if only_error else [node.module or ""]
        else:
            names = []
        asked = set(names) - HARMLESS
        found += [f"{place} {n}" for n in asked if n.split(".")[0] in FORBIDDEN_MODULES]
        if isinstance(node, ast.Call):
            safe = _name(node.func) == "torch.load" and any(
                word.arg == "weights_only" and getattr(word.value, "value", None) is True
                for word in node.keywords
            )
            if _name(node.func) in FORBIDDEN_CALLS and not safe:
                found.append(f"{place} {_name(node.func)}")
            for word in node.keywords:
                true = isinstance(word.value, ast.Constant) and word.value.value is True
                if word.arg in ("shell", "allow_pickle") and true:
                    found.append(f"{place} {word.arg}=True")
    return found


def test_source_has_neither_pickles_nor_shells_nor_network() -> None:
    sources = sorted(PACKAGE.rglob("*.py"))
    assert len(sources) > 100
    assert [line for path in sources for line in _suspicious(path)] == []


def test_the_reader_of_sources_sees_what_it_looks_for(tmp_path: Path) -> None:
    path = tmp_path / "bad.py"
    path.write_text(
        "import pickle\nimport subprocess\nsubprocess.run('ls', shell=True)\nos.system('ls')\n"
        "np.load(x, allow_pickle=True)\nfrom urllib.request import urlopen\n"
        "torch.load(x)\ntorch.load(x, weights_only=False)\ntorch.load(x, weights_only=True)\n"
        "from pickle import UnpicklingError, loads\nfrom pickle import UnpicklingError\n"
    )
    assert len(_suspicious(path)) == 8


def test_names_from_data_neither_run_nor_escape(tmp_path: Path) -> None:
    """A target and a sidecar that try: pages escape them, and nothing is written elsewhere."""
    bids = phantom.write_dataset(tmp_path / "in/bids")
    sidecar = phantom.scan_path(bids, "01", None).with_name("sub-01_T1w.json")
    fields = ("Manufacturer", "ProtocolName", "SeriesDescription", "IntendedFor")
    sidecar.write_text(json.dumps(dict.fromkeys(fields, EVIL)))
    tensors, header = read_safetensors(packaged_file("target-ge.safetensors"), TARGET_FORMAT)
    target = tmp_path / "in/target.safetensors"
    target.write_bytes(to_safetensors(tensors, {**header, "name": EVIL}))
    before = _files(tmp_path)
    out, work = tmp_path / "in/out", tmp_path / "in/work"
    words = runs.participant(bids, out, work, "--target", target)
    done = runs.run(words, tmp_path / "said")
    assert done.code == 0, done.err
    group = runs.run([bids, out, "group", "--work-dir", work], tmp_path / "said")
    assert group.code == 0, group.err
    pages = [*out.rglob("*.html"), *out.rglob("*.svg")]
    assert len(pages) >= 3
    for page in pages:
        assert "<script>alert(1)" not in page.read_text(), page
    new = _files(tmp_path) - before
    places = tuple(f"{name}/" for name in ("in/out", "in/work", "said"))
    assert [name for name in new if not name.startswith(places)] == []


def _files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_pinned_dependencies_have_no_known_holes() -> None:
    """Asks pip-audit's service, where there is one to ask."""
    program = Path(sys.executable).with_name("pip-audit")
    found = str(program) if program.is_file() else shutil.which("pip-audit")
    if found is None:
        pytest.skip("pip-audit is not installed")
    words = ["--requirement", str(ROOT / "constraints.txt"), "--no-deps", "--disable-pip"]
    done = subprocess.run(
        [found, *words, "--format", "json", "--progress-spinner", "off", "--timeout", "10"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "NO_COLOR": "1"},
        timeout=300,
    )
    try:
        packages = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        pytest.skip(f"pip-audit's service cannot be reached: {done.stderr.strip()[-200:]}")
    asked = [package for package in packages if "vulns" in package]
    if not asked:
        pytest.skip("the package index here does not say what holes are known")
    holes = {package["name"]: package["vulns"] for package in asked if package["vulns"]}
    assert holes == {}
