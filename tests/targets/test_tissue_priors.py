"""Tissues of a scan of a contrast that the encoder was not trained on, and the name of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from attrs import evolve

from bids_ihf.geometry.grid import Grid
from bids_ihf.geometry.template import load_template
from bids_ihf.io.nifti import Volume
from bids_ihf.preprocessing.prepare import Prepared
from bids_ihf.preprocessing.segmentation import Segmentation
from bids_ihf.targets.network_input import measure_profile, to_network_input
from bids_ihf.targets.tissue_priors import modality_by_contrast, tissue_priors
from tests.anat.test_harmonize import tiny_model

FLAIR, T2W, T1W = (110.0, 90.0, 15.0), (110.0, 80.0, 250.0), (70.0, 100.0, 20.0)
"""Signals of grey matter, white matter and CSF."""


def brain(
    signals: tuple[float, float, float], *, z: slice = slice(None), noise: float = 2.0
) -> Prepared:
    """The template's tissues with these signals, segmented as they are unless a slab."""
    template = load_template()
    box = (slice(None, None, 2), slice(None, None, 2), z)
    tissues, mask = template.tissues[:, *box], template.mask[box]
    data = np.tensordot(np.array(signals, np.float32), tissues, axes=1)
    data += noise * np.random.default_rng(0).standard_normal(mask.shape).astype(np.float32)
    data = (data * mask).astype(np.float32)
    steps = np.diag([2.0, 2, z.step or 1, 1])
    affine = template.grid.affine @ steps
    affine[2, 3] += z.start or 0
    fractions = np.concatenate([1 - mask[None].astype(np.float32), tissues])
    if z.stop is not None:
        fractions = np.zeros_like(fractions)
        fractions[0] = 1
    volume = Volume(data, affine, None, Path("sub-1_T2w.nii.gz"))
    return Prepared(
        volume, np.ones_like(data), mask,
        Segmentation(fractions, np.ones_like(mask), Grid(mask.shape, affine)),
        stripped=True, to_template=np.eye(4), similarity=None,
    )  # fmt: skip


WHOLE, SLAB = slice(None, None, 2), slice(88, 91)


@pytest.mark.parametrize("z", [WHOLE, SLAB])
def test_flair_under_the_name_of_t2w_is_told_by_its_dark_csf(
    z: slice, caplog: pytest.LogCaptureFixture
) -> None:
    assert modality_by_contrast("T2w", brain(T2W, z=z)) == "T2w"
    assert modality_by_contrast("T2w", brain(T1W, z=z)) == "T2w"
    assert modality_by_contrast("T1w", brain(FLAIR, z=z)) == "T1w"
    assert not caplog.text
    assert modality_by_contrast("T2w", brain(FLAIR, z=z)) == "FLAIR"
    assert "sub-1_T2w.nii.gz: its name says T2w, but its CSF is dark as in FLAIR" in caplog.text


def test_a_preprocessed_scan_is_told_without_being_segmented(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("bids_ihf.preprocessing.prepare.segment", lambda *_: 1 / 0)
    for signals, modality in ((FLAIR, "FLAIR"), (T2W, "T2w"), (T1W, "T2w")):
        preprocessed = evolve(brain(signals, z=WHOLE), segmentation=None)
        assert modality_by_contrast("T2w", preprocessed) == modality


def test_without_csf_in_view_the_name_stays() -> None:
    flair = brain(FLAIR)
    white = load_template().tissues[1, ::2, ::2] > 0.99
    assert modality_by_contrast("T2w", evolve(flair, mask=flair.mask & white)) == "T2w"


@pytest.mark.parametrize("z", [WHOLE, SLAB])
def test_priors_lie_where_the_tissues_are(z: slice) -> None:
    prepared = brain(FLAIR, z=z)
    priors = tissue_priors(prepared, prepared.grid)
    assert priors.shape == (3, *prepared.mask.shape)
    box = (slice(None, None, 2), slice(None, None, 2), z)
    truth = load_template().tissues[:, *box].argmax(axis=0)[prepared.mask]
    agreement = (priors.argmax(axis=0)[prepared.mask] == truth).mean()
    assert agreement > (0.99 if z is WHOLE else 0.7)


@pytest.mark.parametrize("z", [WHOLE, SLAB])
def test_landmarks_of_flair_are_the_signals_of_the_tissues(z: slice) -> None:
    network_input = to_network_input(brain(FLAIR, z=z), "FLAIR")
    model = tiny_model(identity=True)  # its encoder tells no tissue
    found = measure_profile(network_input, model.encoder)
    signals = network_input.scale.restore(found.landmarks.astype(np.float32))
    np.testing.assert_allclose(signals[:2], FLAIR[:2], atol=5 if z is WHOLE else 8)
    assert signals[2] < 40
    sizes = found.tissue_histograms.sum(axis=1)
    assert (sizes / sizes.sum() > 0.05).all()
