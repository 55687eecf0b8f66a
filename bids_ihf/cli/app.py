"""``ihf-harmony BIDS_DIR OUT_DIR {participant,group}``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from bids_ihf.cli.parse import parse
from bids_ihf.errors import OUT_OF_MEMORY_MESSAGE, HarmonyError, TemporaryFailure

if TYPE_CHECKING:
    from collections.abc import Sequence

INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the BIDS App and leave with its exit code."""
    config = parse(arguments)
    try:
        from bids_ihf.cli.run import run

        code = run(config)
    except HarmonyError as error:
        sys.stderr.write(f"ihf-harmony: error: {error}\n")
        code = error.exit_code
    except MemoryError:  # outside the steps, while the dataset is read, say
        sys.stderr.write(f"ihf-harmony: error: {OUT_OF_MEMORY_MESSAGE.format('MemoryError')}\n")
        code = TemporaryFailure.exit_code
    except KeyboardInterrupt:
        sys.stderr.write("ihf-harmony: interrupted\n")
        code = INTERRUPTED
    sys.exit(code)
