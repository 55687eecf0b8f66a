"""The public interface: one image, from files or memory, with the numbers of the BIDS App."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch

import bids_ihf
from bids_ihf.api import _as_file
from bids_ihf.bids.images import SourceImage
from bids_ihf.cli.toolbox import main
from bids_ihf.config import RunConfig
from bids_ihf.errors import BadData, UsageError
from bids_ihf.pipeline.image_files import ImageFiles
from bids_ihf.pipeline.job import ResolvedTarget
from bids_ihf.pipeline.plan import plan
from bids_ihf.pipeline.worker import harmonize_image, prepare_image
from bids_ihf.preprocessing import brain_mask, prepare
from bids_ihf.preprocessing.alignment import Alignment
from tests.preprocessing.conftest import save, small_brain, small_segmentation

THICK = slice(25, 30)
"""Slices of 3 mm, in the middle of the brain."""
TARGET = ResolvedTarget("GE", "GE", "t-hash", "ihf", "m-hash", "b-hash", ("T1w",))


@pytest.fixture
def image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A slab of a brain, with a sidecar; what takes long and is tested elsewhere is replaced."""
    monkeypatch.setattr(brain_mask, "segment", lambda *_: small_segmentation())
    monkeypatch.setattr(prepare, "align_to_template", lambda *_: Alignment(np.eye(4), 0.9, 1.0))
    monkeypatch.setattr(prepare, "bias_field", lambda data, *_: np.ones_like(data))
    brain, grid, _ = small_brain()
    affine = grid.affine.copy()
    affine[:3, 3] += affine[:3, 2] * THICK.start
    path = tmp_path / "bids/sub-01/anat/sub-01_T1w.nii.gz"
    path.parent.mkdir(parents=True)
    save(path, brain[:, :, THICK], affine)
    path.with_name("sub-01_T1w.json").write_text('{"Manufacturer": "SIEMENS"}')
    return path


@pytest.fixture
def by_app(image: Path, tmp_path: Path, request: pytest.FixtureRequest) -> Any:
    """Paths of the BIDS App's outputs for the image."""
    root = tmp_path / "bids"
    change_map = getattr(request, "param", "compact")
    config = RunConfig(root, tmp_path / "out", device="cpu", change_map=change_map)
    source = SourceImage.from_path(image, root, {"Manufacturer": "SIEMENS"})
    (job,) = plan([source], config, TARGET)
    files, prepared = ImageFiles(image, "T1w"), tmp_path / "prepared.npz"
    prepare_image(files, prepared, preprocessed=False, mask_needed=False, t1w=None, seed=0)
    harmonize_image(job, prepared, config, TARGET, threads=1)
    return job.outputs


def test_command_writes_the_bytes_of_the_app(
    image: Path, by_app: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, change, mask = (tmp_path / f"{name}.nii.gz" for name in ("out", "change", "mask"))
    words = [str(image), "-o", str(out), "--change", str(change), "--save-mask", str(mask)]
    with pytest.raises(SystemExit) as end:
        main(["harmonize", *words, "--target", "ge", "--device", "cpu", "--omp-nthreads", "1"])
    assert end.value.code == 0
    assert capsys.readouterr().out == f"{out}\n"
    assert out.read_bytes() == by_app.harmonized.read_bytes()
    assert change.read_bytes() == by_app.change.read_bytes()
    assert mask.read_bytes() == by_app.mask.read_bytes()


@pytest.mark.parametrize("by_app", ["float32"], indirect=True)
def test_function_gives_the_numbers_of_the_app(image: Path, by_app: Any) -> None:
    steps: list[tuple[str, float]] = []
    result = bids_ihf.harmonize(
        image, "GE", device="cpu", threads=1, progress=lambda *step: steps.append(step)
    )
    for found, path in (
        (result.image, by_app.harmonized),
        (result.change, by_app.change),
        (result.mask, by_app.mask),
    ):
        wanted = nib.load(path)
        assert np.array_equal(np.asarray(found.dataobj), np.asarray(wanted.dataobj))
        assert found.header == wanted.header
    assert result.device == "cpu"
    assert result.measures["mask_volume_ml"] > 0
    assert [step for step, _ in steps] == ["prepare", "harmonize", "write", "done"]
    assert steps[-1][1] == 1


def test_threads_are_those_of_the_caller_again(
    image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sums take one thread, so that their number changes no bit; the caller's torch keeps its."""
    threads = []

    def align(*_: object) -> Alignment:
        threads.append(torch.get_num_threads())
        return Alignment(np.eye(4), 0.9, 1.0)

    monkeypatch.setattr(prepare, "align_to_template", align)
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        bids_ihf.load_target(image)
        one, two = (bids_ihf.harmonize(image, "GE", device="cpu", threads=n) for n in (1, 2))
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
    assert threads == [1, 1, 1]
    assert np.array_equal(np.asarray(one.image.dataobj), np.asarray(two.image.dataobj))


def test_images_in_memory(image: Path) -> None:
    loaded = nib.load(image)
    in_memory = nib.Nifti1Image(np.asarray(loaded.dataobj), loaded.affine, loaded.header)
    target = bids_ihf.load_target("GE")
    options: dict[str, Any] = {"device": "cpu", "threads": 1}
    by_file = bids_ihf.harmonize(image, target, **options)
    by_memory = bids_ihf.harmonize(
        in_memory, target, modality="T1w", source_vendor="Siemens", **options
    )
    assert np.array_equal(by_file.image.get_fdata(), by_memory.image.get_fdata())
    original = bids_ihf.restore(by_memory)
    scale = np.abs(loaded.get_fdata()).max()
    assert np.abs(original.get_fdata() - loaded.get_fdata()).max() <= 1e-6 * scale
    with pytest.raises(UsageError, match="change map"):
        bids_ihf.restore(in_memory)


def test_nifti_2(image: Path, tmp_path: Path) -> None:
    loaded = nib.load(image)
    path = tmp_path / "two_T1w.nii.gz"
    nib.save(nib.Nifti2Image(np.asarray(loaded.dataobj), loaded.affine), path)
    result = bids_ihf.harmonize(path, "GE", device="cpu", threads=1)
    assert isinstance(result.image, nib.Nifti2Image)
    restored = bids_ihf.restore(result)
    scale = np.abs(loaded.get_fdata()).max()
    assert np.abs(restored.get_fdata() - loaded.get_fdata()).max() <= 1e-6 * scale


def test_a_changed_image_is_not_that_of_its_file(image: Path, tmp_path: Path) -> None:
    file = tmp_path / "image.nii"
    moved = nib.load(image)
    assert _as_file(moved, file) == image
    affine = moved.affine.copy()
    affine[:3, 3] += 50
    moved.set_sform(affine, 1)
    moved.set_qform(affine, 1)
    assert _as_file(moved, file) == file
    assert np.array_equal(nib.load(file).affine, affine)
    assert np.array_equal(nib.load(file).get_fdata(), nib.load(image).get_fdata())


def test_a_freesurfer_image_is_written_as_nifti(tmp_path: Path) -> None:
    data = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    nib.save(nib.MGHImage(data, np.eye(4)), tmp_path / "x.mgz")
    written = _as_file(nib.load(tmp_path / "x.mgz"), tmp_path / "x.nii")
    assert np.array_equal(np.asarray(nib.load(written).dataobj), data)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"device": "gpu"}, "device"),
        ({"device": "cuda:99"}, "not available"),
        ({"batch_size": 0}, "batch_size"),
        ({"threads": -1}, "threads"),
    ],
)
def test_settings_are_checked(image: Path, options: dict[str, Any], text: str) -> None:
    with pytest.raises(UsageError, match=text):
        bids_ihf.harmonize(image, "GE", **options)


