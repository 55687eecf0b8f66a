"""A diffusion series on its way through the two steps; what stops it is said in one sentence."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nibabel
import numpy as np
import pytest
from attrs import evolve

from bids_ihf.bids.images import SourceImage
from bids_ihf.bids.scans_table import read_scans_table
from bids_ihf.config import RunConfig
from bids_ihf.dwi import series, series_fit
from bids_ihf.dwi.mean_b0 import SeriesFiles, mean_b0_image
from bids_ihf.dwi.shell_plan import relative_exponent
from bids_ihf.errors import BadData
from bids_ihf.geometry.grid import Grid
from bids_ihf.io.nifti import read_volume
from bids_ihf.io.series import open_series
from bids_ihf.lab.simulation.gradient_scheme import fsl_text, gradient_table
from bids_ihf.pipeline import worker
from bids_ihf.pipeline.job import Job, ResolvedTarget
from bids_ihf.pipeline.plan import plan
from bids_ihf.pipeline.restore import restore
from bids_ihf.reports.figures import FIGURE_DESCS, figure_name
from bids_ihf.targets.diffusion_profile import DiffusionProfile, ShellProfile
from bids_ihf.targets.intensity import background_gain
from bids_ihf.targets.target import Target

RESOLVED = ResolvedTarget("GE", "GE", "t", "ihf", "m", "b", ("T1w",), "d-hash")
SCHEME = gradient_table({0: 2, 1000: 12}, 4)
SIDE = 16
TARGET = DiffusionProfile((900.0, 2500.0), 30.0, (ShellProfile(1000.0, 0.66e-3, 0.8e-3, 1e-4),))
STEM = "sub-1/dwi/sub-1_dwi"
TURN = np.array([[0.0, -1, 0, 5], [1, 0, 0, 2], [0, 0, 1, -3], [0, 0, 0, 1]])
"""A quarter turn about the axis of the body, and a shift."""


def ball() -> np.ndarray:
    """A head of tissue round a ventricle, in noisy air (X, Y, Z, N)."""
    rng = np.random.default_rng(3)
    axis = np.arange(SIDE) - (SIDE - 1) / 2
    radius = np.sqrt(sum(a**2 for a in np.meshgrid(axis, axis, axis, indexing="ij")))
    level = np.select([radius < 3, radius < 7], [1200.0, 500.0], 0.0)
    md = np.where(radius < 3, 3e-3, 0.7e-3)
    tilt = rng.uniform(0, 1e-3, md.shape) * (radius >= 3)
    out = np.empty((*md.shape, len(SCHEME)))
    for number, (b, g) in enumerate(zip(SCHEME.bvals, SCHEME.bvecs, strict=True)):
        clean = level * np.exp(-b * (md + tilt * (g[0] ** 2 - 1 / 3)))
        out[..., number] = np.hypot(clean + rng.normal(0, 6, md.shape), rng.normal(0, 6, md.shape))
    return out


@pytest.fixture
def root(tmp_path: Path) -> Path:
    path = tmp_path / "bids" / f"{STEM}.nii.gz"
    path.parent.mkdir(parents=True)
    save(path, ball())
    for extension, content in zip(("bval", "bvec"), fsl_text(SCHEME), strict=True):
        path.with_name(f"sub-1_dwi.{extension}").write_bytes(content)
    return tmp_path / "bids"


def save(path: Path, data: np.ndarray, affine: np.ndarray | None = None) -> None:
    place = np.diag([-3.0, 3, 3, 1]) if affine is None else affine
    nibabel.save(nibabel.Nifti1Image(data.astype(np.float32), place), path)


def image_of(root: Path) -> SourceImage:
    path = root / f"{STEM}.nii.gz"
    tables = (path.with_name(f"sub-1_dwi.{kind}") for kind in ("bval", "bvec"))
    bval, bvec = (table if table.exists() else None for table in tables)
    return evolve(SourceImage.from_path(path, root), bval=bval, bvec=bvec)


def files_of(root: Path) -> SeriesFiles:
    image = image_of(root)
    return SeriesFiles(image.path, image.bval, image.bvec)


def stand_in(root: Path) -> Path:
    with mean_b0_image(files_of(root), root) as path:
        return path


def test_mean_of_the_unweighted_volumes_stands_in(root: Path) -> None:
    found = read_volume(stand_in(root))
    data = nibabel.load(root / f"{STEM}.nii.gz").get_fdata()
    assert np.allclose(found.data, data[..., SCHEME.bvals == 0].mean(axis=-1), rtol=1e-5)
    assert np.array_equal(found.affine, np.diag([-3.0, 3, 3, 1]))


def test_trouble_with_the_stand_in_is_told_of_the_series(root: Path) -> None:
    with (
        pytest.raises(BadData, match=r"sub-1_dwi\.nii\.gz: no brain"),
        mean_b0_image(files_of(root), root) as path,
    ):
        raise BadData(f"{path}: no brain.")


def spoil(change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Path], None]:
    def spoiled(root: Path) -> None:
        path = root / f"{STEM}.nii.gz"
        save(path, change(nibabel.load(path).get_fdata()))

    return spoiled


def with_nan(data: np.ndarray) -> np.ndarray:
    data[2, 2, 2, 5] = np.nan
    return data


def without_slices(data: np.ndarray) -> np.ndarray:
    data[:, :, 4:6, 7] = 0
    return data


def write(name: str, text: str) -> Callable[[Path], None]:
    return lambda root: (root / f"{STEM}.{name}").write_text(text) and None


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (spoil(with_nan), "1 voxels of volume 6 are NaN or infinite"),
        (spoil(without_slices), "volume 8 has 2 empty slices where others have signal"),
        (spoil(lambda data: data[..., 0]), "a single volume"),
        (spoil(lambda data: data[..., :1]), "a single volume"),
        (write("bval", " ".join(["0", *13 * ["1000000000"]])), "cannot be s/mm2"),
        (spoil(lambda data: data[..., :9]), "has 9 volumes, but 14 b-values"),
        (spoil(np.zeros_like), "all voxels are 0"),
        (write("bval", " ".join(14 * ["0"])), "all b-values are 0"),
        (write("bval", " ".join(["0", *13 * ["1"]])), "unit is ms/um2"),
        (lambda root: (root / f"{STEM}.bvec").unlink(), r"has no \.bvec file"),
    ],
)
def test_bad_input(root: Path, wrong: Callable[[Path], None], words: str) -> None:
    wrong(root)
    with pytest.raises(BadData, match=words) as caught:
        stand_in(root)
    assert "sub-1_dwi." in str(caught.value)
    assert str(caught.value).endswith(".")


def prepared_of(root: Path) -> Any:
    from bids_ihf.preprocessing.prepare import Prepared

    volume = read_volume(stand_in(root))
    mask = volume.data > 200
    nothing: Any = None  # tissue shares: the shells tell tissue by their own attenuation
    return Prepared(
        volume=volume,
        bias=np.ones_like(volume.data),
        mask=mask,
        segmentation=nothing,
        stripped=False,
        to_template=np.eye(4),
        similarity=0.9,
        coverage=0.95,
        seconds=1.0,
    )


def run(
    root: Path,
    out: Path,
    monkeypatch: pytest.MonkeyPatch,
    spaces: tuple[str, ...] = (),
    change_map: Any = "compact",
    *,
    tensor_maps: bool = False,
) -> Job:
    target = Target("GE", "e", {}, TARGET)
    monkeypatch.setattr(worker, "load_target_cached", lambda *_: target)
    monkeypatch.setattr(series_fit, "MASK_EROSION_MM", 1.0)
    config = RunConfig(
        root, out, output_spaces=spaces, change_map=change_map, tensor_maps=tensor_maps
    )
    (job,) = plan([image_of(root)], config, RESOLVED)
    worker._harmonize_series(job, prepared_of(root), config, RESOLVED, 1)
    return job


@pytest.mark.parametrize(
    ("wrong", "action"),
    [
        (write("bval", " ".join(14 * ["0"])), "skip: no diffusion weighting"),
        (spoil(lambda data: data[..., 0]), "skip: a single volume"),
    ],
)
def test_files_without_weighting_are_passed_over(
    root: Path, tmp_path: Path, wrong: Callable[[Path], None], action: str
) -> None:
    wrong(root)
    (job,) = plan([image_of(root)], RunConfig(root, tmp_path / "out"), RESOLVED)
    assert job.action == action


@pytest.mark.parametrize("unit", [1e-9, 1e9])
def test_units_change_nothing_and_restore(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unit: float
) -> None:
    usual = run(root, tmp_path / "usual", monkeypatch, change_map="float32")
    mask = prepared_of(root).mask
    path = root / f"{STEM}.nii.gz"
    save(path, ball() * unit)
    original = nibabel.load(path).get_fdata()
    scaled_prepared = evolve(prepared_of(root), mask=mask)
    monkeypatch.setitem(globals(), "prepared_of", lambda _: scaled_prepared)
    scaled = run(root, tmp_path / "scaled", monkeypatch, change_map="float32")
    images = [nibabel.load(job.outputs.harmonized).get_fdata()[mask] for job in (usual, scaled)]
    np.testing.assert_allclose(images[1], images[0], rtol=1e-3, atol=1e-4 * images[0].max())
    for job in (scaled, run(root, tmp_path / "compact", monkeypatch)):
        restore(job.outputs.harmonized, None, tmp_path / "restored.nii.gz")
        restored = nibabel.load(tmp_path / "restored.nii.gz").get_fdata()
        np.testing.assert_allclose(restored, original, atol=1e-5 * original.max())


def test_all_is_written(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job = run(root, tmp_path / "out", monkeypatch)
    assert job.finished
    names = sorted(path.name for path in job.outputs.folder.iterdir())
    assert names == sorted(
        [
            *(f"sub-1_desc-{kind}_dwi.{end}" for kind in ("harmonized", "change")
              for end in ("nii.gz", "json", "bval", "bvec")),
            "sub-1_desc-brain_mask.nii.gz",
            "sub-1_desc-brain_mask.json",
            "sub-1_from-dwi_to-MNI152NLin2009aSym_mode-image_xfm.mat",
        ]
    )  # fmt: skip
    sidecar = json.loads(job.sidecar.read_text())
    assert sidecar["SourceProfile"] is None  # no vendor is named
    assert sidecar["HarmonizationShells"][0]["AnisotropyFactor"] == 1
    restore(job.outputs.harmonized, None, tmp_path / "restored.nii.gz")
    source, image, restored = (
        np.stack(list(open_series(path).volumes()))
        for path in (job.image.path, job.outputs.harmonized, tmp_path / "restored.nii.gz")
    )
    assert np.abs(restored - source).max() <= 1e-5 * source.max()
    assert sidecar["RoundTripMaxError"] <= 1e-5
    assert image.min() >= 0
    tissue = prepared_of(root).mask & (source[0] < 800)
    assert np.median(image[0][tissue]) == pytest.approx(900, rel=0.05)
    (table_file,) = (tmp_path / "out").glob("sub-1/*_scans.tsv")
    (row,) = read_scans_table(table_file)
    assert float(row["fa_after"]) == pytest.approx(float(row["fa_before"]), abs=0.02)
    assert 0 < float(row["out_of_range_score"]) < 1
    assert row["harmonization_warning"] == "no"
    figures = {path.name for path in (tmp_path / "out/sub-1/figures").iterdir()}
    assert figures == {figure_name("sub-1", kind, "dwi") for kind in FIGURE_DESCS}


def test_a_plain_change_map(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job = run(root, tmp_path / "out", monkeypatch, change_map="float32")
    source, image, change = (
        np.stack(list(open_series(path).volumes()))
        for path in (job.image.path, job.outputs.harmonized, job.outputs.change)
    )
    assert np.allclose(image - change, source, atol=1e-3)
    compact = run(root, tmp_path / "compact", monkeypatch)
    assert compact.hash != job.hash
    stored = np.stack(list(open_series(compact.outputs.harmonized).volumes()))
    half_step = json.loads(compact.sidecar.read_text())["StoredMaxError"]
    rounding = np.finfo(np.float32).eps * np.abs(image).max()
    assert 0 < np.abs(stored - image).max() <= half_step + rounding


def test_without_a_change_map(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job = run(root, tmp_path / "out", monkeypatch, change_map="none")
    assert job.finished
    assert not list(job.outputs.folder.glob("*desc-change*"))
    assert json.loads(job.sidecar.read_text())["RoundTripMaxError"] is None
    compact = run(root, tmp_path / "compact", monkeypatch)
    assert job.outputs.harmonized.read_bytes() == compact.outputs.harmonized.read_bytes()
    with pytest.raises(BadData, match="--change-map none, so the original cannot be restored"):
        restore(job.outputs.harmonized, None, tmp_path / "restored.nii.gz")


def test_a_later_volume_that_needs_wider_integers(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = root / f"{STEM}.nii.gz"
    data = np.asarray(nibabel.load(path).get_fdata())
    data[0, 0, 0, 3] = 100 * data.max()  # a spike
    save(path, data)
    job = run(root, tmp_path / "out", monkeypatch)
    assert nibabel.load(job.outputs.change).get_data_dtype() == np.int32
    restore(job.outputs.harmonized, None, tmp_path / "restored.nii.gz")
    restored = nibabel.load(tmp_path / "restored.nii.gz").get_fdata()
    assert np.abs(restored - data).max() <= 1e-5 * data[..., 0].max()


def test_a_series_that_is_spoiled_on_the_way_leaves_nothing(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_plan = series.make_plan

    def spoiling(*args: Any) -> Any:
        spoil(with_nan)(root)  # after the looks and the fit, before the change
        return make_plan(*args)

    monkeypatch.setattr(series, "make_plan", spoiling)
    with pytest.raises(BadData, match="volume 6 is NaN or infinite and was not"):
        run(root, tmp_path / "out", monkeypatch)
    assert not list((tmp_path / "out").rglob("*_desc-*.nii.gz"))


@pytest.mark.parametrize(("exponents", "score"), [((1.0,), 0), ((1.0, 1.35), 1), ((0.75,), 1)])
def test_relative_exponent_is_one_at_the_limits(
    exponents: tuple[float, ...], score: float
) -> None:
    shells: Any = [SimpleNamespace(measured=exponent) for exponent in exponents]
    plan: Any = SimpleNamespace(shells=shells)
    assert relative_exponent(plan) == pytest.approx(score)


def test_template_space_turns_the_directions(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the quarter turn of the head."""
    turned = evolve(prepared_of(root), to_template=TURN)
    monkeypatch.setitem(globals(), "prepared_of", lambda _: turned)
    small = Grid((24, 24, 24), np.diag([2.0, 2.0, 2.0, 1.0]))
    small.affine[:3, 3] = TURN[:3, :3] @ (np.diag([-3.0, 3, 3]) @ np.full(3, (SIDE - 1) / 2)) - 24
    template = SimpleNamespace(grid=small)
    for module in ("preprocessing.template_space", "dwi.template_series"):
        monkeypatch.setattr(f"bids_ihf.{module}.load_template", lambda: template)
    job = run(root, tmp_path / "out", monkeypatch, ("MNI152NLin2009aSym",))
    path = job.outputs.template_image
    image = nibabel.load(path)
    assert image.shape == (24, 24, 24, len(SCHEME))
    assert image.header["sform_code"] == 4
    bval, bvec = (path.with_name(f"{path.name[:-7]}.{kind}") for kind in ("bval", "bvec"))
    assert bval.read_bytes() == job.image.bval.read_bytes()
    vectors = np.loadtxt(bvec)
    # From FSL's components to the world: the affine of the template is that of its axes.
    world = (vectors * [[-1], [1], [1]]).T
    weighted = SCHEME.bvals > 0
    native = SCHEME.bvecs @ np.diag([-1.0, 1, 1])  # the stored x axis points to the left
    assert np.allclose(world[weighted], (native @ TURN[:3, :3].T)[weighted], atol=1e-5)
    sidecar = json.loads(path.with_name(f"{path.name[:-7]}.json").read_text())
    assert "turned" in sidecar["Description"]


