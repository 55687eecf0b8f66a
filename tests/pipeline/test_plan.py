"""What is done to which image."""

from __future__ import annotations

from pathlib import Path

import pytest
from attrs import evolve

from bids_ihf.bids.images import SourceImage
from bids_ihf.bids.sidecars import write_json
from bids_ihf.config import RunConfig
from bids_ihf.errors import BadData
from bids_ihf.io.atomic import write_atomic
from bids_ihf.pipeline.job import DONE_ACTION, HARMONIZE_ACTION, Job, ResolvedTarget
from bids_ihf.pipeline.plan import plan
from tests.datasets import SCANS, write_dataset, write_image

TARGET = ResolvedTarget("GE", "GE", "t", "ihf", "m", "b", ("T1w", "T2w"))


@pytest.fixture
def images(tmp_path: Path) -> list[SourceImage]:
    root = write_dataset(tmp_path / "bids")
    return [SourceImage.from_path(root / f"{stem}.nii.gz", root) for stem in SCANS]


@pytest.fixture
def config(tmp_path: Path) -> RunConfig:
    return RunConfig(tmp_path / "bids", tmp_path / "out", target="GE")


def actions(jobs: list[Job]) -> list[str]:
    return [job.action for job in jobs]


def test_actions(images: list[SourceImage], config: RunConfig) -> None:
    assert actions(plan(images, config, TARGET)) == [
        *5 * [HARMONIZE_ACTION],
        "skip: the target has no dwi",
    ]
    target = evolve(TARGET, diffusion_hash="d")
    assert actions(plan(images, config, target)) == 6 * [HARMONIZE_ACTION]


def test_target_without_a_modality(images: list[SourceImage], config: RunConfig) -> None:
    jobs = plan(images, config, evolve(TARGET, modalities=("T1w",)))
    assert actions(jobs)[1] == "skip: the target has no T2w"
    assert (
        actions(plan(images, config, evolve(TARGET, modalities=("any",)))).count(HARMONIZE_ACTION)
        == 5
    )


def test_flair_without_a_profile_is_passed_over_unless_asked_for_by_name(
    images: list[SourceImage], config: RunConfig
) -> None:
    root = images[0].root
    flair = SourceImage.from_path(root / "sub-02/anat/sub-02_FLAIR.nii.gz", root)
    misnamed = evolve(images[1], metadata={"InversionTime": 1.8})
    jobs = plan([flair, misnamed, images[4]], config, TARGET)
    assert actions(jobs) == [*2 * ["skip: the target has no FLAIR"], HARMONIZE_ACTION]
    assert [job.image.problem for job in jobs] == 3 * [None]
    by_name = evolve(config, modalities=("FLAIR", "T2w"))
    for job in plan([flair, misnamed], by_name, TARGET):
        assert job.action == HARMONIZE_ACTION
        assert job.image.problem is not None
        with pytest.raises(BadData, match="the target GE has no FLAIR profile; name a target"):
            job.image.problem.raise_error()
    # A T2w may prove to be FLAIR by its contrast, which is known later.
    for job in plan([flair, misnamed, images[1]], by_name, evolve(TARGET, modalities=("FLAIR",))):
        assert (job.action, job.image.problem) == (HARMONIZE_ACTION, None)


def test_flair_is_registered_by_the_t1w_of_its_session(
    images: list[SourceImage], config: RunConfig
) -> None:
    root = images[4].root
    flair = SourceImage.from_path(root / "sub-02/anat/sub-02_FLAIR.nii.gz", root)
    (_, job) = plan([images[4], flair], config, evolve(TARGET, modalities=("T1w", "FLAIR")))
    assert job.t1w == images[4]


def test_of_derivatives_the_t1w_of_the_same_space_is_taken(
    images: list[SourceImage], config: RunConfig
) -> None:
    folder, root = "sub-02/anat/sub-02_", images[4].root
    names = ("desc-preproc_T1w", "space-ACPC_T1w", "space-ACPC_T2w", "space-T1w_T2w", "T2w")
    derived = [
        SourceImage.from_path(root / f"{folder}{name}.nii.gz", root) for name in reversed(names)
    ]
    for image in derived:
        write_image(image.path)
    jobs = {str(job.image.name): job.t1w for job in plan(derived, config, TARGET)}
    native, aligned = derived[-1], derived[-2]
    assert jobs["sub-02_space-ACPC_T2w.nii.gz"] == aligned
    assert jobs["sub-02_space-T1w_T2w.nii.gz"] == native
    assert jobs["sub-02_T2w.nii.gz"] == native


