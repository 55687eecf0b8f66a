"""nipype's plugins, made safe: a worker or a job that is killed fails only its image."""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
import time
from concurrent.futures import BrokenExecutor, CancelledError, Future, ProcessPoolExecutor
from functools import partial
from traceback import format_exception
from typing import Any

from nipype.pipeline.plugins import SLURMPlugin
from nipype.pipeline.plugins.multiproc import MultiProcPlugin, run_node

from bids_ihf.config import RunConfig
from bids_ihf.errors import TemporaryFailure
from bids_ihf.pipeline.process import start_fork_server
from bids_ihf.pipeline.run_log import RunLog, join_run
from bids_ihf.pipeline.termination import MAX_UNWINDING_SECONDS, raise_terminated

WORKER_KILLED = (
    "A worker process was killed, most likely for want of memory; run again with a smaller "
    "--n-procs or more memory."
)
SIGNAL_DELAY_SECONDS = 2.0
"""Time for which a killed worker may be one of a run that is ending, on a busy machine."""

JOB_KILLED = (
    "The job of this step ended without a result, most likely for want of memory or time; "
    "ask for more in the plugin's sbatch_args and run again."
)


def start_worker(run_log: RunLog, folder: str) -> None:
    """Prepare a worker process."""
    os.chdir(folder)
    join_run(run_log)
    threading.Thread(target=_end_with_run, daemon=True).start()
    # Last: a worker that is ended before has nothing to clean up, and an exception is printed.
    signal.signal(signal.SIGTERM, raise_terminated)


def _end_with_run() -> None:
    """End this worker when its run is gone.

    A killed run cannot tell its workers; they would hold their memory for ever, and write beside
    the next run.
    """
    run = multiprocessing.parent_process()
    if run is not None:
        multiprocessing.connection.wait([run.sentinel])
        # Not exit: that waits for the threads of libraries, which may be at work.
        os.kill(os.getpid(), signal.SIGKILL)


def keep_failure(node: Any, error: BaseException) -> None:
    """Keep the failure of a node that could not keep it itself."""
    context = getattr(node.inputs, "context", None)
    if context is not None:
        context.keep_failure(error)


class PoolPlugin(MultiProcPlugin):  # type: ignore[misc]
    """MultiProc whose workers are never forked from a process that has run torch or ITK threads.

    A forked copy of a process with running OpenMP threads or a CUDA context hangs; worker
    processes come from a fork server instead.  nipype waits for ever for a worker that was
    killed; here its node fails with a sentence and a new pool goes on with the rest.
    """

    pool: ProcessPoolExecutor
    _taskid: int

    def __init__(self, config: RunConfig, plugin_args: dict[str, Any]) -> None:
        self._ended = threading.Event()
        super().__init__(plugin_args=plugin_args)
        self._run_log = RunLog.of(config)
        start_fork_server()
        self._context = multiprocessing.get_context("forkserver")
        self.pool.shutdown()
        self.pool = self._new_pool()

    def _new_pool(self) -> ProcessPoolExecutor:
        return ProcessPoolExecutor(
            max_workers=self.processors,
            mp_context=self._context,
            initializer=start_worker,
            initargs=(self._run_log, self._cwd),
        )

    def _submit_job(self, node: Any, updatehash: bool = False) -> int:
        self._taskid = taskid = self._taskid + 1
        try:
            future = self.pool.submit(run_node, node, updatehash, taskid)
        except BrokenExecutor:
            self.pool = self._new_pool()
            future = self.pool.submit(run_node, node, updatehash, taskid)
        self._task_obj[taskid] = future
        future.add_done_callback(partial(self._collect, taskid, node))
        return taskid

    def _collect(self, taskid: int, node: Any, future: Future[dict[str, Any]]) -> None:
        if self._ended.is_set():
            return
        error = CancelledError() if future.cancelled() else future.exception()
        if error is None:
            self._taskresult[taskid] = future.result()
            return
        if isinstance(error, (BrokenExecutor, CancelledError)):
            # A signal that ends the run reaches its workers, too, and maybe earlier.
            if self._ended.wait(SIGNAL_DELAY_SECONDS):
                return
            error = TemporaryFailure(WORKER_KILLED)
        try:
            keep_failure(node, error)
        finally:
            # nipype waits for ever for a task without a result.
            lines = format_exception(error)
            self._taskresult[taskid] = {"result": None, "traceback": lines, "taskid": taskid}

    def _report_crash(self, node: Any, result: dict[str, Any] | None = None) -> str:
        try:
            return str(super()._report_crash(node, result))
        except OSError:  # nipype's own file; the failure is kept elsewhere
            return "not written"

    def kill(self) -> None:
        """End the workers soon, whatever they do: their outputs are complete or absent."""
        self._ended.set()
        # Not public before Python 3.14, where it is ProcessPoolExecutor.kill_workers.
        processes = list((self.pool._processes or {}).values())
        for process in processes:
            process.terminate()
        end = time.monotonic() + MAX_UNWINDING_SECONDS
        for process in processes:
            process.join(max(0.0, end - time.monotonic()))
            process.kill()

    def stop(self) -> None:
        """Let running nodes finish, start no other."""
        self.pool.shutdown(wait=True, cancel_futures=True)


class SlurmPlugin(SLURMPlugin):  # type: ignore[misc]
    """Slurm, where a job that was killed fails only its image.

    nipype expects the lines of a traceback, but has one string for a job that left no result, and
    fails on it.
    """

    def _report_crash(self, node: Any, result: dict[str, Any] | None = None) -> str:
        if result is not None and isinstance(result["traceback"], str):
            keep_failure(node, TemporaryFailure(JOB_KILLED))
            result = {**result, "traceback": result["traceback"].splitlines(keepends=True)}
        return str(super()._report_crash(node, result))
