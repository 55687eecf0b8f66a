"""Known changes of structures, of scanners, and what is made of the volumes."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from attrs import evolve

from bids_ihf.bids.images import SourceImage
from bids_ihf.bids.scanners import normalize_vendor, scanner_label
from bids_ihf.lab.benchmarks.volumetry import age, sites, studies, travelers
from bids_ihf.lab.benchmarks.volumetry.age import OTHER, OWN, TRUTH
from bids_ihf.lab.benchmarks.volumetry.change import NO_CHANGE
from bids_ihf.lab.benchmarks.volumetry.change_tables import change_tables
from bids_ihf.lab.benchmarks.volumetry.image_scanners import GAIN, by_another_scanner
from bids_ihf.lab.benchmarks.volumetry.label_changes import STRUCTURES, change_volume, region_of
from bids_ihf.lab.benchmarks.volumetry.steps import METHODS as STEP_METHODS
from bids_ihf.lab.benchmarks.volumetry.steps import images_by_step, step_tables
from bids_ihf.lab.benchmarks.volumetry.studies import work_folder
from bids_ihf.lab.benchmarks.volumetry.travelers import _segmented
from bids_ihf.lab.benchmarks.volumetry.visits import Harmonizer
from bids_ihf.lab.simulation.label_anatomy import LabelMap
from bids_ihf.targets.profile import Profile
from bids_ihf.targets.target import Target
from bids_ihf.validation.measuring import Findings
from bids_ihf.validation.outcomes import IHF_HARMONY, UNTOUCHED, Outcome
from bids_ihf.validation.results import write_table
from bids_ihf.validation.run import ValidationPlan
from bids_ihf.validation.scans import Study
from tests.anat.test_harmonize import head, target_of, tiny_model

WHITE, VENTRICLE = 2, 4


@pytest.fixture
def brain() -> LabelMap:
    """A ventricle of 20 x 20 x 20 voxels in white matter."""
    labels = np.full((40, 40, 40), WHITE, dtype=np.int16)
    labels[10:30, 10:30, 10:30] = VENTRICLE
    return LabelMap(labels, np.eye(4), np.ones(3))


@pytest.mark.parametrize("percent", [-5.0, -1.0, 2.0, 5.0])
def test_a_structure_changes_by_just_so_many_voxels_along_its_border(
    brain: LabelMap, percent: float
) -> None:
    changed = change_volume(brain, STRUCTURES["lateral ventricles"], percent, seed=1).labels
    assert (changed == VENTRICLE).sum() == 8000 * (1 + percent / 100)
    assert set(np.unique(changed)) == {WHITE, VENTRICLE}
    moved = np.argwhere(changed != brain.labels)
    border = np.abs(moved - 19.5).max(axis=1)
    assert set(border) <= {9.5 if percent < 0 else 10.5}
    again = change_volume(brain, STRUCTURES["lateral ventricles"], percent, seed=1).labels
    other = change_volume(brain, STRUCTURES["lateral ventricles"], percent, seed=2).labels
    assert np.array_equal(changed, again)
    assert not np.array_equal(changed, other)


def test_a_structure_without_a_border_does_not_change(brain: LabelMap) -> None:
    with pytest.raises(ValueError, match="does not show the structure"):
        region_of(brain, STRUCTURES["hippocampus"])
    cortex = LabelMap(np.where(brain.labels == VENTRICLE, 3, WHITE), np.eye(4), np.ones(3))
    with pytest.raises(ValueError, match="0 voxels at the border"):
        change_volume(cortex, STRUCTURES["cortex"], -5, seed=1)


def test_a_region_is_the_structure_and_three_millimetres_around_it(brain: LabelMap) -> None:
    region = region_of(brain, STRUCTURES["lateral ventricles"])
    assert region[7:33, 15, 15].all()
    assert not region[6, 15, 15]
    assert not region[7, 7, 15]  # 4.2 mm from the corner


def visit(changed: str, percent: float, structure: str, measured: float) -> dict[str, object]:
    return {
        "subject": "head-13", "changed": changed, "percent": percent, "setting": "one scanner",
        "method": "untouched", "tool": "segmentation", "structure": structure,
        "first_ml": 50.0, "second_ml": 50 + measured * 0.2, "structure_ml": 20.0,
        "true_percent": percent if changed == structure else 0.0,
    }  # fmt: skip


def test_slope_and_false_change() -> None:
    rows = [
        visit(NO_CHANGE, 0, "cortex", 1.0), visit(NO_CHANGE, 0, "hippocampus", 0.0),
        visit("cortex", -5, "cortex", -3.0), visit("cortex", -5, "hippocampus", 0.5),
        visit("cortex", 5, "cortex", 5.0), visit("cortex", 5, "hippocampus", -0.5),
    ]  # fmt: skip
    table = change_tables(rows)["change"].rows
    cortex, hippocampus = table
    assert cortex["slope"] == pytest.approx(0.8)
    assert cortex["at_no_change"] == pytest.approx(1.0)
    assert np.isnan(cortex["elsewhere"])
    assert hippocampus["elsewhere"] == pytest.approx(0.5)
    # What another structure truly gave to this one's region is no false change.
    rows[3] |= {"true_percent": 0.5}
    rows[5] |= {"true_percent": -0.5}
    assert change_tables(rows)["change"].rows[1]["elsewhere"] == pytest.approx(0)
    assert np.isnan(hippocampus["slope"])


def test_another_scanner_keeps_order_but_neither_units_nor_sharpness() -> None:
    image = np.zeros((40, 40, 40), dtype=np.float32)
    image[5:20, 5:35, 5:35], image[20:35, 5:35, 5:35] = 100, 200
    zooms = np.ones(3)
    changed = by_another_scanner(image, zooms, seed=1)
    assert changed.dtype == np.float32
    assert (changed >= 0).all()
    dark, bright = (np.median(changed[part, 10:30, 10:30]) for part in ([12], [27]))
    assert 1.5 * dark < bright < 1.5 * GAIN * 200
    assert abs(changed[19, 20, 20] / changed[20, 20, 20] - 1) < 0.6  # blurred border
    assert np.array_equal(changed, by_another_scanner(image, zooms, seed=1))
    assert not np.array_equal(changed, by_another_scanner(image, zooms, seed=2))


def test_volumes_of_a_segmenter_are_in_mm3_by_file_name(tmp_path: Path) -> None:
    image = tmp_path / "data/sub-01/ses-1/anat/sub-01_ses-1_T1w.nii.gz"
    image.parent.mkdir(parents=True)
    image.touch()
    program = tmp_path / "segmenter.py"
    program.write_text(
        "import sys\n"
        "open(sys.argv[1], 'w').write('image\\tThalamus\\n%s\\t7.5\\n' % sys.argv[2])\n"
    )
    table = _segmented(program, tmp_path / "data", tmp_path / "volumes.tsv")
    assert table.read_text().splitlines() == [
        "filename\tThalamus", "sub-01_ses-1_T1w.nii.gz\t7500.0",
    ]  # fmt: skip
    program.write_text(program.read_text().replace("7.5", "8.0"))
    os.utime(image, (table.stat().st_mtime - 1,) * 2)
    assert "7500" in _segmented(program, tmp_path / "data", table).read_text()
    os.utime(image, (table.stat().st_mtime + 1,) * 2)  # harmonized again
    assert "8000" in _segmented(program, tmp_path / "data", table).read_text()


def test_age_in_a_study_with_a_changed_scanner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The changed scanner shows 10 % more of everybody's grey matter, which harmonization halves;
    grey matter truly shrinks by 0.3 % of the mean each year."""
    people = 16
    rows = [
        f"P-{number:02d}\t{20 + 3 * number}\t{'MF'[number // 2 % 2]}" for number in range(people)
    ]
    (tmp_path / "participants.tsv").write_text(
        "participant_id\tage\tsex\n" + "\n".join(rows) + "\n"
    )
    (tmp_path / "t1").mkdir()
    for number in range(people):
        data = np.full((4, 4, 4), 100 + number, dtype=np.float32)
        nib.save(nib.Nifti1Image(data, np.eye(4)), tmp_path / f"t1/P-{number:02d}_T1w.nii.gz")
    factors = {UNTOUCHED: 1.1, IHF_HARMONY: 1.05}

    def measured(study: Study, targets: tuple[str, ...], *_: object) -> Findings:
        outcomes = []
        for scan in study.scans:
            number = int(scan.person.removeprefix("P"))
            true = 700 * (1 - 0.003 * 3 * number) + 5 * np.sin(9 * number)
            for method in (UNTOUCHED, IHF_HARMONY):
                factor = factors[method] if scan.scanner == OTHER else 1.0
                volumes = {
                    "tool": {"grey matter": float(true * factor), "CSF": float(300 + number)}
                }
                target = None if method == UNTOUCHED else OWN
                outcomes.append(Outcome(scan, method, target, volumes))
        return Findings(study, targets, tuple(outcomes), ())

    monkeypatch.setattr(age, "measure", measured)
    tables = age.measure_age(age.AgePlan(tmp_path, None, 1, tmp_path / "records"))
    changed = [
        row
        for row in tables["age_volumes"].rows
        if row["scanner"] == OTHER and row["structure"] == "grey matter"
    ]
    bias = {row["method"]: row["bias"] for row in changed}
    assert bias[UNTOUCHED] == pytest.approx(10)
    assert bias[IHF_HARMONY] == pytest.approx(5)
    effects = {
        row["method"]: row["effect"]
        for row in tables["age_effects"].rows
        if row["structure"] == "grey matter" and row["column"] == "age"
    }
    assert effects[TRUTH] == pytest.approx(-0.3 / (1 - 0.0225 * 3), abs=0.03)
    assert set(effects) >= {TRUTH, UNTOUCHED, IHF_HARMONY}
    assert all("age_" in name and table.files(name, {}) for name, table in tables.items())
    links = sorted((tmp_path / "records").glob("*/own/sub-*/anat/*.nii.gz"))
    assert len(links) == people
    assert len(sorted((tmp_path / "records").glob("*/other/sub-*/anat/*.nii.gz"))) == people // 2


