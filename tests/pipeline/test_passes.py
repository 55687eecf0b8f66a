"""How often a T1w scan goes through what takes time: counted, so that it holds on any machine."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bids_ihf.anat import outputs as anat_outputs
from bids_ihf.bids.images import SourceImage
from bids_ihf.config import RunConfig
from bids_ihf.io import nifti
from bids_ihf.network.encoder import Encoder
from bids_ihf.network.flow import IHFNetwork
from bids_ihf.pipeline.image_files import ImageFiles
from bids_ihf.pipeline.job import Job, ResolvedTarget
from bids_ihf.pipeline.plan import plan
from bids_ihf.pipeline.worker import harmonize_image, prepare_image
from bids_ihf.preprocessing import brain_mask as mask
from bids_ihf.preprocessing import outputs as preprocessing_outputs
from bids_ihf.preprocessing import prepare
from bids_ihf.preprocessing.alignment import Alignment
from bids_ihf.preprocessing.segmentation import Segmentation
from bids_ihf.reports import reference_images as pictures
from tests.datasets import write_dataset
from tests.preprocessing.conftest import save, small_brain, small_segmentation

TARGET = ResolvedTarget("GE", "GE", "t-hash", "ihf", "m-hash", "b-hash", ("T1w",))
THICK = slice(25, 30)
"""Slices of 3 mm, in the middle of the brain."""


@pytest.fixture
def job(tmp_path: Path) -> Job:
    """A slab of a brain in a dataset."""
    root = write_dataset(tmp_path / "bids")
    path = root / "sub-01/ses-A/anat/sub-01_ses-A_T1w.nii.gz"
    brain, grid, _ = small_brain()
    affine = grid.affine.copy()
    affine[:3, 3] += affine[:3, 2] * THICK.start
    save(path, brain[:, :, THICK], affine)
    image = SourceImage.from_path(path, root, {"Manufacturer": "SIEMENS"})
    return plan([image], RunConfig(root, tmp_path / "out"), TARGET)[0]


@pytest.fixture
def counts(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Counts of calls and slices; what is slow and tested elsewhere is replaced."""
    seen: Counter[str] = Counter()

    def segment(*_: Any) -> Segmentation:
        seen["segmentations"] += 1
        return small_segmentation()

    def align(*_: Any) -> Alignment:
        seen["alignments"] += 1
        return Alignment(np.eye(4), 0.9, 1.0)

    def bias(data: np.ndarray, *_: Any) -> np.ndarray:
        seen["bias fields"] += 1
        return np.ones_like(data)

    monkeypatch.setattr(mask, "segment", segment)
    monkeypatch.setattr(prepare, "align_to_template", align)
    monkeypatch.setattr(prepare, "bias_field", bias)
    count_slices(monkeypatch, IHFNetwork, "slices in the network", seen)
    count_slices(monkeypatch, Encoder, "slices in the encoder", seen)
    count_calls(monkeypatch, nifti, "open_image", "images opened", seen)
    count_calls(monkeypatch, anat_outputs, "encode_compact", "pairs of images compressed", seen)
    for module in (anat_outputs, preprocessing_outputs):
        count_calls(monkeypatch, module, "encode_nifti", "images compressed", seen)
    count_calls(monkeypatch, pictures, "resample_within", "pictures resampled", seen)
    return seen


def count_slices(
    monkeypatch: pytest.MonkeyPatch, kind: type, name: str, seen: Counter[str]
) -> None:
    forward: Any = kind.forward  # type: ignore[attr-defined]

    def counted(self: Any, x: Any, *rest: Any, **options: Any) -> Any:
        seen[name] += len(x)
        return forward(self, x, *rest, **options)

    monkeypatch.setattr(kind, "forward", counted)


def count_calls(
    monkeypatch: pytest.MonkeyPatch, module: Any, name: str, what: str, seen: Counter[str]
) -> None:
    call = getattr(module, name)

    def counted(*args: Any, **options: Any) -> Any:
        seen[what] += 1
        return call(*args, **options)

    monkeypatch.setattr(module, name, counted)


def test_a_scan_goes_through_everything_once(
    job: Job, counts: Counter[str], tmp_path: Path
) -> None:
    from bids_ihf.geometry.template import load_template

    load_template()  # once in a process, whatever it does
    counts.clear()
    kept = tmp_path / "prepared.npz"
    files = ImageFiles(job.image.path, "T1w")
    prepare_image(files, kept, preprocessed=False, mask_needed=False, t1w=None, seed=0)
    config = RunConfig(tmp_path / "bids", tmp_path / "out", device="cpu")
    harmonize_image(job, kept, config, TARGET, threads=1)
    assert job.finished
    slices = counts.pop("slices in the network")
    assert 3 * (THICK.stop - THICK.start) - 3 <= slices <= 3 * (THICK.stop - THICK.start) + 3
    # Before and after the curve, and after the network, at one slice in six.
    assert counts.pop("slices in the encoder") <= 3 * (slices // 6 + 2)
    assert counts == {
        "segmentations": 1,
        "alignments": 1,
        "bias fields": 1,
        "images opened": 2,  # by each of the two steps
        "pairs of images compressed": 1,  # image and change
        "images compressed": 1,  # mask
        "pictures resampled": 2,  # outlines and contrast
    }