def test_tensor_maps_are_written_on_request(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = run(root, tmp_path / "out", monkeypatch, tensor_maps=True)
    fa, md = (nibabel.load(path) for path in (job.outputs.anisotropy, job.outputs.diffusivity))
    assert (
        job.outputs.diffusivity.name == "sub-1_model-tensor_param-md_desc-harmonized_dwimap.nii.gz"
    )
    mask = prepared_of(root).mask
    tissue = mask & (nibabel.load(root / f"{STEM}.nii.gz").get_fdata()[..., 0] < 800)
    assert np.median(md.get_fdata()[tissue]) == pytest.approx(0.73e-3, rel=0.1)  # as the target's
    assert 0 < np.median(fa.get_fdata()[tissue]) < 1
    assert not fa.get_fdata()[~mask].any()
    assert np.array_equal(fa.affine, nibabel.load(job.image.path).affine)
    written = run(root, tmp_path / "out", monkeypatch)
    assert written.hash != job.hash
    assert not job.outputs.anisotropy.exists()


def test_same_input_same_bytes(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = (run(root, tmp_path / name, monkeypatch).outputs for name in "ab")
    assert one.harmonized.read_bytes() == other.harmonized.read_bytes()
    assert one.change.read_bytes() == other.change.read_bytes()


def test_axes_do_not_matter(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Oblique and permuted axes give the same voxels: directions are along the image's axes."""
    plain = run(root, tmp_path / "a", monkeypatch, change_map="float32").outputs.harmonized
    data = nibabel.load(root / f"{STEM}.nii.gz").get_fdata()
    turn = np.deg2rad(30)
    oblique = np.eye(4)
    oblique[:2, :2] = [[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]
    save(root / f"{STEM}.nii.gz", data, oblique @ np.diag([-3.0, 3, 3, 1])[:, [1, 2, 0, 3]])
    turned = run(root, tmp_path / "b", monkeypatch, change_map="float32").outputs.harmonized
    # Where the head ends is found on a grid along the world's axes, so the air may differ.
    inside = prepared_of(root).mask
    one, other = (nibabel.load(path).get_fdata()[inside] for path in (plain, turned))
    assert np.allclose(one, other, rtol=1e-4, atol=0.1)


def test_air_keeps_its_numbers_where_units_are_alike() -> None:
    assert background_gain(1.5) == 1.0
    assert background_gain(30.0) == 30.0


def test_restore(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from bids_ihf.pipeline.restore import restore

    outputs = run(root, tmp_path / "out", monkeypatch).outputs
    restore(outputs.harmonized, None, tmp_path / "original.nii.gz")
    source, found = (
        nibabel.load(path).get_fdata()
        for path in (root / f"{STEM}.nii.gz", tmp_path / "original.nii.gz")
    )
    assert np.abs(found - source).max() <= 1e-5 * source.max()
    save(tmp_path / "short.nii.gz", source[..., :5])
    with pytest.raises(BadData, match="not on the grid"):
        restore(outputs.harmonized, tmp_path / "short.nii.gz", tmp_path / "x.nii.gz")
