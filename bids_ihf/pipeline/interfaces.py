"""The two steps of an image as nipype interfaces; what goes wrong in one is kept as a value."""

from __future__ import annotations

import logging
import multiprocessing
import os
from pathlib import Path
from traceback import format_exc
from typing import Any

from attrs import frozen
from nipype.interfaces.base import (
    BaseInterfaceInputSpec,
    File,
    SimpleInterface,
    TraitedSpec,
    isdefined,
    traits,
)

from bids_ihf.bids.names import IMAGE_SUFFIXES
from bids_ihf.errors import HarmonyError
from bids_ihf.io.failures import Failure, Step, write_failure
from bids_ihf.pipeline import worker
from bids_ihf.pipeline.image_files import ImageFiles
from bids_ihf.pipeline.run_log import RunLog, join_run, subject_context
from bids_ihf.pipeline.termination import EXIT_TERMINATED, Terminated

LOGGER = logging.getLogger(__name__)


@frozen
class StepContext:
    """Which step of which image a node is, where it logs, and where its failure is kept.

    Attributes
    ----------
    image
        Path of the image inside its dataset.
    subject
        Label without ``sub-``.
    step
        ``prepare`` or ``harmonize``.
    node
        Name of the node, also of its crash files.
    run_log
        Log of the run.
    """

    image: str
    subject: str
    step: Step
    node: str
    run_log: RunLog

    def keep_failure(self, error: BaseException, traceback: str = "") -> None:
        """Keep what went wrong in the subject's log folder, or at least say it."""
        failure = Failure.of(error, self.image, self.step)
        try:
            write_failure(self.run_log.folder(self.subject), self.node, failure, traceback)
        except HarmonyError as unwritten:
            LOGGER.error("%s: %s (%s)", self.image, failure.message, unwritten)


class StepInputs(BaseInterfaceInputSpec):  # type: ignore[misc]
    """What every step gets; nothing of it changes a result."""

    context = traits.Any(mandatory=True, nohash=True, desc="of which image (StepContext)")


class StepInterface(SimpleInterface):  # type: ignore[misc]
    """A step whose failure is kept as a value, and raised so that nipype skips the next one."""

    _stop: BaseException | None = None

    def run(self, *args: Any, **options: Any) -> Any:
        """Run the step; nipype takes a stop of the run for a failure, and would go on."""
        result = super().run(*args, **options)
        if self._stop is not None:
            raise self._stop
        return result

    def _run_interface(self, runtime: Any) -> Any:
        context: StepContext = self.inputs.context
        join_run(context.run_log)
        with subject_context(context.subject):
            try:
                self._work(Path(runtime.cwd))
            except Exception as error:
                context.keep_failure(error, format_exc())
                raise
            except (KeyboardInterrupt, Terminated) as stop:
                if multiprocessing.parent_process() is not None:  # a worker, nothing half-written
                    os._exit(EXIT_TERMINATED)
                self._stop = stop
                raise
        return runtime

    def _work(self, folder: Path) -> None:
        raise NotImplementedError


class PrepareInputs(StepInputs):
    """What the preparation depends on."""

    image = File(mandatory=True, desc="anatomical image, or diffusion series")
    problem = traits.Any(desc="why it cannot be harmonized (bids.images.Problem)")
    modality = traits.Enum(*IMAGE_SUFFIXES, mandatory=True, desc="suffix of the image")
    preprocessed = traits.Bool(
        False, usedefault=True, desc="stripped, corrected, in template space"
    )
    mask = File(desc="brain mask to use")
    mask_needed = traits.Bool(False, usedefault=True, desc="fail where no mask is given")
    t1w = File(desc="result of Prepare for the T1w image of the same session")
    bval = File(desc="b-values of a diffusion series")
    bvec = File(desc="directions of a diffusion series")
    b0_threshold = traits.Float(desc="largest b-value that counts as b=0 (s/mm2)")
    seed = traits.Int(0, usedefault=True, desc="seed of the registration")
    version = traits.Str(mandatory=True, desc="version of this package")


class PrepareOutputs(TraitedSpec):  # type: ignore[misc]
    """Where the result is."""

    prepared = File(exists=True, desc="bias field, brain mask and transform (.npz)")


class Prepare(StepInterface):
    """Bias field, brain mask and transform to the template."""

    input_spec = PrepareInputs
    output_spec = PrepareOutputs

    def _work(self, folder: Path) -> None:
        inputs = self.inputs
        if isdefined(inputs.problem):
            inputs.problem.raise_error()
        output = folder / "prepared.npz"
        files = ImageFiles(
            Path(inputs.image),
            inputs.modality,
            mask=_path(inputs.mask),
            bval=_path(inputs.bval),
            bvec=_path(inputs.bvec),
            b0_threshold=inputs.b0_threshold if isdefined(inputs.b0_threshold) else None,
        )
        worker.prepare_image(
            files,
            output,
            preprocessed=inputs.preprocessed,
            mask_needed=inputs.mask_needed,
            t1w=_path(inputs.t1w),
            seed=inputs.seed,
        )
        self._results["prepared"] = str(output)


def _path(value: Any) -> Path | None:
    return Path(value) if isdefined(value) else None


class HarmonizeInputs(StepInputs):
    """What the harmonization depends on."""

    prepared = File(exists=True, mandatory=True, desc="result of Prepare")
    scans = traits.List(File(exists=True), desc="the same of all scans that share the mapping")
    job = traits.Any(mandatory=True, desc="the image and its outputs (job.Job)")
    config = traits.Any(mandatory=True, desc="settings of the run (config.RunConfig)")
    target = traits.Any(mandatory=True, desc="target of the run (job.ResolvedTarget)")
    threads = traits.Int(1, usedefault=True, nohash=True, desc="batches at a time on the CPU")
    use_gpu = traits.Bool(False, usedefault=True, nohash=True, desc="runs on a GPU")


class HarmonizeOutputs(TraitedSpec):  # type: ignore[misc]
    """Where the result is."""

    sidecar = File(exists=True, desc="sidecar of the harmonized image, written last")


class Harmonize(StepInterface):
    """Harmonize a prepared image and write all that belongs to it."""

    input_spec = HarmonizeInputs
    output_spec = HarmonizeOutputs
    # The outputs lie outside the working directory, where nipype cannot see that they are gone.
    _always_run = True

    def _work(self, folder: Path) -> None:
        inputs = self.inputs
        shared = [Path(file) for file in inputs.scans] if isdefined(inputs.scans) else []
        worker.harmonize_image(
            inputs.job, Path(inputs.prepared), inputs.config, inputs.target,
            threads=inputs.threads, scans=shared,
        )  # fmt: skip
        self._results["sidecar"] = str(inputs.job.sidecar)
