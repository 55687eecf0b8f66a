"""The group level: tables and a page from what the participant level wrote."""

from __future__ import annotations

import logging
from pathlib import Path

from bids_ihf.errors import NothingSelected
from bids_ihf.pipeline.run_log import NOTICE_LEVEL

LOGGER = logging.getLogger(__name__)


def run_group(out_dir: Path) -> None:
    """Write ``group_<modality>.tsv`` with dictionaries and ``group.html``.

    Raises
    ------
    NothingSelected
        No participant has been harmonized there yet.
    """
    if next(out_dir.glob("sub-*/**/*_scans.tsv"), None) is None:
        raise NothingSelected(
            f"{out_dir}: no table sub-*/**/*_scans.tsv of a participant run is there; "
            "run the participant level into this folder first."
        )
    from bids_ihf.reports.group_page import group_page
    from bids_ihf.reports.group_tables import group_tables

    group_tables(out_dir)
    group_page(out_dir)
    LOGGER.log(NOTICE_LEVEL, "Group tables and page: %s", out_dir / "group.html")
