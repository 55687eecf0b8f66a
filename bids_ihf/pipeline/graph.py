"""The nipype graph of a set of jobs: for each image prepare, then harmonize.

Any other image is prepared after the T1w image of its session.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from attrs import frozen
from nipype.interfaces.utility import Merge
from nipype.pipeline import engine

from bids_ihf.bids.images import SourceImage
from bids_ihf.config import RunConfig
from bids_ihf.errors import BadData
from bids_ihf.io.failures import Step
from bids_ihf.io.nifti import open_image
from bids_ihf.io.paths import file_stem
from bids_ihf.pipeline.interfaces import Harmonize, Prepare, StepContext
from bids_ihf.pipeline.job import Job, ResolvedTarget, SharedScan
from bids_ihf.pipeline.process import MAX_THREADS_PER_IMAGE
from bids_ihf.pipeline.run_log import RunLog
from bids_ihf.pipeline.work_dir import WORKFLOW_NAME, workflow_name
from bids_ihf.version import __version__

MAX_NODE_STEM = 80
"""Characters of a file name in the name of a node, whose folder's name the system limits."""


@frozen
class MemoryEstimate:
    """Memory of a step: ``base_gb`` and ``bytes_per_voxel`` of one volume."""

    base_gb: float
    bytes_per_voxel: float

    def of(self, image: Path) -> float:
        """Memory (GB) for an image, from the size that its header tells."""
        try:
            shape = open_image(image).shape
        except BadData:  # the step itself says what is wrong with the file
            return self.base_gb
        voxels = float(np.prod(shape[:3], dtype=np.float64))
        return self.base_gb + voxels * self.bytes_per_voxel / 1024**3


PREPARE_MEMORY = MemoryEstimate(base_gb=0.8, bytes_per_voxel=60)
HARMONIZE_MEMORY = MemoryEstimate(base_gb=1.0, bytes_per_voxel=60)
"""Of an anatomical image; 1.6 GiB for 9.95 million voxels, of which 1.5 to 1.8 were measured
(docs/results/speed.json)."""
SHARED_SCAN_MEMORY = MemoryEstimate(base_gb=0.1, bytes_per_voxel=15)
"""For each further scan that shares the mapping."""
BATCH_MEMORY_GB = 0.3
"""For each further batch in the network at a time, on the CPU."""
DIFFUSION_MEMORY = MemoryEstimate(base_gb=0.8, bytes_per_voxel=600)
"""For four shells; it does not grow with the number of volumes."""


