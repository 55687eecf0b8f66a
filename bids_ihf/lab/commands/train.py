"""``ihf train CONFIG.toml``: train or fine-tune a network."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from bids_ihf.config.values import device, existing_file

if TYPE_CHECKING:
    import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``ihf train``."""
    parser.add_argument(
        "config", type=existing_file, metavar="CONFIG.toml", help="data, losses and schedule"
    )
    parser.add_argument(
        "--minutes", type=float, metavar="N",
        help="train the network for N minutes at most; the next run goes on from there",
    )  # fmt: skip
    parser.add_argument("--device", type=device, default="auto", help="auto, cpu, cuda or cuda:N")


def run(arguments: argparse.Namespace) -> int:
    """Train, and print the folder of the weights."""
    from bids_ihf.lab.training.training_run import train
    from bids_ihf.pipeline.run_log import start_logging

    # Losses are logged at INFO, and belong on the console of a run of hours.
    start_logging(arguments.verbose + 1)
    sys.stdout.write(f"{train(arguments.config, arguments.device, minutes=arguments.minutes)}\n")
    return 0
