"""Folders that a command must not write into."""

from __future__ import annotations

from pathlib import Path

from bids_ihf.errors import UsageError

NO_RAW_FOLDERS = frozenset({"derivatives", "sourcedata", "code"})
"""Folders of a dataset in which BIDS allows what is not raw data."""


def require_no_raw_folder(out_dir: Path, bids_dir: Path) -> None:
    """Refuse an output folder among the raw data of a dataset.

    Raises
    ------
    UsageError
        It is one, or the dataset itself.
    """
    out, bids = out_dir.resolve(), bids_dir.resolve()
    if out == bids:
        raise UsageError(f"{out_dir}: OUT_DIR is BIDS_DIR; name another folder for results")
    if out.is_relative_to(bids) and out.relative_to(bids).parts[0] not in NO_RAW_FOLDERS:
        raise UsageError(
            f"{out_dir}: OUT_DIR lies among the raw data of BIDS_DIR; name a folder outside of it "
            f"or in {bids_dir / 'derivatives'}"
        )
