"""Subjects, cases and methods of the vendor benchmark, on a small phantom."""

from __future__ import annotations

from itertools import permutations
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import numpy as np
import pytest

from bids_ihf.errors import BadData, UsageError
from bids_ihf.lab.benchmarks.vendors import worker
from bids_ihf.lab.benchmarks.vendors.cases import OFF_RANGE_GROUP, SAME_SCANNER, cases_of
from bids_ihf.lab.benchmarks.vendors.methods import (
    CURVE_AND_FIELD,
    CURVE_ONLY,
    HISTOGRAM_MATCHING,
    IHF_HARMONY,
    IHF_VENDOR_UNKNOWN,
    NO_HARMONIZATION,
    REPEAT_SCAN,
    SPECTRUM_SWAPPING,
    TRUE_SCAN_MATCHING,
    baseline_names,
    run_baseline,
    run_networks,
)
from bids_ihf.lab.benchmarks.vendors.metrics import image_metrics
from bids_ihf.lab.benchmarks.vendors.plan import Plan, Weights, check_plan, file_hashes
from bids_ihf.lab.benchmarks.vendors.reference_scans import PooledReference, pool_references
from bids_ihf.lab.benchmarks.vendors.worker import evaluate_subject, scan_reference
from bids_ihf.lab.benchmarks.virtual_subjects import (
    FIRST_SEED,
    Slices,
    measured_slices,
    off_range_scanners,
    resample_to,
    seed_of,
    select_slices,
    traveling_scans,
    vendor_scanners,
)
from bids_ihf.lab.simulation.reference_segmentation import reference_segmentation
from bids_ihf.lab.simulation.virtual_subject import RegisteredSubject, scan_subject
from bids_ihf.network.checkpoint import load_model
from bids_ihf.targets.target import BUILTIN_VENDORS
from tests.lab.benchmarks.random_comparator import write_comparator

if TYPE_CHECKING:
    from collections.abc import Callable

    from bids_ihf.lab.simulation.anatomy import Anatomy

RNG = np.random.default_rng(5)


def phantom(zoom: float, scale: float = 1.0) -> Anatomy:
    """A slab of nested ellipses, 12 mm thick: ventricle, white and grey matter, CSF, air."""
    import torch

    from bids_ihf.lab.simulation.anatomy import Anatomy
    from bids_ihf.lab.simulation.smooth_fields import random_texture
    from bids_ihf.lab.simulation.tissues import SIMULATED_TISSUES

    shape = (round(92 / zoom), round(104 / zoom), round(12 / zoom))
    axes = [(np.arange(n) - (n - 1) / 2) * zoom for n in shape]
    x, y, _ = np.meshgrid(*axes, indexing="ij")
    radius = np.hypot(x / (40 * scale), y / (46 * scale))
    folds = 0.05 * np.sin(x / 3) * np.cos(y / 4)
    shells = [radius < 0.2, radius + folds < 0.65, radius < 0.9, radius < 1]
    names = np.select(shells, ["csf", "white", "grey", "csf"], default="air")
    fractions = np.stack([names == one.name for one in SIMULATED_TISSUES]).astype(np.float32)
    affine = np.diag([zoom, zoom, zoom, 1.0])
    affine[:3, 3] = [axis[0] for axis in axes]
    affine[:3, 3] = np.round(affine[:3, 3])
    grain = random_texture((shape[0], shape[1], shape[2]), np.full(3, zoom), 0)
    return Anatomy(torch.from_numpy(fractions), grain, affine, torch.from_numpy(radius < 0.9))


def virtual_subject(zoom: float, scale: float = 1.0) -> RegisteredSubject:
    anatomy = phantom(zoom, scale)
    brain = anatomy.brain.numpy()
    segmentation = reference_segmentation(anatomy, brain)
    return RegisteredSubject(
        "phantom", anatomy, 0, brain, segmentation, np.eye(4), Path("phantom.nii.gz")
    )


@pytest.fixture(autouse=True)
def no_bias(monkeypatch: pytest.MonkeyPatch) -> None:
    """N4 takes seconds a scan."""
    monkeypatch.setattr(
        "bids_ihf.preprocessing.bias_field.bias_field", lambda data, *_, **__: np.ones_like(data)
    )


