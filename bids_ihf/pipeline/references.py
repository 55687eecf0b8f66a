"""The reference images of a target: found in datasets or named one by one, then prepared."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from attrs import frozen
from tqdm import tqdm

from bids_ihf.bids.diffusion_weighting import why_not_harmonized
from bids_ihf.bids.discovery import find_images, select_subjects
from bids_ihf.bids.filters import read_filters
from bids_ihf.bids.images import gradient_table_paths
from bids_ihf.dwi.matched import measure_matched
from bids_ihf.dwi.place_change import measure_maps
from bids_ihf.dwi.series_fit import fit_series
from bids_ihf.errors import NothingSelected, UsageError
from bids_ihf.io.paths import is_nifti_name
from bids_ihf.network.checkpoint import ModelBundle
from bids_ihf.pipeline.image_files import ImageFiles, prepare_files
from bids_ihf.preprocessing.prepare import Prepared
from bids_ihf.targets.build import build_target, modality_of_file
from bids_ihf.targets.diffusion_profile import DiffusionProfile
from bids_ihf.targets.map_profiles import MapProfiles
from bids_ihf.targets.matched_maps import MatchedMaps
from bids_ihf.targets.target import Target

LOGGER = logging.getLogger(__name__)


@frozen(eq=False)
class MeasuredSeries:
    """The profile of a diffusion series, those of its maps, and its harmonics by place."""

    profile: DiffusionProfile
    maps: MapProfiles
    features: MatchedMaps


def collect_references(
    references: Sequence[Path],
    *,
    modality: str | None = None,
    labels: Sequence[str] = (),
    filter_file: Path | None = None,
    b0_threshold: float | None = None,
) -> list[ImageFiles]:
    """Images to build a target from; in datasets, ``modality`` selects.

    Series of a dataset without diffusion weighting are left out, by name.

    Raises
    ------
    UsageError
        A reference is neither an image nor a folder.
    NothingSelected
        No image is left.
    """
    images: list[ImageFiles] = []
    for path in references:
        if path.is_dir():
            images += _in_dataset(path, modality, labels, filter_file, b0_threshold)
        elif is_nifti_name(path):
            images.append(_single(path, modality, b0_threshold))
        else:
            raise UsageError(f"{path}: neither a NIfTI image nor a folder; check the name.")
    if not images:
        names = " ".join(map(str, references))
        raise NothingSelected(
            f"{names}: no {modality or 'T1w, T2w, FLAIR or dwi'} image is left; select more."
        )
    return images


def _single(path: Path, modality: str | None, b0_threshold: float | None) -> ImageFiles:
    suffix = modality_of_file(path, modality)
    if suffix != "dwi":
        return ImageFiles(path, suffix)
    bval, bvec = (table if table.is_file() else None for table in gradient_table_paths(path))
    return ImageFiles(path, suffix, bval=bval, bvec=bvec, b0_threshold=b0_threshold)


def _in_dataset(
    folder: Path,
    modality: str | None,
    labels: Sequence[str],
    filter_file: Path | None,
    b0_threshold: float | None,
) -> list[ImageFiles]:
    filters = read_filters(filter_file) if filter_file else None
    references = []
    for subject in select_subjects(folder, labels):
        images = find_images(folder, subject, filters=filters)
        # As in a run, the first of a session that can be read.
        t1w_by_session = {
            image.session: image.path
            for image in reversed(images)
            if image.suffix == "T1w" and image.problem is None and image.fetched
        }
        for image in images:
            if modality not in (None, image.modality):
                continue
            if image.problem:
                image.problem.raise_error()
            t1w = None if image.suffix == "T1w" else t1w_by_session.get(image.session)
            reason = (
                why_not_harmonized(image.path, image.bval, b0_threshold)
                if image.suffix == "dwi"
                else None
            )
            if reason:
                LOGGER.warning("%s: %s", image.path, reason)
                continue
            references.append(
                ImageFiles(
                    image.path,
                    image.modality,
                    t1w=t1w,
                    bval=image.bval,
                    bvec=image.bvec,
                    b0_threshold=b0_threshold,
                )
            )
    return references


def target_from_references(
    references: Sequence[ImageFiles],
    name: str,
    model: ModelBundle,
    *,
    preprocessed: bool = False,
    matched: bool = False,
) -> Target:
    """A target from reference images, which are prepared one at a time.

    With ``matched`` the people of the diffusion series are matched with those of another target,
    and their harmonics are kept by place.

    Raises
    ------
    UsageError
        There is nothing to build it from, or no diffusion series of the matched people.
    BadData
        A reference or its gradient table cannot be used.
    """
    series = [reference for reference in references if reference.modality == "dwi"]
    anatomical = [reference for reference in references if reference.modality != "dwi"]
    if matched and not series:
        raise UsageError(
            "--matched is for diffusion series, and there is none among the images; name some."
        )
    with TemporaryDirectory(prefix="ihf-target-") as folder:
        measured = [
            _measure_series(reference, prepared, model)
            for reference, prepared in _prepared(series, Path(folder), preprocessed=preprocessed)
        ]
        scans = _prepared(anatomical, Path(folder), preprocessed=preprocessed)
        return build_target(
            ((reference.modality, prepared) for reference, prepared in scans),
            name,
            model,
            [one.profile for one in measured],
            [one.maps for one in measured],
            [one.features for one in measured] if matched else (),
        )


def _prepared(
    references: Sequence[ImageFiles], folder: Path, *, preprocessed: bool
) -> Iterator[tuple[ImageFiles, Prepared]]:
    """Each reference and what was prepared of it, one at a time, so that only one lies in memory.

    Targets with several modalities need the T1w of a session twice; holding one is enough.
    """
    for reference in tqdm(references, unit="image", disable=not sys.stderr.isatty()):
        LOGGER.info("%s: preparing", reference.image)
        yield reference, prepare_files(reference, folder, preprocessed=preprocessed)


def _measure_series(
    reference: ImageFiles, prepared: Prepared, model: ModelBundle
) -> MeasuredSeries:
    """What is measured of a reference that is a diffusion series."""
    fitted = fit_series(reference.series, prepared)
    shared = fitted.corrected_maps
    b_values = tuple(shell.b for shell in fitted.profile.shells)
    return MeasuredSeries(
        fitted.profile,
        measure_maps(shared, prepared, fitted.head, model.encoder),
        measure_matched(shared, b_values, prepared, fitted.head),
    )
