"""A small output folder as participants leave it, with names and metadata that try to be HTML."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from bids_ihf.anat.qc_statistics import QCStatistics
from bids_ihf.bids.images import SourceImage
from bids_ihf.bids.scans_table import update_scans_table
from bids_ihf.io.failures import Failure, write_failure
from bids_ihf.qc.measures import image_measures
from bids_ihf.reports.figures import ReportVolumes, write_figures
from bids_ihf.reports.qc_data import QCData, qc_data_name
from bids_ihf.targets.intensity import HISTOGRAM_BINS, HISTOGRAM_RANGE, IntensityScale
from bids_ihf.targets.landmarks import SliceStatistics
from bids_ihf.targets.profile import Profile

EVIL = "<script>alert('x')</script>"
SIDECAR = {
    "Description": "Image with its contrast harmonized.",
    "Manufacturer": f"SIEMENS {EVIL}",
    "ManufacturersModelName": "Prisma",
    "MagneticFieldStrength": 3,
    "HarmonizationTarget": "GE",
    "HarmonizationTargetHash": "a" * 64,
    "HarmonizationModel": "ihf-1",
    "SourceVendor": "Siemens",
    "RoundTripMaxError": 2e-7,
    "Device": "cpu",
    "IntensityScaling": {"low": 0.0, "high": 812.5},
    "Sources": ["bids:raw:sub-01/anat/sub-01_T1w.nii.gz"],
}
MEASURES: dict[str, float | str | None] = {
    "harmonization_target": "GE",
    "source_vendor": "Siemens",
    "distance_before": 0.5,
    "distance_after": 0.2,
    "change_rms": 31.5,
    "round_trip_max_error": 2e-7,
    "mask_volume_ml": 1400.0,
    "alignment_similarity": 0.9,
    "alignment_coverage": 0.95,
    "seconds": 61.0,
}


def add_image(
    out: Path, source: str, *, table: bool = True, measures: Any = None, **sidecar: Any
) -> Path:
    """Leave behind what one finished image does, less the voxels."""
    from bids_ihf.bids.images import output_paths, sidecar_path

    image = SourceImage.from_path(out.parent / "bids" / source, out.parent / "bids")
    path = sidecar_path(output_paths(out, image).harmonized)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(SIDECAR | sidecar))
    if table:
        update_scans_table(out, image, MEASURES | (measures or {}))
    return path


def head(shape: tuple[int, int, int] = (20, 24, 18), seed: int = 0) -> NDArray[np.float32]:
    """A smooth random volume of intensities about 100 to 900."""
    noise = np.random.default_rng(seed).normal(size=shape)
    smooth = ndimage.gaussian_filter(noise, 2)
    return np.asarray(500 + 150 * smooth / smooth.std(), dtype=np.float32).clip(1)


def ball(shape: tuple[int, int, int] = (20, 24, 18)) -> NDArray[np.bool_]:
    """A brain mask."""
    grid = np.indices(shape).T - (np.array(shape) - 1) / 2
    return np.asarray((np.square(grid / (np.array(shape) / 3)).sum(-1) < 1).T)


def tissues(shift: float = 0.0, size: float = 4e4) -> NDArray[np.float64]:
    """Histograms (3, LEVELS) of grey matter, white matter and fluid, `shift` network units up."""
    level = np.linspace(*HISTOGRAM_RANGE, HISTOGRAM_BINS)
    middles = np.array([[-0.1], [0.5], [-0.7]]) + shift
    bells = np.exp(-0.5 * np.square((level - middles) / 0.1))
    return np.asarray(size * bells / bells.sum(axis=1, keepdims=True))


def embeddings(shift: float = 0.0, seed: int = 0, size: int = 12) -> NDArray[np.float32]:
    """Statistics (4, E) of four slice positions."""
    noise = np.random.default_rng(seed).normal(shift, 0.1, size=(4, size))
    return noise.astype(np.float32)


def evidence(shift: float = 0.3, seed: int = 0) -> QCStatistics:
    """What is seen of an image whose tissues lie `shift` above the target's, and then on them."""

    def profile(own: float) -> Profile:
        return Profile(
            np.arange(4),
            tissues(own).sum(axis=0, keepdims=True).repeat(4, axis=0) / 4,
            embeddings(own, seed),
            np.array([-0.1, 0.5, -0.7]) + own,
            tissues(own),
            IntensityScale(0.0, 900.0),
        )

    target = profile(0.0)
    after = SliceStatistics(embeddings(0.0, seed + 1), target.landmarks, tissues(0.0))
    return QCStatistics(profile(shift), after, target, shift, (shift, 0.02))


