"""What a run left in its output folder, held against an undisturbed run."""

from __future__ import annotations

import gzip
import html
import json
import zlib
from typing import TYPE_CHECKING

from attrs import frozen

if TYPE_CHECKING:
    from pathlib import Path

    from tests.reliability.runs import Done

MARK = "_desc-harmonized_"
FOLDERS = ("anat", "dwi")


@frozen
class Undisturbed:
    """The derivatives of runs in which nothing went wrong: bytes by target and relative path."""

    files: dict[str, dict[str, bytes]]

    @classmethod
    def read(cls, folders: dict[str, Path]) -> Undisturbed:
        """From the output folders of the targets."""
        return cls({target: derivatives(folder) for target, folder in folders.items()})

    def images(self) -> list[str]:
        """Names of the scans, without extension."""
        files = next(iter(self.files.values()))
        return sorted(scan_of(name) for name in files if is_sidecar(name))


def derivatives(out: Path) -> dict[str, bytes]:
    """All files that belong to images, by their path in the output folder."""
    return {
        path.relative_to(out).as_posix(): path.read_bytes()
        for kind in FOLDERS
        for path in sorted(out.glob(f"sub-*/**/{kind}/*"))
        if path.is_file()
    }


def is_sidecar(name: str) -> bool:
    """Whether a file is the mark of a finished image."""
    return MARK in name and name.endswith(".json")


def scan_of(name: str) -> str:
    """The scan that a harmonized image or its sidecar belongs to."""
    return name.rsplit("/", 1)[-1].split(".", maxsplit=1)[0].replace("_desc-harmonized", "")


def target_of(content: bytes) -> str | None:
    """What a sidecar says its image was harmonized to."""
    try:
        return str(json.loads(content)["HarmonizationTarget"])
    except (ValueError, KeyError, TypeError):
        return None


def finished(out: Path, target: str) -> set[str]:
    """Scans whose mark of completion is there."""
    return {
        scan_of(name)
        for name, content in derivatives(out).items()
        if is_sidecar(name) and target_of(content) == target
    }


def flaws(out: Path, undisturbed: Undisturbed) -> list[str]:
    """What is half-written, mixed, or unlike an undisturbed run."""
    present = derivatives(out)
    found = [flaw for name, content in present.items() if (flaw := _half(name, content))]
    for name, content in present.items():
        if not is_sidecar(name):
            continue
        reference = undisturbed.files.get(target_of(content) or "", {})
        if name not in reference:
            found.append(f"{name}: sidecar of no known run")
            continue
        stem, suffix = name.removesuffix(".json").split(MARK)
        for other in _belonging(reference, stem, suffix):
            if other not in present:
                found.append(f"{other}: missing, though {name} says that it is complete")
            elif present[other] != reference[other]:
                found.append(f"{other}: unlike that of an undisturbed run")
    return found


def _belonging(reference: dict[str, bytes], stem: str, suffix: str) -> list[str]:
    """Files of one scan; masks and transforms of the same session bear no suffix at the end."""
    names = [f"{stem}_desc-{kind}_{suffix}" for kind in ("harmonized", "change")]
    names.append(f"{stem}_from-{suffix}_to-")
    label = "brainT2w" if suffix == "T2w" else "brain"
    names.append(f"{stem}_desc-{label}_mask")
    return [name for name in reference if name.startswith(tuple(names))]


def _half(name: str, content: bytes) -> str | None:
    """What shows that a file was not written to its end."""
    if name.rsplit("/", 1)[-1].startswith("."):
        return None  # a temporary file, which nobody takes for a result
    if name.endswith(".gz"):
        try:
            gzip.decompress(content)
        except (OSError, EOFError, zlib.error) as error:
            return f"{name}: half-written ({error})"
    if name.endswith(".json"):
        try:
            json.loads(content)
        except ValueError as error:
            return f"{name}: half-written ({error})"
    return None


def silence(
    done: Done, out: Path, undisturbed: Undisturbed, target: str, *, readable: bool
) -> list[str]:
    """Which failure the exit code, the messages, the log or the report keep to themselves.

    ``readable`` says that the output folder could be written, so that log and report are due.
    """
    missing = set(undisturbed.images()) - finished(out, target)
    found = []
    if "Traceback" in done.err or "Logging error" in done.err:
        found.append("a traceback on the terminal")
    if done.code == 0 and missing:
        found.append(f"exit code 0, but {', '.join(sorted(missing))} missing")
    if done.code not in (0, 1, 16, 65, 73, 75):
        found.append(f"exit code {done.code}, which means nothing")
    if done.code != 0 and not done.errors:
        found.append(f"exit code {done.code} without a sentence")
    started = "ihf-harmony: error: " not in done.err
    if not started or done.code == 0:
        return found
    logs = "\n".join(path.read_text() for path in out.glob("sub-*/log/*/ihf_harmony.log"))
    page = "\n".join(path.read_text() for path in out.glob("sub-*.html"))
    for scan in sorted(missing):
        said = [line for line in done.errors if f"ERROR {scan}: " in line]
        if len(said) != 1:
            found.append(f"{scan}: {len(said)} sentences on the terminal")
            continue
        sentence = said[0].split(f"ERROR {scan}: ")[1].rsplit(" [", 1)[0]
        if readable and sentence not in logs:
            found.append(f"{scan}: its log does not say '{sentence[:60]}'")
        if readable and "not run" not in sentence and html.escape(sentence)[:60] not in page:
            found.append(f"{scan}: its report does not say '{sentence[:60]}'")
    return found


def leftovers(out: Path) -> list[str]:
    """Temporary files that a run left behind."""
    return [path.relative_to(out).as_posix() for path in out.rglob(".*.tmp")]
