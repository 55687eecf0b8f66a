"""What an image is harmonized as, and with which profile."""

from __future__ import annotations

import pytest
from attrs import evolve

from bids_ihf.anat.outputs import provenance
from bids_ihf.errors import BadData
from bids_ihf.pipeline.harmonization import Harmonization
from bids_ihf.targets.build import build_target
from tests.anat.test_harmonize import tiny_model
from tests.targets.test_tissue_priors import FLAIR, SLAB, T2W, brain


def test_flair_under_the_name_of_t2w_goes_to_the_flair_profile() -> None:
    model = tiny_model(identity=True)
    flair = brain(FLAIR, z=SLAB)
    target = build_target([("T2w", flair), ("T2w", brain(T2W, z=SLAB))], "site", model)
    assert target.modalities == ("FLAIR", "T2w")
    harmonization = Harmonization(target, None, lambda _: model, device="cpu")
    done, _ = harmonization.harmonize_anat(flair, "T2w", "unknown")
    assert provenance(done)["HarmonizationModality"] == "FLAIR"
    assert done.scaling["TargetHigh"] == target.profile("FLAIR").scale.high
    only_t2w = evolve(target, profiles={"T2w": target.profile("T2w")})
    with pytest.raises(BadData, match="site: this target has no FLAIR profile"):
        evolve(harmonization, target=only_t2w).harmonize_anat(flair, "T2w", "unknown")


def test_a_reference_without_a_modality_is_measured_by_its_contrast() -> None:
    model = tiny_model(identity=True)
    model.encoder.has_tissue_head = False
    flair, t2w = (
        build_target([("any", brain(signals, z=SLAB))], "reference", model).profile("FLAIR")
        for signals in (FLAIR, T2W)
    )
    assert flair.tissue_histograms.any()
    assert not t2w.tissue_histograms.any()
