"""``ihf-harmony BIDS_DIR OUT_DIR {participant,group}``."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from bids_ihf.cli.entry_point import run_command
from bids_ihf.cli.parse import parse
from bids_ihf.config import RunConfig
from bids_ihf.pipeline.engine import prepare_environment
from bids_ihf.pipeline.process import start_fork_server
from bids_ihf.pipeline.run_log import RunLog, log_to_subjects, start_logging


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the BIDS App and leave with its exit code."""

    def command() -> int:
        config = parse(arguments)
        start(config)
        from bids_ihf.cli.run import run

        return run(config)

    sys.exit(run_command("ihf-harmony", command, continues=True))


def start(config: RunConfig) -> None:
    """Begin logging, and the process that workers come from: both it and the run load large
    libraries for seconds, at the same time."""
    start_logging(config.verbose)
    log_to_subjects(RunLog.of(config), None)
    prepare_environment(config.work_dir)
    participants = config.analysis_level == "participant" and not config.reports_only
    if participants and config.n_procs > 1 and config.use_plugin is None and not config.dry_run:
        start_fork_server()