def add_figures(
    out: Path, stem: str, suffix: str, seen: QCStatistics | None = None, seed: int = 0
) -> list[Path]:
    """Draw the figures of a random image."""
    before = head(seed=seed)
    after = np.asarray(900 * (before / 900) ** 0.8, dtype=np.float32)
    volumes = ReportVolumes(
        before=before,
        after=after,
        change=after - before,
        mask=ball(),
        affine=np.diag([6.0, 6.0, 6.0, 1.0]),
        template=2 * ball().astype(np.float32),
        reference=after * ball(),
    )
    return write_figures(
        out / stem.partition("_")[0] / "figures", stem, suffix, volumes, seen or evidence()
    )


SCANNERS = {"Siemens": "Prisma", "GE": "Discovery MR750", "Philips": "Achieva dStream"}


def make_study(folder: Path, people: int, *, figures: bool = False) -> Path:
    """People scanned once by each vendor; scanners differ before, and only noise does after."""
    out = folder / "out"
    for person in range(people):
        for number, (vendor, model) in enumerate(SCANNERS.items()):
            key = 100 * person + number
            stem = f"sub-{person + 1:02d}_ses-{vendor.lower()}"
            noise = np.random.default_rng(key).normal(scale=0.01, size=4)
            seen = evidence(0.2 * number + float(noise[0]), seed=key)
            measures = image_measures(seen) | {
                "source_vendor": vendor,
                "distance_before": 0.2 * number + 0.1,
                "distance_after": 0.05 + abs(float(noise[1])),
                "contrast_after": 0.8 + float(noise[2]),
                "out_of_range_score": 0.5 + float(noise[3]),
                "harmonization_warning": "no",
            }
            path = f"{stem.replace('_', '/')}/anat/{stem}_T1w.nii.gz"
            sidecar = {"Manufacturer": vendor, "ManufacturersModelName": model}
            add_image(out, path, measures=measures, SourceVendor=vendor, **sidecar)
            if figures:
                add_figures(out, stem, "T1w", seen, seed=key)
            else:
                name = out / stem.partition("_")[0] / "figures" / qc_data_name(stem, "T1w")
                name.parent.mkdir(exist_ok=True)
                name.write_text(QCData.from_statistics(seen).to_json())
    return out


CRASH = Failure(
    "sub-01/ses-B/anat/sub-01_ses-B_T1w.nii.gz",
    "prepare",
    "BadData",
    "sub-01_ses-B_T1w.nii.gz: is <i>truncated</i>; fetch it again.",
    65,
)
TRACEBACK = """Traceback (most recent call last):
  File "worker.py", line 3, in prepare_image
    raise BadData(sentence)
bids_ihf.errors.BadData: sub-01_ses-B_T1w.nii.gz: is <i>truncated</i>; fetch it again.
"""


@pytest.fixture(scope="session")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Figures of one image, drawn once for all tests."""
    folder = tmp_path_factory.mktemp("drawn")
    add_figures(folder, "sub-01_ses-A_run-1", "T1w")
    return folder


@pytest.fixture
def out(tmp_path: Path, drawn: Path) -> Path:
    """Two participants, sessions, runs, parts, a crash, warnings; none of the images is there.

    The path has entities in it, which must not be taken for those of the files.
    """
    folder = tmp_path / "job_ses-Z_run-9_desc-x" / "out"
    add_image(folder, "sub-01/ses-A/anat/sub-01_ses-A_run-1_T1w.nii.gz")
    add_image(
        folder, "sub-01/ses-A/anat/sub-01_ses-A_run-2_T1w.nii.gz", measures={"source_vendor": EVIL}
    )
    add_image(folder, "sub-01/ses-B/anat/sub-01_ses-B_echo-1_part-mag_T2w.nii.gz", table=False)
    add_image(
        folder,
        "sub-02/anat/sub-02_acq-mprage_T1w.nii.gz",
        measures={"source_vendor": "unknown", "distance_after": 0.6},
    )
    shutil.copytree(drawn / "sub-01/figures", folder / "sub-01/figures")
    log = folder / "sub-01/log/20260101-000000_x"
    log.mkdir(parents=True)
    write_failure(log, "1", CRASH, TRACEBACK)
    (log / "ihf_harmony.log").write_text(
        "2026-01-01 00:00:00,000 INFO sub-01: preparing\n"
        "2026-01-01 00:00:01,000 WARNING sub-01_ses-A_run-1_T1w: header <odd>.\n"
    )
    (log / "ihf_harmony.toml").write_text('[options]\npreprocessed = true\ntarget = "GE"\n')
    return folder
