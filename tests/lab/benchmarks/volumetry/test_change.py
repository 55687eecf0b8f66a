"""Changes between two visits, on a head whose scans show its CSF and nothing else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from attrs import evolve

from bids_ihf.lab.benchmarks.volumetry import change, visits
from bids_ihf.lab.benchmarks.volumetry.change import (
    HARMONY,
    LONGITUDINAL,
    MATCHING,
    NO_CHANGE,
    ONE_SCANNER,
    TWO_SCANNERS,
    UNTOUCHED,
    ChangePlan,
    measure_changes,
)
from bids_ihf.lab.benchmarks.volumetry.label_changes import STRUCTURES, region_of
from bids_ihf.lab.benchmarks.volumetry.visits import Harmonizer, Head
from bids_ihf.lab.simulation.anatomy import crop_to_brain
from bids_ihf.lab.simulation.label_anatomy import LabelMap, anatomy_of
from bids_ihf.lab.simulation.scanner import Scanner
from bids_ihf.lab.simulation.vendor_scanners import typical_scanner
from bids_ihf.lab.simulation.virtual_subject import RegisteredSubject
from bids_ihf.preprocessing.prepare import Prepared
from tests.anat.test_harmonize import head as any_head
from tests.anat.test_harmonize import tiny_model

VENTRICLES = "lateral ventricles"
GE_GAIN = 1.2
"""How much brighter the simulated GE scanner shows CSF."""


class _Head(Head):
    """A head whose CSF is measured as the sum of an image."""

    def volumes(self, image: np.ndarray) -> visits.Volumes:
        voxel_ml = abs(np.linalg.det(self.subject.anatomy.affine)) / 1000
        sums = {name: float(image[region].sum()) for name, region in self.regions.items()}
        return {"sum": {name: value * voxel_ml for name, value in sums.items()}}


class _Harmonizer(Harmonizer):
    """Takes the gain of GE away; one mapping of two visits leaves them as they are."""

    def match(self, prepared: Prepared) -> np.ndarray:
        return prepared.volume.data / 2

    def harmonize(self, visits: list[Prepared], vendor: str, index: int = 0) -> np.ndarray:
        gain = GE_GAIN if vendor == "GE" else 1.0
        return visits[index].volume.data / gain


def read_head(_labels: Path, name: str, structures: tuple[str, ...], seed: int) -> _Head:
    """Ventricles of 24 x 24 x 24 mm in white matter, in a cube of soft tissue."""
    labels = np.zeros((48, 48, 48), dtype=np.int16)
    labels[4:44, 4:44, 4:44], labels[8:40, 8:40, 8:40], labels[18:30, 18:30, 18:30] = 511, 2, 4
    label_map = LabelMap(labels, np.diag([2.0, 2, 2, 1]), np.full(3, 2.0))
    anatomy = crop_to_brain(anatomy_of(label_map, seed=seed))
    subject = RegisteredSubject(
        name, anatomy, seed, anatomy.brain.numpy(), any_head().segmentation, np.eye(4), Path(name)
    )
    start = np.rint(anatomy.affine[:3, 3] / 2).astype(int)
    box = tuple(slice(low, low + n) for low, n in zip(start, anatomy.shape, strict=True))
    return _Head(
        subject, label_map, {s: region_of(label_map, STRUCTURES[s])[box] for s in structures}
    )


@pytest.fixture
def scans(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the heads that were scanned, one for each scan."""
    scanned: list[str] = []

    def scan(subject: RegisteredSubject, scanner: Scanner, _noise_seed: int) -> Prepared:
        scanned.append(subject.name)
        return subject.prepared(np.float32(scanner.units) * subject.anatomy.fraction("csf"))

    def scanner(vendor: str, *_: str, seed: int) -> Scanner:
        units = GE_GAIN if vendor == "GE" else 1.0
        return evolve(typical_scanner(vendor, "T1w", seed), units=units)

    monkeypatch.setattr(change, "volumetric_scanner", scanner)
    monkeypatch.setattr(change, "read_head", read_head)
    monkeypatch.setattr(change, "scan_corrected", scan)
    harmonizer = _Harmonizer(tiny_model(identity=True), np.ones(2, np.float32), (0, 1))
    monkeypatch.setattr(visits, "harmonizer_of", lambda *_: harmonizer)
    return scanned


def plan_of(folder: Path, references: tuple[str, ...] = ("head-2",)) -> ChangePlan:
    return ChangePlan(folder, ("head-1",), references, 1, folder, (VENTRICLES,), (-5.0,))


def test_what_changed_is_measured_by_scanner_and_method(tmp_path: Path, scans: list[str]) -> None:
    rows = measure_changes(plan_of(tmp_path))
    measured = {
        (row["setting"], row["method"], row["changed"]): (
            100 * (row["second_ml"] - row["first_ml"]) / row["structure_ml"]
        )
        for row in rows
    }
    assert len(measured) == len(rows) == 2 * (4 + 3)  # one mapping for one scanner alone
    truth = {row["changed"]: row["true_percent"] for row in rows}
    assert truth[NO_CHANGE] == 0
    assert truth[VENTRICLES] == pytest.approx(-5, abs=0.1)
    for method, share in ((UNTOUCHED, 1.0), (MATCHING, 0.5), (HARMONY, 1.0), (LONGITUDINAL, 1.0)):
        recovered = measured[ONE_SCANNER, method, VENTRICLES]
        assert recovered == pytest.approx(share * truth[VENTRICLES], abs=1e-3)
        assert measured[ONE_SCANNER, method, NO_CHANGE] == pytest.approx(0, abs=1e-3)
    assert measured[TWO_SCANNERS, UNTOUCHED, NO_CHANGE] == pytest.approx(20, abs=0.5)
    assert measured[TWO_SCANNERS, HARMONY, NO_CHANGE] == pytest.approx(0, abs=1e-3)
    assert len(scans) == 5  # the first visit, and two scanners for each second one


def test_a_visit_on_record_is_not_measured_again(tmp_path: Path, scans: list[str]) -> None:
    rows = measure_changes(plan_of(tmp_path))
    scans.clear()
    assert measure_changes(plan_of(tmp_path)) == rows
    assert not scans
    (record,) = tmp_path.glob("*/head-1-lateral-ventricles-5.json")
    record.unlink()
    assert measure_changes(plan_of(tmp_path)) == rows
    assert len(scans) == 3
    measure_changes(plan_of(tmp_path, references=("head-3",)))
    assert len(scans) == 3 + 5