def test_done(images: list[SourceImage], config: RunConfig) -> None:
    job = plan(images, config, TARGET)[0]
    write_json(job.sidecar, {"ConfigurationHash": job.hash})
    assert plan(images, config, TARGET)[0].action == HARMONIZE_ACTION
    write_atomic(job.outputs.harmonized, b"image")
    assert plan(images, config, TARGET)[0].action == DONE_ACTION
    assert plan(images, config, evolve(TARGET, target_hash="u"))[0].action == HARMONIZE_ACTION


@pytest.mark.parametrize(
    "change",
    [
        {"preprocessed": True},
        {"random_seed": 3},
        {"output_spaces": ("MNI152NLin2009aSym",)},
    ],
)
def test_hash_follows_the_numbers(
    images: list[SourceImage], config: RunConfig, change: dict[str, object]
) -> None:
    before = plan(images, config, TARGET)[0].hash
    assert plan(images, evolve(config, **change), TARGET)[0].hash != before


@pytest.mark.parametrize(
    "change",
    [
        {"n_procs": 9},
        {"omp_nthreads": 2},
        {"mem_gb": 1.0},
        {"device": "cpu"},
        {"normalization": "syn"},
        {"tensor_maps": True},
        {"b0_threshold": 80.0},
        {"modalities": ("T1w",)},
        {"work_dir": Path("/elsewhere")},
        {"verbose": 3},
    ],
)
def test_hash_ignores_the_rest(
    images: list[SourceImage], config: RunConfig, change: dict[str, object]
) -> None:
    before = plan(images, config, TARGET)[0].hash
    assert plan(images, evolve(config, **change), TARGET)[0].hash == before


def test_hash_follows_normalization_where_it_counts(
    images: list[SourceImage], config: RunConfig
) -> None:
    config = evolve(config, output_spaces=("MNI152NLin2009aSym",))
    before = plan(images, config, TARGET)[0].hash
    assert plan(images, evolve(config, normalization="syn"), TARGET)[0].hash != before


def test_hash_of_a_series_follows_its_own_settings(
    images: list[SourceImage], config: RunConfig
) -> None:
    target = evolve(TARGET, diffusion_hash="d")
    config = evolve(config, output_spaces=("MNI152NLin2009aSym",))

    def identity(**change: object) -> str:
        return plan(images, evolve(config, **change), target)[-1].hash

    before = identity()
    assert identity(tensor_maps=True) != before
    assert identity(b0_threshold=80.0) != before
    assert identity(normalization="syn") == before  # a series goes by its rigid transform


def test_hash_follows_the_mask(
    images: list[SourceImage], config: RunConfig, tmp_path: Path
) -> None:
    mask = tmp_path / "mask.nii.gz"
    mask.write_bytes(b"one")
    masked = [evolve(images[0], mask=mask), *images[1:]]
    hashes = [plan(images, config, TARGET)[0].hash, plan(masked, config, TARGET)[0].hash]
    mask.write_bytes(b"two")
    hashes.append(plan(masked, config, TARGET)[0].hash)
    assert len(set(hashes)) == 3
    # The mask of a T1w image also changes the T2w image registered by it, but no other session's.
    assert plan(masked, config, TARGET)[1].hash != plan(images, config, TARGET)[1].hash
    assert plan(masked, config, TARGET)[3].hash == plan(images, config, TARGET)[3].hash


def test_source_vendor(images: list[SourceImage], config: RunConfig) -> None:
    jobs = plan(images, evolve(config, source_vendor="ge"), TARGET)
    assert {job.image.vendor for job in jobs} == {"GE"}


def test_missing_file_is_planned_all_the_same(
    images: list[SourceImage], config: RunConfig
) -> None:
    images[0].path.unlink()
    jobs = plan(images, config, TARGET)
    assert jobs[0].action == HARMONIZE_ACTION
    assert jobs[1].t1w is None


def test_series_are_redone_for_another_table_or_profile(
    images: list[SourceImage], config: RunConfig
) -> None:
    series = images[-1]
    image = evolve(
        series,
        bval=series.path.with_name("sub-02_dwi.bval"),
        bvec=series.path.with_name("sub-02_dwi.bvec"),
    )

    def identity(target: ResolvedTarget) -> str:
        return plan([image], config, target)[0].hash

    knows = evolve(TARGET, diffusion_hash="d")
    first = identity(knows)
    assert identity(evolve(knows, target_hash="u")) == first
    assert identity(evolve(TARGET, diffusion_hash="e")) != first
    assert image.bval is not None
    image.bval.write_text("0 1005\n")
    assert identity(knows) != first


def test_series_are_registered_by_the_t1w_of_their_session(
    images: list[SourceImage], config: RunConfig
) -> None:
    job = plan(images, config, evolve(TARGET, diffusion_hash="d"))[-1]
    assert job.t1w is not None
    assert job.t1w.path.name == "sub-02_T1w.nii.gz"
