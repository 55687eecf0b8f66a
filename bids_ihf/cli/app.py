"""``ihf-harmony BIDS_DIR OUT_DIR {participant,group}``."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from bids_ihf.cli.entry_point import run_command
from bids_ihf.cli.parse import parse


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the BIDS App and leave with its exit code."""

    def command() -> int:
        config = parse(arguments)
        from bids_ihf.cli.run import run

        return run(config)

    sys.exit(run_command("ihf-harmony", command, continues=True))
