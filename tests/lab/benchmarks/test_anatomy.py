"""The benchmark's sections on anatomy and read-out, on a small phantom."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import numpy as np
import pytest
import torch
from scipy import ndimage

from bids_ihf.lab.benchmarks.anatomy.benchmark import evaluate_anatomy
from bids_ihf.lab.benchmarks.anatomy.ground_truth import ground_truth
from bids_ihf.lab.benchmarks.anatomy.methods import TrainedMethods, at_reference_heights
from bids_ihf.lab.benchmarks.anatomy.tables import (
    ANATOMY_COLUMNS,
    METHOD_COLUMNS,
    READOUT_COLUMNS,
    SUBJECT_COLUMNS,
    anatomy_tables,
    by_method,
    by_pair,
)
from bids_ihf.lab.benchmarks.vendors.cases import VendorKnowledge
from bids_ihf.lab.benchmarks.vendors.methods import (
    CURVE_AND_FIELD,
    CURVE_ONLY,
    HISTOGRAM_MATCHING,
    IHF_HARMONY,
)
from bids_ihf.lab.benchmarks.vendors.plan import Weights, load_comparators
from bids_ihf.lab.benchmarks.vendors.readout import Embedding, embed_subject, readout_rows
from bids_ihf.lab.benchmarks.vendors.reference_scans import (
    pool_references,
    scan_reference_subject,
)
from bids_ihf.lab.simulation.anatomy import Anatomy
from bids_ihf.lab.simulation.reference_segmentation import (
    reference_brain_mask,
    reference_segmentation,
)
from bids_ihf.lab.simulation.smooth_fields import random_texture
from bids_ihf.lab.simulation.tissues import SIMULATED_TISSUES
from bids_ihf.lab.simulation.virtual_subject import RegisteredSubject
from bids_ihf.network.checkpoint import load_model
from bids_ihf.targets.build import load_target
from tests.lab.benchmarks.random_comparator import write_comparator

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bids_ihf.lab.benchmarks.tables import Row
    from bids_ihf.lab.benchmarks.virtual_subjects import Slices
    from bids_ihf.network.checkpoint import ModelBundle

PERSON = Path("somebody_dseg.nii.gz")
VENDORS = ("Siemens", "GE")
METHODS = (HISTOGRAM_MATCHING, CURVE_ONLY, CURVE_AND_FIELD, IHF_HARMONY, "CycleGAN")


@pytest.fixture(scope="module")
def model() -> ModelBundle:
    return load_model()


@pytest.fixture(scope="module")
def subject() -> RegisteredSubject:
    """18 mm of nested ellipses: ventricle, white and folded grey matter, CSF, air."""
    shape = (112, 128, 18)
    x, y, _ = np.meshgrid(*(np.arange(n) - (n - 1) / 2 for n in shape), indexing="ij")
    radius = np.hypot(x / 48, y / 55)
    folds = 0.08 * np.sin(x / 4) * np.cos(y / 5)
    shells = [radius < 0.2, radius + folds < 0.7, radius + folds < 0.88, radius < 1]
    names = np.select(shells, ["csf", "white", "grey", "csf"], default="air")
    sharp = np.stack([names == one.name for one in SIMULATED_TISSUES]).astype(np.float32)
    fractions = ndimage.gaussian_filter(sharp, (0, 0.6, 0.6, 0.6), mode="nearest")
    affine = np.eye(4)
    affine[:3, 3] = -np.array(shape) // 2
    anatomy = Anatomy(
        torch.from_numpy(fractions),
        random_texture(shape, np.ones(3), 0),
        affine,
        torch.from_numpy(radius < 0.95),
    )
    brain = reference_brain_mask(anatomy, 2)
    return RegisteredSubject(
        "somebody", anatomy, 0, brain, reference_segmentation(anatomy, brain), np.eye(4), PERSON
    )


@pytest.fixture(scope="module", autouse=True)
def no_bias() -> Iterator[None]:
    """N4 takes seconds a scan."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "bids_ihf.preprocessing.bias_field.bias_field",
            lambda data, *_, **__: np.ones_like(data),
        )
        yield


@pytest.fixture(scope="module")
def references(subject: RegisteredSubject) -> dict[str, Slices]:
    return scan_reference_subject(subject, "T1w", seed=6)


@pytest.fixture(scope="module")
def rows(
    model: ModelBundle,
    subject: RegisteredSubject,
    references: dict[str, Slices],
    tmp_path_factory: pytest.TempPathFactory,
) -> list[Row]:
    known = {
        vendor: VendorKnowledge(
            pool_references([references[vendor]]), load_target(vendor, model).profile("T1w")
        )
        for vendor in VENDORS
    }
    folder = tmp_path_factory.mktemp("weights")
    paths = {
        "CycleGAN": (write_comparator(folder, "cyclegan", model, "T1w"),),
        "T2w alone": (write_comparator(folder, "cgan", model, "T2w"),),
    }
    trained = TrainedMethods(
        {IHF_HARMONY: model}, load_comparators(Weights(comparators=paths), model)
    )
    return evaluate_anatomy(subject, {"T1w": known}, trained, seed=5)


def test_a_row_for_every_ordered_pair_and_method(rows: list[Row]) -> None:
    found = [(row["source"], row["target"], row["method"]) for row in rows]
    assert found == [
        (source, target, method) for source in VENDORS for target in VENDORS for method in METHODS
    ]
    for row in rows:
        assert row["subject"] == "somebody"
        assert set(row) <= set(SUBJECT_COLUMNS)
        same_scanner = row["source"] == row["target"]
        assert np.isfinite(row["own_change_over_repeat"]) == same_scanner
        has_profile = row["method"] == IHF_HARMONY
        assert ("own_scanner_change_over_repeat" in row) == (same_scanner and has_profile)


