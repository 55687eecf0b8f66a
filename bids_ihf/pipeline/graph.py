"""Building the nipype graph of a set of tasks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nipype.pipeline import engine

from bids_ihf import __version__
from bids_ihf.pipeline.interfaces import Harmonize, Prepare
from bids_ihf.pipeline.participants import (
    DIFFUSION_MEMORY,
    HARMONIZE_MEMORY,
    PREPARE_MEMORY,
    node_name,
)
from bids_ihf.pipeline.work_dir import WORKFLOW
from bids_ihf.pipeline.worker import memory_gb

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from bids_ihf.bids.images import SourceImage
    from bids_ihf.config import RunConfig
    from bids_ihf.pipeline.plan import Task
    from bids_ihf.pipeline.worker import Settings


def threads_per_image(config: RunConfig, images: int) -> int:
    """Processors for one image: as asked, else (at most 8) a fair share of all."""
    if config.omp_nthreads is not None:
        return min(config.omp_nthreads, config.n_procs)
    return min(8, max(1, config.n_procs // max(1, images)))


def build_graph(
    tasks: Sequence[Task],
    config: RunConfig,
    settings: Settings,
    *,
    anchored: bool = True,
) -> Any:
    """A workflow with one sub-workflow for each subject; ``anchored`` lets T2w and
    diffusion lean on T1w."""
    threads = threads_per_image(config, len(tasks))
    whole = engine.Workflow(WORKFLOW, base_dir=str(config.work_dir))
    for subject in dict.fromkeys(task.image.subject for task in tasks):
        own = [task for task in tasks if task.image.subject == subject]
        whole.add_nodes([_subject_graph(subject, own, config, settings, threads, anchored)])
    return whole


def _subject_graph(
    subject: str,
    tasks: Sequence[Task],
    config: RunConfig,
    settings: Settings,
    threads: int,
    anchored: bool,
) -> Any:
    graph = engine.Workflow(f"sub-{subject}")
    prepared: dict[Path, Any] = {}
    for task in sorted(tasks, key=lambda task: task.anchor is not None):
        anchor = task.anchor if anchored else None
        if anchor is not None and anchor.path not in prepared:
            prepared[anchor.path] = _prepare(anchor, config, threads)
        node = _prepare(task.image, config, threads)
        if anchor is not None:
            graph.connect(prepared[anchor.path], "prepared", node, "anchor")
        prepared[task.image.path] = node
        graph.connect(node, "prepared", _harmonize(task, config, settings, threads), "prepared")
    for name in graph.list_node_names():
        graph.get_node(name).config = {
            "execution": {
                # nipype reads the folder for crash files from the node that crashed.
                "crashdump_dir": str(config.log_dir(subject)),
                "crashfile_format": "txt",
                # The mean b 0 of a series lies beside what was prepared of it.
                "remove_unnecessary_outputs": "false",
            }
        }
    return graph


def _prepare(image: SourceImage, config: RunConfig, threads: int) -> Any:
    node = engine.Node(
        Prepare(
            image=str(image.path),
            modality=image.suffix,
            preprocessed=config.preprocessed,
            mask_needed=config.brain_mask == "derivatives",
            seed=config.random_seed,
            version=__version__,
            threads=threads,
        ),
        name=node_name("prepare", image.path),
        n_procs=threads,
        mem_gb=memory_gb(image.path, **PREPARE_MEMORY),
    )
    for name in ("mask", "bval", "bvec"):
        path = getattr(image, name)
        if path is not None:
            setattr(node.inputs, name, str(path))
    return node


def _harmonize(task: Task, config: RunConfig, settings: Settings, threads: int) -> Any:
    return engine.Node(
        Harmonize(
            task=task,
            settings=settings,
            threads=threads,
            use_gpu=settings.device != "cpu",
        ),
        name=node_name("harmonize", task.image.path),
        n_procs=threads,
        mem_gb=memory_gb(
            task.image.path,
            **(DIFFUSION_MEMORY if task.image.suffix == "dwi" else HARMONIZE_MEMORY),
        ),
    )