def slices(data: np.ndarray, corner: tuple[int, int] = (0, 0), z: int = 0) -> Slices:
    at = z + 3 * np.arange(data.shape[2])
    return Slices(data.astype(np.float32), data > 0, at, corner)


def test_seeds_differ_and_are_never_those_of_training() -> None:
    seeds = [seed_of(1, name, word) for name in ("a", "b") for word in ("x", "y")]
    assert len(set(seeds)) == len(seeds)
    assert min(seeds) >= FIRST_SEED
    assert seed_of(1, "a", "x") == seeds[0] != seed_of(2, "a", "x")


def test_scanners_differ_between_subjects() -> None:
    for draw in (vendor_scanners, off_range_scanners):
        first, second = (draw(name, "T1w", 1) for name in ("a", "b"))
        assert first == draw("a", "T1w", 1)
        assert all(first[name] != second[name] for name in first)


@pytest.mark.usefixtures("no_bias")
def test_a_repeat_scan_has_fresh_noise_only() -> None:
    from bids_ihf.lab.simulation.acquisition import scan

    scanner = vendor_scanners("a", "T1w", 1)["GE"]
    quiet = attrs.evolve(scanner, noise=0.0)
    anatomy = phantom(4.0)
    assert np.array_equal(scan(anatomy, quiet, 1), scan(anatomy, quiet, 2))
    found = traveling_scans(virtual_subject(4.0), "T1w", 1)
    assert set(found) == {
        *BUILTIN_VENDORS,
        *(f"{v} again" for v in BUILTIN_VENDORS),
        *(f"{v} site" for v in BUILTIN_VENDORS),
        "off-range 1",
        "off-range 2",
    }
    one, two = found["GE"], found["GE again"]
    assert np.array_equal(one.grid.affine, two.grid.affine)
    assert not np.array_equal(one.data, two.data)
    assert np.corrcoef(one.data[one.brain], two.data[two.brain])[0, 1] > 0.9