def test_methods_of_a_pair_share_the_scan_and_differ_in_what_they_make(rows: list[Row]) -> None:
    first = rows[: len(METHODS)]
    for name in ("dice_white_before", "edge_shift_median_repeat", "lesion_kept_target"):
        assert len({row[name] for row in first}) == 1
    assert len({row["own_change_over_repeat"] for row in first}) == len(METHODS)
    # CycleGAN starts at no change: units are mapped linearly, and contrast stays.
    unchanged = first[METHODS.index("CycleGAN")]
    assert unchanged["lesion_kept"] == pytest.approx(1, abs=0.02)
    assert unchanged["edge_shift_p95"] < 0.02


def test_a_phantom_keeps_its_anatomy(rows: list[Row]) -> None:
    for row in rows:
        if row["method"] != IHF_HARMONY:
            continue
        for tissue in ("grey", "white"):
            assert row[f"dice_{tissue}_after"] > row[f"dice_{tissue}_before"] - 0.15
        assert row["edge_shift_median"] < 0.25  # a quarter of a voxel
        assert row["edge_shift_lost"] < 0.05
        assert 0.5 < row["lesion_kept"] < 2
        assert np.isfinite(row["lesion_kept_target"])


def test_reference_slices_are_the_nearest_ones(references: dict[str, Slices]) -> None:
    frame = references["GE"]
    moved = attrs.evolve(frame, z=frame.z + np.resize([-1, 0, 1], frame.z.shape))
    np.testing.assert_array_equal(at_reference_heights(moved).z, frame.z)


def test_truth_is_of_one_grid(subject: RegisteredSubject) -> None:
    truth = ground_truth(subject, np.zeros(subject.brain.shape, dtype=bool))
    assert truth.fractions.shape == (3, *truth.mask.shape)
    assert truth.mask.shape[2] == len(truth.slices)
    inside = truth.fractions.sum(axis=0)[truth.mask]
    assert np.median(inside) == pytest.approx(1, abs=0.01)
    assert not truth.lesion.any()


def test_tables_hold_every_column_and_say_what_it_is(rows: list[Row]) -> None:
    again = [row | {"subject": "another", "lesion_kept": np.nan} for row in rows]
    means = by_pair([*rows, *again])
    assert [row["subjects"] for row in means] == [2] * len(rows)
    assert means[0]["lesion_kept"] == pytest.approx(rows[0]["lesion_kept"])
    for name, table in anatomy_tables(rows, []).items():
        files = table.files(name, {"Benchmark": {"Seed": 5}})
        columns = {
            "anatomy": ANATOMY_COLUMNS,
            "anatomy_methods": METHOD_COLUMNS,
            "anatomy_subjects": SUBJECT_COLUMNS,
            "readout": READOUT_COLUMNS,
        }[name]
        lines = files[f"{name}.tsv"].decode().splitlines()
        assert lines[0].split("\t") == list(columns)
        assert len(lines) == 1 + {"readout": 0, "anatomy_methods": len(METHODS)}.get(
            name, len(rows)
        )
        explained = json.loads(files[f"{name}.json"])
        assert set(explained) == {*columns, "Benchmark"}
        assert all(explained[column]["Description"] for column in columns)


def test_methods_are_summarized_over_pairs_of_different_vendors() -> None:
    def row(source: str, target: str, kept: float, dice: float) -> Row:
        dices = {f"dice_{tissue}_before": 0.5 for tissue in ("grey", "white", "csf")}
        dices |= {f"dice_{tissue}_after": dice for tissue in ("grey", "white", "csf")}
        labels = {"subject": "a", "modality": "T2w", "source": source, "target": target}
        return {
            **labels, **dices, "method": "MURD", "lesion_kept": kept, "lesion_kept_target": 1.5,
            "own_change_over_repeat": 0.4 if source == target else np.nan,
        }  # fmt: skip

    (line,) = by_method([row("x", "y", 1.2, 0.6), row("y", "x", 0.7, 0.5), row("x", "x", 9, 0.9)])
    assert line["dice_csf_change"] == pytest.approx(0.05)
    assert (line["lesion_kept_low"], line["lesion_kept_high"]) == (0.7, 1.2)
    assert line["lesion_deviation"] == pytest.approx(0.25)
    assert line["lesion_deviation_target"] == pytest.approx(0.55)
    assert line["own_change_over_repeat"] == 0.4


def test_embeddings_of_all_scanners(
    model: ModelBundle, subject: RegisteredSubject, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bids_ihf.lab.benchmarks.vendors.readout.OFF_RANGE_SCANNER_COUNT", 1)
    found = embed_subject(subject, model, ("T2w",), seed=5)
    assert [scan.scanner for scan in found] == ["Siemens", "GE", "Philips", "other 1"]
    assert all(scan.statistics.shape[1] == model.encoder.size for scan in found)


def test_rows_of_the_read_out() -> None:
    rng = np.random.default_rng(0)
    sites = dict(zip("abc", rng.normal(size=(3, 20)) * 4, strict=True))
    scans = [
        Embedding(f"p{k}", site, "T1w", (centre + rng.normal(size=(6, 20))).astype(np.float32))
        for k in range(4)
        for site, centre in sites.items()
    ]
    scanner, subject = readout_rows(scans)
    assert set(scanner) == set(READOUT_COLUMNS)
    assert (scanner["told_apart"], subject["told_apart"]) == ("scanner", "person")
    assert scanner["accuracy"] == 1 > subject["accuracy"]
    assert scanner["variance"] > 0.8 > subject["variance"]
    with pytest.raises(ValueError, match="equally often"):
        readout_rows(scans[:-1])
