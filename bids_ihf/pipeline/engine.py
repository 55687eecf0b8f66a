"""Starting nipype: its settings, its plugin, and what it says when it ends."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bids_ihf.config import RunConfig
from bids_ihf.errors import UsageError
from bids_ihf.pipeline.run_log import quiet_nipype
from bids_ihf.pipeline.termination import Terminated

LOGGER = logging.getLogger(__name__)

MIN_FREE_TEMPORARY_BYTES = 16 * 2**20
"""What the registration of one image writes as temporary files, and some more."""


def prepare_environment(work_dir: Path) -> None:
    """Keep nipype from asking a server for newer versions, and from needing a home and a user.

    nipype, and the jobs it starts, read these when they are imported.
    """
    os.environ.update(NO_ET="1", NIPYPE_NO_ET="1")
    os.environ.setdefault("NIPYPE_CONFIG_DIR", str(work_dir / "nipype"))
    # nipype's plugin for Slurm names jobs by it; containers and cron do not set it.
    os.environ.setdefault("LOGNAME", "ihf-harmony")
    _use_work_dir_for_temporary_files(work_dir)


def _use_work_dir_for_temporary_files(work_dir: Path) -> None:
    """Where /tmp is missing, full or not writable, libraries keep temporary files with ours."""
    try:
        with tempfile.TemporaryFile() as file:
            file.write(bytes(MIN_FREE_TEMPORARY_BYTES))
    except OSError:
        folder = work_dir.absolute() / "tmp"
        folder.mkdir(parents=True, exist_ok=True)
        os.environ["TMPDIR"] = tempfile.tempdir = str(folder)
        LOGGER.warning("The folder for temporary files cannot be used; using %s.", folder)


def read_plugin(path: Path) -> tuple[str, dict[str, Any]]:
    """Name and arguments of a nipype plugin from a YAML file.

    Raises
    ------
    UsageError
        The file is no YAML mapping with a ``plugin``.
    """
    import yaml  # type: ignore[import-untyped]

    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UsageError(f"{path}: not a readable YAML file; check --use-plugin.") from error
    if not isinstance(content, dict) or not isinstance(content.get("plugin"), str):
        raise UsageError(
            f"{path}: names no nipype plugin; write 'plugin: MultiProc', for example."
        )
    return content["plugin"], dict(content.get("plugin_args") or {})


def execute(
    workflow: Any,
    config: RunConfig,
    gpu_slots: int,
    callback: Callable[[Any, str], None],
) -> str | None:
    """Run a workflow; None, or why it did not run to its end.

    ``gpu_slots`` is the number of processors that nodes on the GPU may take together.  A failed
    node has its crash file by then, and the others have run; so this does not raise.
    """
    quiet_nipype(config.verbose)
    workflow.config["execution"] = {
        "create_report": "false",
        "crashfile_format": "txt",
        # A batch system is asked about every job at every poll, which its controller feels.
        "poll_sleep_duration": "0.2" if config.use_plugin is None else "2",
        "stop_on_first_crash": str(config.stop_on_first_crash).lower(),
        "check_version": "false",
    }
    runner = _runner(config, gpu_slots, callback)
    folder = os.getcwd()
    try:
        workflow.run(**runner)
    except (KeyboardInterrupt, Terminated):
        LOGGER.warning("The run was stopped; the same command, run again, does what is left.")
        if hasattr(runner["plugin"], "kill"):
            runner["plugin"].kill()
        raise
    except Exception as error:
        LOGGER.debug("nipype ended with", exc_info=True)
        return str(error).strip().splitlines()[-1] if str(error).strip() else type(error).__name__
    finally:
        os.chdir(folder)
        if hasattr(runner["plugin"], "stop"):
            runner["plugin"].stop()
    return None


def _runner(
    config: RunConfig, gpu_slots: int, callback: Callable[[Any, str], None]
) -> dict[str, Any]:
    """Arguments for ``Workflow.run``: the user's plugin, a process pool, or one by one."""
    if config.use_plugin is not None:
        name, plugin_args = read_plugin(config.use_plugin)
        # A scan that is said to need more than there is may still fit, alone.
        plugin_args = {"raise_insufficient": False, **plugin_args, "status_callback": callback}
        if name == "SLURM":
            from bids_ihf.pipeline.plugins import SlurmPlugin

            return {"plugin": SlurmPlugin(plugin_args=plugin_args)}
        return {"plugin": name, "plugin_args": plugin_args}
    if config.n_procs == 1:
        return {"plugin": "Linear", "plugin_args": {"status_callback": callback}}
    from bids_ihf.pipeline.plugins import PoolPlugin

    arguments: dict[str, Any] = {
        "status_callback": callback,
        "n_procs": config.n_procs,
        "n_gpu_procs": gpu_slots,
        # A scan that is said to need more than there is may still fit, alone.
        "raise_insufficient": False,
    }
    if config.mem_gb is not None:
        arguments["memory_gb"] = config.mem_gb
    return {"plugin": PoolPlugin(config, arguments)}