def test_target_from_images(image: Path, tmp_path: Path) -> None:
    file = tmp_path / "site.safetensors"
    built = bids_ihf.build_target([image], name="site", output=file)
    assert built.modalities == ("T1w",)
    assert bids_ihf.load_target(file).hash == built.hash
    result = bids_ihf.harmonize(image, built, device="cpu", threads=1)
    assert np.isfinite(result.image.get_fdata()).all()


def test_modality_must_be_known(image: Path, tmp_path: Path) -> None:
    plain = tmp_path / "scan.nii.gz"
    plain.write_bytes(image.read_bytes())
    with pytest.raises(UsageError, match=r"scan\.nii\.gz.*name its modality"):
        bids_ihf.harmonize(plain, "GE")


def test_damaged_sidecar_is_named(image: Path) -> None:
    image.with_name("sub-01_T1w.json").write_text("{")
    with pytest.raises(BadData, match=r"sub-01_T1w\.json"):
        bids_ihf.harmonize(image, "GE")


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (["-o", "{image}", "--target", "GE"], 2, "named twice"),
        (["-o", "{folder}/out.nii", "--target", "GE"], 2, ".nii.gz"),
        (["-o", "{folder}/there.nii.gz", "--target", "GE"], 73, "exists already"),
        (["-o", "{folder}/out.nii.gz"], 2, "--target is required"),
        (["-o", "{folder}/out.nii.gz", "--target", "nobody"], 2, "nobody"),
        (
            ["-o", "{folder}/o.nii.gz", "--change", "{folder}/o.nii.gz", "--target", "GE"],
            2,
            "twice",
        ),
    ],
)
def test_what_would_do_harm_is_refused(
    image: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    words: list[str], code: int, text: str,
) -> None:  # fmt: skip
    (tmp_path / "there.nii.gz").write_bytes(b"mine")
    before = image.read_bytes()
    filled = [word.format(image=image, folder=tmp_path) for word in words]
    with pytest.raises(SystemExit) as end:
        main(["harmonize", str(image), *filled])
    assert end.value.code == code
    assert text in capsys.readouterr().err
    assert image.read_bytes() == before
    assert (tmp_path / "there.nii.gz").read_bytes() == b"mine"


def test_tables_beside_the_output_are_not_replaced(
    image: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    series = image.with_name("sub-01_dwi.nii.gz")
    series.write_bytes(image.read_bytes())
    for extension in (".bval", ".bvec"):
        series.with_name(f"sub-01_dwi{extension}").write_text("0 1000\n")
    (tmp_path / "out.bval").write_text("mine")
    for output, code, text in (
        (tmp_path / "out.nii.gz", 73, "out.bval: exists already"),
        (series.with_name("other.nii.gz"), 2, "belongs to the input"),
    ):
        tables = ["--bvec", str(series.with_name("other.bvec"))] if code == 2 else []
        if tables:
            (series.with_name("other.bvec")).write_text("0 1\n")
        with pytest.raises(SystemExit) as end:
            main(["harmonize", str(series), "-o", str(output), *tables, "--target", "GE"])
        assert end.value.code == code
        assert text in capsys.readouterr().err
    assert (tmp_path / "out.bval").read_text() == "mine"


def test_names_of_the_package() -> None:
    assert set(bids_ihf.__all__) <= set(dir(bids_ihf))
    for name in bids_ihf.__all__:
        assert getattr(bids_ihf, name) is not None
    with pytest.raises(AttributeError, match="nothing"):
        _ = bids_ihf.nothing


def test_importing_the_package_loads_nothing_heavy() -> None:
    code = (
        "import sys, bids_ihf; print([m for m in ('torch', 'ants', 'nipype') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