def threads_per_image(config: RunConfig, images: int) -> int:
    """Threads for one image: as requested, else an equal part of all."""
    if config.omp_nthreads is not None:
        return min(config.omp_nthreads, config.n_procs)
    return min(MAX_THREADS_PER_IMAGE, max(1, config.n_procs // max(1, images)))


def node_name(step: Step, image: SourceImage) -> str:
    """Name of an image's node, unique in its dataset; nipype allows letters, digits, ``_-``."""
    stem = file_stem(image.path)
    plain = "".join(c if (c.isascii() and c.isalnum()) or c in "_-" else "-" for c in stem)
    if plain == stem and len(stem) <= MAX_NODE_STEM:
        return f"{step}_{stem}"
    digest = hashlib.sha256(image.relative.encode(errors="surrogateescape")).hexdigest()
    return f"{step}_{plain[:MAX_NODE_STEM]}_{digest[:8]}"


def build_graph(
    jobs: Sequence[Job],
    config: RunConfig,
    target: ResolvedTarget,
    device: str,
) -> Any:
    """A workflow with one sub-workflow for each subject."""
    threads = threads_per_image(config, len(jobs))
    workflow = engine.Workflow(WORKFLOW_NAME, base_dir=str(config.work_dir))
    for subject in dict.fromkeys(job.image.subject for job in jobs):
        graph = engine.Workflow(workflow_name(subject))
        subject_jobs = [job for job in jobs if job.image.subject == subject]
        prepared = _prepare_nodes(graph, subject_jobs, config)
        merged: dict[tuple[Path, ...], Any] = {}
        for job in subject_jobs:
            harmonize = _harmonize_node(job, config, target, device, threads)
            graph.connect(prepared[job.image.path], "prepared", harmonize, "prepared")
            if not job.scans:
                continue
            paths = tuple(scan.image.path for scan in job.scans)
            if paths not in merged:
                merged[paths] = engine.Node(Merge(len(paths)), name=f"scans_{len(merged)}")
                for number, path in enumerate(paths, start=1):
                    graph.connect(prepared[path], "prepared", merged[paths], f"in{number}")
            graph.connect(merged[paths], "out", harmonize, "scans")
        workflow.add_nodes([graph])
    return workflow


def _prepare_nodes(graph: Any, jobs: Sequence[Job], config: RunConfig) -> dict[Path, Any]:
    """Nodes, by path, that prepare the images of a subject's jobs and those these need."""
    needed: dict[Path, SharedScan | Job] = {}
    for job in jobs:
        needed |= {scan.image.path: scan for scan in job.scans} | {job.image.path: job}
    nodes: dict[Path, Any] = {}
    for item in sorted(needed.values(), key=lambda item: item.t1w is not None):
        for image in (item.t1w, item.image):
            if image is not None and image.path not in nodes:
                nodes[image.path] = _prepare_node(image, config)
        if item.t1w is not None:
            graph.connect(nodes[item.t1w.path], "prepared", nodes[item.image.path], "t1w")
    return nodes


def _context(step: Step, image: SourceImage, config: RunConfig) -> StepContext:
    return StepContext(
        image.relative, image.subject, step, node_name(step, image), RunLog.of(config)
    )


def _node(
    interface: Any, context: StepContext, config: RunConfig, threads: int, mem_gb: float
) -> Any:
    node = engine.Node(interface, name=context.node, n_procs=threads, mem_gb=mem_gb)
    # nipype reads these from the node itself.  The mean b0 of a series lies beside what was
    # prepared of it, and would be removed.
    node.config = {
        "execution": {
            "crashdump_dir": str(config.work_dir / WORKFLOW_NAME / "crashes"),
            "crashfile_format": "txt",
            "remove_unnecessary_outputs": "false",
        }
    }
    return node


def _prepare_node(image: SourceImage, config: RunConfig) -> Any:
    context = _context("prepare", image, config)
    interface = Prepare(
        context=context,
        image=str(image.path),
        modality=image.suffix,
        preprocessed=config.preprocessed,
        mask_needed=config.brain_mask == "derivatives",
        seed=config.random_seed,
        version=__version__,
    )
    for name, path in (("mask", image.mask), ("bval", image.bval), ("bvec", image.bvec)):
        if path is not None:
            setattr(interface.inputs, name, str(path))
    if image.problem is not None:
        interface.inputs.problem = image.problem
    if image.suffix == "dwi" and config.b0_threshold is not None:
        interface.inputs.b0_threshold = config.b0_threshold
    return _node(interface, context, config, 1, PREPARE_MEMORY.of(image.path))


def _harmonize_node(
    job: Job, config: RunConfig, target: ResolvedTarget, device: str, threads: int
) -> Any:
    context = _context("harmonize", job.image, config)
    interface = Harmonize(
        context=context,
        job=job,
        config=config,
        target=target,
        threads=threads,
        use_gpu=device != "cpu",
    )
    others_gb = SHARED_SCAN_MEMORY.of(job.image.path) * max(0, len(job.scans) - 1)
    if job.image.suffix == "dwi":
        memory_gb = DIFFUSION_MEMORY.of(job.image.path)
    else:
        memory_gb = HARMONIZE_MEMORY.of(job.image.path) + (threads - 1) * BATCH_MEMORY_GB
        memory_gb += others_gb
    return _node(interface, context, config, threads, memory_gb)
