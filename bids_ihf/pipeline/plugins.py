"""nipype's plugins, made safe: what is killed, a worker or a job, fails only its images."""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
from concurrent.futures import BrokenExecutor, CancelledError, ProcessPoolExecutor
from functools import partial
from traceback import format_exception
from typing import TYPE_CHECKING, Any

from nipype.pipeline.plugins import SLURMPlugin
from nipype.pipeline.plugins.multiproc import MultiProcPlugin, run_node

from bids_ihf.pipeline.run_log import start_worker

if TYPE_CHECKING:
    from concurrent.futures import Future

    from bids_ihf.config import RunConfig

KILLED = (
    "bids_ihf.errors.TemporaryFailure: a worker process was killed, most likely for lack of "
    "memory; run again with a smaller --n-procs or more memory."
)


def start_process(config: RunConfig, folder: str) -> None:
    """Prepare a worker process."""
    os.chdir(folder)
    os.environ["NIPYPE_NO_ET"] = "1"
    start_worker(config)
    threading.Thread(target=_end_with_run, daemon=True).start()


def _end_with_run() -> None:
    """End this worker when its run is gone.

    A killed run cannot tell; its workers would hold their memory for ever, and write on beside the
    run that comes next.
    """
    run = multiprocessing.parent_process()
    if run is not None:
        multiprocessing.connection.wait([run.sentinel])
        # Not exit: that waits for the threads of the libraries, which may be in the middle of it.
        os.kill(os.getpid(), signal.SIGKILL)


class PoolPlugin(MultiProcPlugin):  # type: ignore[misc]
    """MultiProc whose workers are never forked from a process that has run torch or ITK threads.

    A forked copy of a process with running OpenMP threads or a CUDA context hangs; worker
    processes come from a fork server instead.  nipype waits for ever for a worker that was
    killed; here its node fails with a sentence and a new pool goes on with the rest.
    """

    pool: ProcessPoolExecutor
    _taskid: int

    def __init__(self, config: RunConfig, plugin_args: dict[str, Any]) -> None:
        super().__init__(plugin_args=plugin_args)
        self._run_config = config
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["bids_ihf.pipeline.interfaces"])
        self.pool.shutdown()
        self.pool = self._new_pool()

    def _new_pool(self) -> ProcessPoolExecutor:
        return ProcessPoolExecutor(
            max_workers=self.processors,
            mp_context=self._context,
            initializer=start_process,
            initargs=(self._run_config, self._cwd),
        )

    def _submit_job(self, node: Any, updatehash: bool = False) -> int:
        self._taskid = taskid = self._taskid + 1
        try:
            future = self.pool.submit(run_node, node, updatehash, taskid)
        except BrokenExecutor:
            self.pool = self._new_pool()
            future = self.pool.submit(run_node, node, updatehash, taskid)
        self._task_obj[taskid] = future
        future.add_done_callback(partial(self._collect, taskid))
        return taskid

    def _collect(self, taskid: int, future: Future[dict[str, Any]]) -> None:
        error = CancelledError() if future.cancelled() else future.exception()
        if error is None:
            self._taskresult[taskid] = future.result()
            return
        # Whatever it is must be told: for a task without a result nipype waits for ever.
        killed = isinstance(error, (BrokenExecutor, CancelledError))
        lines = [KILLED] if killed else format_exception(error)
        self._taskresult[taskid] = {"result": None, "traceback": lines, "taskid": taskid}

    def stop(self) -> None:
        """Let running nodes finish, start no other."""
        self.pool.shutdown(wait=True, cancel_futures=True)


class SlurmPlugin(SLURMPlugin):  # type: ignore[misc]
    """Slurm, where a job that was killed does not end the run.

    nipype reckons with the lines of a traceback, but has one string for a job that left no
    result, and trips over it.
    """

    def _report_crash(self, node: Any, result: dict[str, Any] | None = None) -> str:
        if result is not None and isinstance(result["traceback"], str):
            result = {**result, "traceback": result["traceback"].splitlines(keepends=True)}
        return str(super()._report_crash(node, result))
