"""Rows of comparators that were trained, in both benchmarks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from bids_ihf.errors import UsageError
from bids_ihf.geometry.grid import Grid
from bids_ihf.lab.benchmarks.travellers.methods import copy_references
from bids_ihf.lab.benchmarks.travellers.scans import Travel, TravelScan
from bids_ihf.lab.benchmarks.vendors.methods import run_comparators, target_scan
from bids_ihf.lab.benchmarks.vendors.plan import (
    Plan,
    Weights,
    check_plan,
    file_hashes,
    load_comparators,
)
from bids_ihf.lab.benchmarks.vendors.results import command_line
from bids_ihf.lab.benchmarks.virtual_subjects import Slices, measured_slices, select_slices
from bids_ihf.network.checkpoint import ModelBundle, load_model
from bids_ihf.targets.intensity import robust_scale
from bids_ihf.targets.network_input import NetworkInput, measure_profile
from tests.lab.benchmarks.random_comparator import write_comparator

if TYPE_CHECKING:
    from bids_ihf.lab.comparators.learned.kinds import ComparatorKind

SHAPE = (44, 52, 12)


@pytest.fixture(scope="module")
def model() -> ModelBundle:
    return load_model()


def scan(gain: float, seed: int, modality: str = "T1w") -> NetworkInput:
    """A brain of blocks, on the network's grid."""
    rng = np.random.default_rng(seed)
    blocks = np.kron(rng.uniform(0.4, 1, (11, 13, 12)), np.ones((4, 4, 1)))
    mask = np.zeros(SHAPE, np.float32)
    mask[6:-6, 6:-6, 1:-1] = 1
    data = (gain * blocks * mask).astype(np.float32)
    affine = np.eye(4)
    affine[2, 3] = 3
    return NetworkInput(
        data, mask, Grid(SHAPE, affine), robust_scale(data, mask > 0.5), None, modality
    )


def test_only_comparators_of_the_modality_and_the_sites_have_rows(
    model: ModelBundle, tmp_path: Path
) -> None:
    paths = {
        "MURD": tuple(write_comparator(tmp_path, "murd", model, m) for m in ("T1w", "T2w")),
        "CycleGAN": (write_comparator(tmp_path, "cyclegan", model, "T1w"),),
        "T2w alone": (write_comparator(tmp_path, "cgan", model, "T2w"),),
    }
    comparators = load_comparators(Weights(comparators=paths), model)
    source, reference = scan(100, 1), scan(700, 2)
    slices = measured_slices(source)
    frame: Slices = select_slices(source)
    profile = measure_profile(reference, model.encoder)
    target = target_scan("GE", select_slices(reference), profile, frame)
    np.testing.assert_array_equal(target.data, select_slices(reference).data)
    known = run_comparators(source, slices, target, comparators, "Siemens")
    assert set(known) == {"MURD", "CycleGAN"}
    assert all(image.shape == frame.data.shape for image in known.values())
    assert set(run_comparators(source, slices, target, comparators)) == {"MURD"}
    # CycleGAN starts at no change, in the range of the target.
    inside = frame.mask
    mapped = profile.scale.restore(source.scale.normalize(frame.data))
    np.testing.assert_allclose(known["CycleGAN"][inside], mapped[inside], rtol=0.02)


def test_travellers_are_for_comparators_that_copy_a_reference(
    model: ModelBundle, tmp_path: Path
) -> None:
    kinds: tuple[ComparatorKind, ...] = ("murd", "hierarchy-flow", "ihf-printed")
    paths = {kind: (write_comparator(tmp_path, kind, model, "T1w"),) for kind in kinds}
    comparators = load_comparators(Weights(comparators=paths), model)
    scans = [
        TravelScan(name, scanner, "T1w", one, measure_profile(one, model.encoder))
        for name, scanner, one in (
            ("1", "a", scan(100, 1)), ("1", "b", scan(500, 1)), ("2", "b", scan(500, 2)),
        )
    ]  # fmt: skip
    travel = Travel(scans[0], scans[1], (scans[2],), ())
    images = copy_references(travel, scans[2].profile, comparators)
    assert set(images) == {"hierarchy-flow", "ihf-printed"}
    for image in images.values():
        assert image.shape == (*SHAPE[:2], len(travel.slices))
        assert np.isfinite(image).all()
    assert len(measured_slices(scans[0].on_grid))


def test_plans_name_and_check_comparators(model: ModelBundle, tmp_path: Path) -> None:
    path = write_comparator(tmp_path, "cgan", model, "T1w", person="head-13")
    weights = Weights(comparators={"cGAN": (path,)})
    plan = Plan(Path("labels"), subjects=("head-13",), weights=weights)
    with pytest.raises(UsageError, match="head-13 was in the training of cGAN"):
        file_hashes(plan)
    assert f"--comparator 'cGAN={path.name}'" in command_line(plan)
    labels = tmp_path / "labels"
    labels.mkdir()
    for name in ("a", "b"):
        (labels / f"{name}_dseg.nii.gz").write_bytes(b"")
    clash = Plan(labels, ("a",), ("b",), weights=Weights(comparators={"z-score": (path,)}))
    with pytest.raises(UsageError, match="z-score: another method"):
        check_plan(clash)
