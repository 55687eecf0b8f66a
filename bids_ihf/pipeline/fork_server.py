"""The process that worker processes are forked from, with all libraries loaded once."""

from __future__ import annotations

import multiprocessing
import multiprocessing.forkserver
import os
import signal

from bids_ihf.preprocessing.itk import configure_itk

PRELOADED_MODULE = "bids_ihf.pipeline.preloaded"


def start_fork_server() -> None:
    """Start it, if it does not run yet; it loads the libraries meanwhile.

    A forked copy of a process with running OpenMP threads or a CUDA context hangs, and the run has
    them; so workers are forked from a process of their own, which computes nothing.
    """
    os.environ["OMP_NUM_THREADS"] = "1"  # read as libraries are loaded
    configure_itk()
    multiprocessing.get_context("forkserver").set_forkserver_preload([PRELOADED_MODULE])
    # Ctrl-C reaches it and the workers too, but ending them is for the run.
    on_interrupt = signal.signal(signal.SIGINT, signal.SIG_IGN)
    multiprocessing.forkserver.ensure_running()
    signal.signal(signal.SIGINT, on_interrupt)