@pytest.mark.parametrize("make", [partial(age._changed, seed=1), sites._as_volume])
def test_an_image_whose_writing_was_interrupted_is_made_again(
    make: Callable[[Path, Path, str], SourceImage], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "source.nii.gz"
    nib.save(nib.Nifti1Image(np.ones((8, 8, 1), dtype=np.float32), np.eye(4)), source)

    def interrupt(_stream: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("bids_ihf.io.atomic._flush_to_disk", interrupt)
        with pytest.raises(KeyboardInterrupt):
            make(source, tmp_path / "data", "01")
    assert not list(tmp_path.glob("data/sub-01/anat/*"))
    assert nib.load(make(source, tmp_path / "data", "01").path).get_fdata().any()  # type: ignore[attr-defined]


def test_results_of_other_weights_or_targets_are_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tiny_model(identity=True)
    folder = work_folder(tmp_path, model, 1, "head-1")
    assert folder == work_folder(tmp_path, model, 1, "head-1")
    others = {
        work_folder(tmp_path, model, 2, "head-1"),
        work_folder(tmp_path, evolve(model, hash="other"), 1, "head-1"),
        work_folder(tmp_path, evolve(model, encoder_hash="other"), 1, "head-1"),
    }
    other_target = Target("Siemens", "", {}, hash="other")
    monkeypatch.setattr(studies, "read_target", lambda _path: other_target)
    others.add(work_folder(tmp_path, model, 1, "head-1"))
    assert len(others - {folder}) == 4


def test_travelers_are_on_every_scanner_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = np.zeros((40, 40, 40), dtype=np.int16)
    labels[4:36, 4:36, 4:36], labels[10:30, 10:30, 10:30] = 511, 3
    nib.save(nib.Nifti1Image(labels, np.diag([4.0, 4, 4, 1])), tmp_path / "head-1_dseg.nii.gz")
    plans: list[ValidationPlan] = []

    def measured(plan: ValidationPlan, _workers: object) -> list[Findings]:
        for image in plan.bids_dir.rglob("*_T1w.nii.gz"):
            copy = plan.out_dir / "harmonized" / image.relative_to(plan.bids_dir)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.symlink_to(image)
        return []

    def written(_findings: list[Findings], plan: ValidationPlan) -> None:
        plans.append(plan)
        for name in ("volumes", "pairs", "probes"):
            write_table(plan.out_dir, name, [])

    monkeypatch.setattr(travelers, "measure_dataset", measured)
    monkeypatch.setattr(travelers, "write_results", written)
    program = tmp_path / "segmenter.py"
    program.write_text(
        "import sys\n"
        "lines = ['image\\tThalamus', *(image + '\\t7.5' for image in sys.argv[2:])]\n"
        "open(sys.argv[1], 'w').write('\\n'.join(lines))\n"
    )
    plan = travelers.TravelersPlan(tmp_path, ("head-1",), 1, program, 1, tmp_path / "records")
    tables = travelers.measure_travelers(plan)
    assert list(tables) == ["travelers_volumes", "travelers_pairs", "travelers_probes"]
    assert tables["travelers_volumes"].columns["avdp"].units == "%"
    images = sorted(plans[0].bids_dir.glob("sub-head1/ses-*/anat/*_T1w.nii.gz"))
    assert len(images) == 6
    assert [plan.volumes_before is None for plan in plans] == [True, False]
    for table in (plans[1].volumes_before, plans[1].volumes_after):
        assert table is not None
        assert len(table.read_text().splitlines()) == 1 + 6
    first, second = (nib.load(image).get_fdata() for image in images[:2])  # type: ignore[attr-defined]
    assert first.shape == second.shape
    assert not np.array_equal(first, second)
    scanners = [scanner_of(image) for image in images]
    assert len(set(scanners)) == 3
    assert scanners[0] == scanners[1]


def scanner_of(image: Path) -> str | None:
    sidecar = json.loads(image.with_name(image.name.replace(".nii.gz", ".json")).read_text())
    return scanner_label(sidecar, normalize_vendor(sidecar["Manufacturer"]))


class _Known(Harmonizer):
    """To another head, from a scanner nobody knows."""

    def target(self) -> Profile:
        return target_of(head(seed=1, gamma=1.5), self.model)

    def source(self, vendor: str) -> None:
        return None


def test_the_last_step_is_the_whole_method() -> None:
    scan = head(gain=300)
    harmonizer = _Known(tiny_model(identity=False), np.arange(1, 100, dtype=np.float32), (0, 99))
    images = images_by_step(scan, "GE", harmonizer)
    assert set(images) == set(STEP_METHODS)
    whole = harmonizer.harmonize([scan], "GE")
    inside = scan.mask & (whole > 0)
    np.testing.assert_allclose(images["ihf-harmony"][inside], whole[inside], rtol=1e-5)
    for earlier, later in zip(list(images)[:-1], list(images)[1:], strict=True):
        assert np.abs(images[later] - images[earlier])[inside].mean() > 1e-3 * whole.max()


def test_false_change_by_step() -> None:
    row = {"tool": "Atropos", "structure": "cortex", "method": "curve", "first_ml": 100.0}
    tables = step_tables([row | {"second_ml": 104.0}, row | {"second_ml": 98.0}])
    (summary,) = tables["steps"].rows
    assert summary["false_percent"] == pytest.approx(3)
    assert summary["mean_percent"] == pytest.approx(1)
    assert summary["pairs"] == 2