def test_scans_are_corrected_for_bias_and_calibrated(monkeypatch: pytest.MonkeyPatch) -> None:
    field = "bids_ihf.preprocessing.bias_field.bias_field"
    scanner = vendor_scanners("a", "T1w", 1)["GE"]

    def scanned(bias: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        monkeypatch.setattr(field, lambda data, *_, **__: bias(data))
        found = scan_subject(virtual_subject(4.0), scanner, 1)
        return found.data[found.brain]

    plain = scanned(np.ones_like)
    # A bias that is a gain alone is taken out; one that doubles from side to side is not.
    np.testing.assert_allclose(scanned(lambda x: np.full_like(x, 2)), plain, rtol=1e-5)
    ramp = scanned(lambda x: np.ones_like(x) * np.linspace(1, 2, len(x))[:, None, None])
    assert np.abs(ramp / plain - 1).max() > 0.1


@pytest.mark.usefixtures("no_bias")
def test_measured_slices_have_the_same_coordinates_in_all_subjects() -> None:
    found = scan_subject(virtual_subject(2.0), vendor_scanners("a", "T1w", 1)["GE"], 1)
    chosen = measured_slices(found)
    assert set(found.z[chosen] % 3) == {0}
    assert len(chosen) == pytest.approx(found.brain.any(axis=(0, 1)).sum() / 3, abs=1)
    assert found.brain[:, :, chosen].any(axis=(0, 1)).all()


def test_slices_are_resampled_by_their_coordinates() -> None:
    frame = slices(np.ones((4, 5, 2)), corner=(10, 20), z=0)
    other = slices(np.arange(1.0, 25).reshape(3, 4, 2), corner=(11, 18), z=3)
    found = resample_to(other, frame)
    assert not found[:, :, 0].any()
    assert np.array_equal(found[1:4, 0:2, 1], other.data[:, 2:4, 0])
    assert found.sum() == other.data[:, 2:4, 0].sum()


def test_cases_are_complete() -> None:
    cases = [case for target in BUILTIN_VENDORS for case in cases_of(target)]
    pairs = [(case.source, case.target) for case in cases if not case.same_scanner]
    assert set(permutations(BUILTIN_VENDORS, 2)) <= set(pairs)
    for vendor in BUILTIN_VENDORS:
        assert pairs.count((OFF_RANGE_GROUP, vendor)) == 2
        # A vendor's other scanners are not its typical one, so they are harmonized, too.
        assert pairs.count((vendor, vendor)) == 1
    same = [case for case in cases if case.same_scanner]
    assert [case.scanner for case in same] == list(BUILTIN_VENDORS)
    assert {case.vendor for case in cases} == {*BUILTIN_VENDORS, None}
    assert len(cases) == len(set(cases)) == 18


def test_metrics_in_separate_ranges_are_independent_of_units() -> None:
    data = RNG.uniform(0.2, 1, (170, 180, 2))
    truth = slices(data)
    found = image_metrics(50 * data.astype(np.float32), truth)
    assert found["rmse"] > 0.3
    assert found["rmse_own"] < 1e-6
    same = image_metrics(truth.data, truth)
    assert same["rmse"] == same["rmse_own"] == 0
    assert same["psnr_own"] == np.inf


def test_small_slices_keep_five_scales(caplog: pytest.LogCaptureFixture) -> None:
    truth = slices(RNG.uniform(0.2, 1, (40, 61, 2)))
    assert image_metrics(truth.data, truth)["ms_ssim"] == pytest.approx(1)
    assert not caplog.records


def test_the_frame_is_the_brains_box() -> None:
    image = np.zeros((200, 260, 1), dtype=np.float32)
    image[10:160, 60:240] = RNG.uniform(0.5, 1, (150, 180, 1))
    truth = slices(image)
    wrong = image.copy()
    wrong[:, :40] = 1  # far from the brain: out of the frame
    assert image_metrics(wrong, truth) == image_metrics(image, truth)
    wrong[:, 55:60] = 1
    found = image_metrics(wrong, truth)
    assert found["rmse"] == 0 < found["rmse_frame"]
    fraction = 5 * 164 / (164 * 194)
    assert found["rmse_frame"] == pytest.approx(np.sqrt(fraction), rel=1e-3)


def references(*gains: float) -> PooledReference:
    image = RNG.gamma(9.0, 10.0, (40, 40, 3))
    return pool_references([slices(gain * image) for gain in gains])


def test_references_pool_every_subject() -> None:
    found = references(0.8, 1, 1.3)
    assert len(found.pooled) == 3 * 1200
    highs = [np.percentile(voxels, 99.9) for voxels in found.voxels]
    assert found.high == pytest.approx(np.median(highs), rel=0.05)


@pytest.mark.parametrize("name", baseline_names())
def test_baselines_end_in_the_units_of_the_target(name: str) -> None:
    reference = references(1, 1)
    source = slices(reference.slices.data * 7)
    found = run_baseline(name, source, reference)
    assert found.shape == source.data.shape
    target = reference.slices.data
    assert np.median(found) == pytest.approx(np.median(target), rel=0.1)
    if name != SPECTRUM_SWAPPING:  # most of its frequencies remain those of the source
        assert np.corrcoef(found.ravel(), target.ravel())[0, 1] > 0.99


def test_networks_give_what_the_product_gives() -> None:
    from bids_ihf.anat.harmonize import harmonize
    from bids_ihf.lab.simulation.acquisition import scan
    from bids_ihf.targets.build import load_target
    from bids_ihf.targets.network_input import to_network_input

    one = virtual_subject(1.0)  # on the network's grid: nothing is interpolated
    image = scan(one.anatomy, vendor_scanners("a", "T1w", 1)["GE"], 1)
    prepared = one.prepared(image)
    model = load_model()
    profile = load_target("Siemens", model).profile("T1w")
    on_grid = to_network_input(prepared)
    found = run_networks(on_grid, profile, {IHF_HARMONY: model})
    product = attrs.evolve(prepared.volume, data=harmonize(prepared, profile, model).image)
    expected = to_network_input(attrs.evolve(prepared, volume=product)).data
    inside = select_slices(on_grid).mask
    chosen = measured_slices(on_grid)
    assert np.allclose(found[IHF_HARMONY][inside], expected[:, :, chosen][inside], rtol=1e-4)
    assert not np.allclose(found[CURVE_ONLY][inside], found[IHF_HARMONY][inside], rtol=1e-2)


@pytest.mark.usefixtures("no_bias")
def test_one_subject(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    sizes = {"tested": 1.0, "reference": 0.9}
    monkeypatch.setattr(
        worker, "load_test_subject", lambda _, name, __: virtual_subject(3.0, sizes[name])
    )
    comparator = write_comparator(tmp_path, "cyclegan", load_model(), "T2w")
    plan = Plan(
        Path("labels"), subjects=("tested",), references=("reference",), modalities=("T2w",),
        weights=Weights(comparators={"CycleGAN": (comparator,)}),
    )  # fmt: skip
    scans = scan_reference(plan, "reference", "T2w")
    references = {vendor: pool_references([scans[vendor]]) for vendor in BUILTIN_VENDORS}
    rows, panels = evaluate_subject(plan, "tested", "T2w", references)
    all_methods = {
        NO_HARMONIZATION,
        *baseline_names(),
        CURVE_ONLY,
        CURVE_AND_FIELD,
        IHF_HARMONY,
        TRUE_SCAN_MATCHING,
        REPEAT_SCAN,
    }
    for target in BUILTIN_VENDORS:
        for case in cases_of(target):
            of_case = [r for r in rows if (r["scanner"], r["target"]) == (case.scanner, target)]
            expected = set(all_methods)
            if case.same_scanner:
                expected = all_methods & {
                    NO_HARMONIZATION, CURVE_ONLY, CURVE_AND_FIELD, IHF_HARMONY, REPEAT_SCAN
                }  # fmt: skip
            if case.source != OFF_RANGE_GROUP:
                expected |= {IHF_VENDOR_UNKNOWN, "CycleGAN"}
            assert {row["method"] for row in of_case} == expected
            if case.same_scanner:
                assert of_case[0]["rmse"] == 0
    mean = {m: np.mean([r["rmse"] for r in rows if r["method"] == m]) for m in all_methods}
    assert mean[REPEAT_SCAN] < mean[TRUE_SCAN_MATCHING] < mean[NO_HARMONIZATION]
    assert mean[HISTOGRAM_MATCHING] < mean[NO_HARMONIZATION]
    assert {panel.source for panel in panels} == {
        *BUILTIN_VENDORS, OFF_RANGE_GROUP, SAME_SCANNER
    }  # fmt: skip
    assert all(panel.counts[IHF_HARMONY].sum() > 0 for panel in panels)


def label_maps(folder: Path, *names: str) -> Path:
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / f"{name}_dseg.nii.gz").write_bytes(b"")
    return folder


def test_plans_that_cannot_be(tmp_path: Path) -> None:
    labels = label_maps(tmp_path / "labels", "a", "b")
    good = Plan(labels, subjects=("a",), references=("b",))
    check_plan(good)
    with pytest.raises(BadData, match="c_dseg"):
        check_plan(attrs.evolve(good, subjects=("a", "c")))
    with pytest.raises(UsageError, match="b is in"):
        check_plan(attrs.evolve(good, subjects=("a", "b")))
    with pytest.raises(UsageError, match=REPEAT_SCAN):
        check_plan(attrs.evolve(good, weights=Weights(networks={REPEAT_SCAN: None})))
    with pytest.raises(BadData, match="no label maps"):
        check_plan(attrs.evolve(good, labels=label_maps(tmp_path / "empty")))


def test_subjects_of_the_training_are_refused() -> None:
    plan = Plan(Path("labels"), subjects=("head-13", "head-02"))
    with pytest.raises(UsageError, match="head-02 was in the training"):
        file_hashes(plan)
    found = file_hashes(attrs.evolve(plan, subjects=("head-13",)))
    assert set(found) == {
        "encoder",
        IHF_HARMONY,
        *(f"target {vendor}" for vendor in BUILTIN_VENDORS),
    }
