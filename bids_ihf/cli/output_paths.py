"""Where a command must not write: into its input, or over a file that exists."""

from __future__ import annotations

from pathlib import Path

from bids_ihf.errors import CannotWrite, UsageError

NO_RAW_FOLDERS = frozenset({"derivatives", "sourcedata", "code"})
"""Folders of a dataset in which BIDS allows what is not raw data."""


def require_other_folder(out_dir: Path, bids_dir: Path) -> None:
    """Raise UsageError where an output folder is the dataset."""
    if out_dir.resolve() == bids_dir.resolve():
        raise UsageError(f"{out_dir}: OUT_DIR is BIDS_DIR; name another folder for results")


def require_no_raw_folder(out_dir: Path, bids_dir: Path) -> None:
    """Raise UsageError where an output folder is the dataset or lies among its raw data."""
    require_other_folder(out_dir, bids_dir)
    out, bids = out_dir.resolve(), bids_dir.resolve()
    if out.is_relative_to(bids) and out.relative_to(bids).parts[0] not in NO_RAW_FOLDERS:
        raise UsageError(
            f"{out_dir}: OUT_DIR lies among the raw data of BIDS_DIR; name a folder outside of it "
            f"or in {bids_dir / 'derivatives'}"
        )


def require_new_file(path: Path, *, overwrite: bool) -> None:
    """Raise CannotWrite where a file exists that is not to be replaced."""
    if path.exists() and not overwrite:
        raise CannotWrite(f"{path}: exists already; name another file, or use --overwrite.")
