"""The files of a participant that BIDS calls raw, listed anew by every run."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from attrs import frozen
from pathspec import GitIgnoreSpec

from bids_ihf.bids.names import IMAGE_SUFFIXES
from bids_ihf.io.paths import NIFTI_EXTENSIONS, file_stem

LOGGER = logging.getLogger(__name__)

RAW_DATATYPES = ("anat", "dwi")
"""Folders of the images that are harmonized."""
_SESSION_PATTERN = re.compile(r"ses-[0-9A-Za-z+]+")


@frozen
class RootLevel:
    """What the root of a dataset says about all participants, read once for many of them.

    Attributes
    ----------
    root
        Root of the dataset, absolute.
    files
        Sidecars and gradient tables in it, by the inheritance principle.
    ignored
        What ``.bidsignore`` lists, if there is one.
    """

    root: Path
    files: tuple[Path, ...]
    ignored: GitIgnoreSpec | None

    @classmethod
    def read(cls, bids_dir: Path) -> RootLevel:
        """Read it; paths are made absolute, but links never resolved."""
        root = bids_dir.absolute()
        files = (path for path in _files(root) if not is_image(path))
        return cls(root, tuple(files), ignored_patterns(root))


def subject_files(root: RootLevel, subject: str) -> list[Path]:
    """List the images of a participant with the sidecars and gradient tables that may apply.

    Only ``sub-<label>/[ses-<label>/]{anat,dwi}`` is searched for images and, by the inheritance
    principle, each folder above it for what describes them; not what else lies in the dataset.
    What ``.bidsignore`` lists is left out, and its images are counted in the log.

    Parameters
    ----------
    root
        The level above the participant.
    subject
        Label without ``sub-``.
    """
    top = root.root / f"sub-{subject}"
    levels = [top, *_session_folders(top)]
    folders = [level / datatype for level in levels for datatype in RAW_DATATYPES]
    files = [*root.files, *(path for folder in folders for path in _files(folder))]
    for path in (path for level in levels for path in _files(level)):
        if not is_image(path):
            files.append(path)
        else:
            LOGGER.warning("%s is left out: BIDS keeps images in anat/ or dwi/.", path)
    return _without_ignored(files, root, subject)


def is_image(path: Path) -> bool:
    """Whether a file is a NIfTI image; warn of an extension in capitals, which BIDS has not."""
    if not path.name.lower().endswith(NIFTI_EXTENSIONS):
        return False
    if not path.name.endswith(NIFTI_EXTENSIONS):
        LOGGER.warning(
            "%s is left out: BIDS writes the extension in lower case; rename the file.", path
        )
        return False
    return True


def inherited(path: Path, candidates: Iterable[Path], extension: str) -> list[Path]:
    """Select the files that apply to an image by the inheritance principle, the nearest last.

    They lie in its folder or above, and have its suffix and no entity that it does not have.
    """
    *pairs, suffix = file_stem(path).split("_")
    applicable = []
    for candidate in candidates:
        if candidate.name.endswith(extension) and candidate.parent in path.parents:
            *entities, candidate_suffix = file_stem(candidate).split("_")
            if candidate_suffix == suffix and set(entities) <= set(pairs):
                applicable.append((len(candidate.parts), len(entities), candidate))
    return [candidate for *_, candidate in sorted(applicable)]


def _session_folders(top: Path) -> list[Path]:
    folders = [top / name for name in _names(top) if name.lower().startswith(("ses-", "ses_"))]
    sessions = [path for path in folders if path.is_dir()]
    for path in sessions:
        if not _SESSION_PATTERN.fullmatch(path.name):
            LOGGER.warning("%s is left out: its name is not a BIDS session label.", path)
    return [path for path in sessions if _SESSION_PATTERN.fullmatch(path.name)]


def _files(folder: Path) -> list[Path]:
    """Files about images that are harmonized: by their suffix, whatever their extension."""
    files = []
    # By name first: the root of a dataset holds thousands of folders.
    names = [name for name in _names(folder) if name.split(".")[0].endswith(IMAGE_SUFFIXES)]
    for path in (folder / name for name in names):
        if file_stem(path).rsplit("_", 1)[-1] in IMAGE_SUFFIXES:
            named_image = path.name.endswith(NIFTI_EXTENSIONS)
            if path.is_dir():
                if named_image:
                    LOGGER.warning("%s is left out: it is a folder.", path)
            elif named_image or path.is_file() or not path.exists():
                files.append(path)
            else:  # reading it might never end
                LOGGER.warning("%s is left out: it is a pipe or a device.", path)
    return files


def _names(folder: Path) -> list[str]:
    """Names in a folder that are not hidden, sorted."""
    try:
        return sorted(name for name in os.listdir(folder) if name[0] != ".")
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        LOGGER.warning("%s cannot be listed (%s) and is left out.", folder, error.strerror)
        return []


def ignored_patterns(root: Path) -> GitIgnoreSpec | None:
    """What the ``.bidsignore`` of a dataset lists; None without one."""
    path = root / ".bidsignore"
    try:
        return GitIgnoreSpec.from_lines(path.read_text(encoding="utf-8-sig").splitlines())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        LOGGER.warning("%s cannot be read (%s): nothing is ignored.", path, error)
        return None


def is_ignored(path: Path, root: Path, patterns: GitIgnoreSpec | None) -> bool:
    """Whether patterns, those of `ignored_patterns`, list a file of a dataset."""
    return patterns is not None and patterns.match_file(path.relative_to(root).as_posix())


def _without_ignored(files: Sequence[Path], root: RootLevel, subject: str) -> list[Path]:
    if root.ignored is None:
        return sorted(files)
    ignored = {path for path in files if is_ignored(path, root.root, root.ignored)}
    images = [path.name for path in sorted(ignored) if path.name.endswith(NIFTI_EXTENSIONS)]
    if images:
        LOGGER.warning(
            "sub-%s: %d of its images left out by .bidsignore: %s.",
            subject,
            len(images),
            ", ".join(images),
        )
    return sorted(set(files) - ignored)
