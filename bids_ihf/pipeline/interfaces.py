"""nipype's view of the two steps: thin shells over :mod:`bids_ihf.pipeline.worker`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nipype.interfaces.base import (
    BaseInterfaceInputSpec,
    File,
    SimpleInterface,
    TraitedSpec,
    isdefined,
    traits,
)

from bids_ihf.pipeline import worker as steps
from bids_ihf.pipeline.run_log import join_run


class PrepareInputs(BaseInterfaceInputSpec):  # type: ignore[misc]
    """What the preparation depends on."""

    image = File(mandatory=True, desc="T1w or T2w scan, or diffusion series")
    modality = traits.Enum("T1w", "T2w", "dwi", mandatory=True, desc="suffix of the scan")
    preprocessed = traits.Bool(False, usedefault=True, desc="stripped, corrected, aligned already")
    mask = File(desc="brain mask to use instead of making one")
    mask_needed = traits.Bool(False, usedefault=True, desc="make no mask where none is given")
    anchor = File(desc="prepared T1w scan of the same session")
    bval = File(desc="b-values of a diffusion series")
    bvec = File(desc="directions of a diffusion series")
    seed = traits.Int(0, usedefault=True, desc="seed of the registration")
    version = traits.Str(mandatory=True, desc="version of this package")
    threads = traits.Int(1, usedefault=True, nohash=True, desc="threads to use")


class PrepareOutputs(TraitedSpec):  # type: ignore[misc]
    """Where the result is."""

    prepared = File(exists=True, desc="bias field, brain mask and transform (.npz)")


class Prepare(SimpleInterface):  # type: ignore[misc]
    """Bias field, brain mask and transform to the template."""

    input_spec = PrepareInputs
    output_spec = PrepareOutputs

    def _run_interface(self, runtime: Any) -> Any:
        join_run()
        given = self.inputs
        output = Path(runtime.cwd) / "prepared.npz"
        steps.prepare_scan(
            Path(given.image),
            output,
            modality=given.modality,
            preprocessed=given.preprocessed,
            mask=_path(given.mask),
            mask_needed=given.mask_needed,
            anchor=_path(given.anchor),
            tables=(_path(given.bval), _path(given.bvec)),
            seed=given.seed,
            threads=given.threads,
        )
        self._results["prepared"] = str(output)
        return runtime


def _path(value: Any) -> Path | None:
    return Path(value) if isdefined(value) else None


class HarmonizeInputs(BaseInterfaceInputSpec):  # type: ignore[misc]
    """What the harmonization depends on."""

    prepared = File(exists=True, mandatory=True, desc="result of Prepare")
    task = traits.Any(mandatory=True, desc="the image and its outputs (plan.Task)")
    settings = traits.Any(mandatory=True, desc="settings of the run (steps.Settings)")
    threads = traits.Int(1, usedefault=True, nohash=True, desc="threads to use")
    use_gpu = traits.Bool(False, usedefault=True, nohash=True, desc="runs on a GPU")


class HarmonizeOutputs(TraitedSpec):  # type: ignore[misc]
    """Where the result is."""

    sidecar = File(exists=True, desc="sidecar of the harmonized image, written last")


class Harmonize(SimpleInterface):  # type: ignore[misc]
    """Harmonize a prepared scan and write all that belongs to it."""

    input_spec = HarmonizeInputs
    output_spec = HarmonizeOutputs
    # The outputs lie outside the working directory, where nipype cannot see that they are gone.
    _always_run = True

    def _run_interface(self, runtime: Any) -> Any:
        join_run()
        given = self.inputs
        sidecar = steps.harmonize_scan(
            given.task, Path(given.prepared), given.settings, threads=given.threads
        )
        self._results["sidecar"] = str(sidecar)
        return runtime
