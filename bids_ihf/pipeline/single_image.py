"""Harmonizing one image outside a BIDS dataset: the same numbers as in the BIDS App."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from attrs import evolve, frozen

from bids_ihf.anat import outputs as anat_outputs
from bids_ihf.config.settings import ChangeMap
from bids_ihf.dwi import outputs as dwi_outputs
from bids_ihf.dwi.series_fit import fit_series
from bids_ihf.dwi.series_writing import write_series
from bids_ihf.dwi.shell_plan import exponent_warning
from bids_ihf.io.atomic import write_atomic
from bids_ihf.pipeline.harmonization import Harmonization
from bids_ihf.pipeline.image_files import ImageFiles, prepare_files
from bids_ihf.preprocessing.outputs import encode_mask, preparation_measures
from bids_ihf.preprocessing.prepare import Prepared
from bids_ihf.qc.assess import assess
from bids_ihf.targets.target import Target

Progress = Callable[[str, float], None]
"""Called with what begins, and the fraction that is done, 0 to 1."""

LOGGER = logging.getLogger(__name__)

PREPARED_FRACTION, HARMONIZED_FRACTION = 0.6, 0.9
"""Rough shares of the time at which an image is prepared and harmonized."""


@frozen
class SingleResult:
    """What is known of a harmonized image beside its voxels.

    Attributes
    ----------
    measures
        The columns that the BIDS App writes to ``_scans.tsv``.
    warning
        Why the image needs a look, if it does.
    device
        Where the network ran.
    """

    measures: dict[str, float | None]
    warning: str | None
    device: str


@frozen
class SingleOutputs:
    """Files to write, .nii.gz; the change map and the mask only where they are named.

    ``change_map`` is how images are stored, as ``--change-map``.
    """

    harmonized: Path
    change: Path | None = None
    mask: Path | None = None
    change_map: ChangeMap = "float32"


def harmonize_files(
    files: ImageFiles,
    outputs: SingleOutputs,
    harmonization: Harmonization,
    progress: Progress,
    *,
    preprocessed: bool = False,
) -> SingleResult:
    """Harmonize one image and write the files asked for.

    Raises
    ------
    HarmonyError
        The image or a file that belongs to it cannot be used, or an output cannot be written.
    """
    progress("prepare", 0.0)
    _require_profile(harmonization.target, files.modality)
    with TemporaryDirectory(prefix="ihf-harmony-") as folder:
        prepared = prepare_files(files, Path(folder), preprocessed=preprocessed)
    progress("harmonize", PREPARED_FRACTION)
    write = _harmonize_series if files.modality == "dwi" else _harmonize_anat
    result = write(files, prepared, outputs, harmonization, progress)
    if outputs.mask is not None:
        write_atomic(outputs.mask, encode_mask(prepared))
    progress("done", 1.0)
    return result


def _require_profile(target: Target, modality: str) -> None:
    """Raise BadData at once where a target has no profile of a modality."""
    if modality == "dwi":
        target.diffusion_profile()
    else:
        target.profile(modality)


def _harmonize_anat(
    files: ImageFiles, prepared: Prepared, outputs: SingleOutputs, harmonization: Harmonization,
    progress: Progress,
) -> SingleResult:  # fmt: skip
    harmonized, device = harmonization.harmonize_anat(prepared, files.modality, files.vendor)
    progress("write", HARMONIZED_FRACTION)
    encoded = anat_outputs.encode_images(harmonized, prepared, outputs.change_map)
    harmonized = evolve(harmonized, round_trip_error=encoded.round_trip_error)
    write_atomic(outputs.harmonized, encoded.image)
    if outputs.change is not None and encoded.change is not None:
        write_atomic(outputs.change, encoded.change)
    quality = assess(harmonized.qc, harmonized.modality, harmonization.target.encoder_hash)
    measures = anat_outputs.measures(prepared, harmonized) | quality.measures
    return SingleResult({**preparation_measures(prepared), **measures}, quality.warning, device)


def _harmonize_series(
    files: ImageFiles, prepared: Prepared, outputs: SingleOutputs, harmonization: Harmonization,
    progress: Progress,
) -> SingleResult:  # fmt: skip
    def on_volume(doing: str, number: int, count: int) -> None:
        passes = {"fitting": 0, "changing": 1}[doing] + number / count
        progress(doing, PREPARED_FRACTION + (1 - PREPARED_FRACTION) * passes / 2)

    fitted = fit_series(files.series, prepared, on_volume)
    series = write_series(
        (outputs.harmonized, outputs.change),
        fitted,
        outputs.change_map,
        lambda sink: harmonization.harmonize_series(
            fitted, prepared, files.vendor, sink, on_volume
        ),
    ).series
    measures = {**preparation_measures(prepared), **dwi_outputs.measures(prepared, series)}
    return SingleResult(measures, exponent_warning(series.plan), series.device)
