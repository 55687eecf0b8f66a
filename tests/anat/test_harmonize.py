"""A scan through the network and back to its own grid, with a small untrained network."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import attrs
import nibabel as nib
import numpy as np
import pytest
import torch
from scipy import ndimage

from bids_ihf.anat.harmonize import apply_network, harmonize, to_native_grid
from bids_ihf.anat.intensity_matching import match_intensities
from bids_ihf.errors import BadData
from bids_ihf.geometry.grid import Grid, resample
from bids_ihf.io.nifti import Volume
from bids_ihf.network.checkpoint import ModelBundle
from bids_ihf.network.encoder import Encoder
from bids_ihf.network.flow import Architecture, IHFNetwork
from bids_ihf.preprocessing.head import head_weight
from bids_ihf.preprocessing.prepare import Prepared
from bids_ihf.preprocessing.segmentation import Segmentation
from bids_ihf.targets.build import build_target
from bids_ihf.targets.network_input import brain_grid, measure_profile, to_network_input
from bids_ihf.targets.network_pass import feather
from bids_ihf.targets.profile import Profile, position_centre


def tiny_model(*, identity: bool) -> ModelBundle:
    torch.manual_seed(0)
    encoder = Encoder(width=2).eval()
    network = IHFNetwork(Architecture(embedding=encoder.size, hidden=(4, 4), style=4)).eval()
    if identity:
        for norm in network.norms:
            for head in (norm.scale, norm.shift):
                torch.nn.init.zeros_(head.weight)
    else:
        for norm in network.norms:
            torch.nn.init.normal_(norm.shift.bias, std=0.05)
    for module in (encoder, network):
        module.requires_grad_(requires_grad=False)
    return ModelBundle(encoder, network, "tiny", "hash", "encoder", {}, torch.device("cpu"))


def head(
    *,
    seed: int = 0,
    gain: float = 100.0,
    gamma: float = 1.0,
    stripped: bool = True,
    affine: np.ndarray | None = None,
    shape: tuple[int, int, int] = (40, 44, 36),
) -> Prepared:
    """A ball of three tissues, with a scalp and noisy air unless stripped."""
    rng = np.random.default_rng(seed)
    grid = np.stack(np.meshgrid(*[np.linspace(-1.3, 1.3, n) for n in shape], indexing="ij"))
    radius = np.sqrt((grid**2).sum(axis=0))
    texture = ndimage.gaussian_filter(rng.standard_normal(shape), 2)
    tissue = np.select([radius < 0.35, radius < 0.7, radius < 0.9], [0.3, 0.9, 0.6], 0.0)
    mask = radius < 0.9
    data = np.where(mask, (tissue + 0.2 * texture).clip(0.05, 1.2) ** gamma, 0)
    if not stripped:
        data = np.where((radius > 1.0) & (radius < 1.1), 1.5, data)
        data = data + 0.01 * np.abs(rng.standard_normal(shape))
    data = (data * gain).astype(np.float32)
    affine = np.diag([2.0, 2.0, 2.0, 1.0]) if affine is None else affine
    header = nib.Nifti1Image(data, affine).header
    volume = Volume(data, affine, header, Path("sub-01_T1w.nii.gz"))
    return Prepared(
        volume, np.ones_like(data), mask, segmentation(tissue, mask, affine),
        stripped=stripped, to_template=np.eye(4), similarity=None,
    )  # fmt: skip


def segmentation(tissue: np.ndarray, mask: np.ndarray, affine: np.ndarray) -> Segmentation:
    """What is there, as a perfect segmentation."""
    shares = np.stack([~mask, *((tissue == level) & mask for level in (0.6, 0.9, 0.3))])
    x, y, z = mask.shape
    return Segmentation(shares.astype(np.float32), np.ones_like(mask), Grid((x, y, z), affine))


def target_of(prepared: Prepared, model: ModelBundle) -> Profile:
    return build_target([("T1w", prepared)], "target", model).profile("T1w")


def test_harmonized_minus_change_is_the_original() -> None:
    model = tiny_model(identity=False)
    source = head(gain=3000)
    done = harmonize(source, target_of(head(seed=1, gamma=1.5), model), model)
    original = source.volume.data
    np.testing.assert_allclose(done.image - done.change, original, atol=1e-5 * original.max())
    assert done.round_trip_error <= 1e-5
    assert done.image.dtype == done.change.dtype == np.float32
    assert done.image.shape == original.shape


@pytest.mark.parametrize("unit", [1e-9, 1e9])
def test_units_change_nothing_and_restore(unit: float) -> None:
    model = tiny_model(identity=False)
    target = target_of(head(seed=1, gamma=1.5), model)
    usual, scaled = (harmonize(head(gain=gain), target, model) for gain in (300.0, 300.0 * unit))
    np.testing.assert_allclose(scaled.image, usual.image, atol=1e-4 * usual.image.max())
    original = head(gain=300 * unit).volume.data
    restored = scaled.image - scaled.change
    np.testing.assert_allclose(restored, original, atol=1e-5 * original.max())
    assert scaled.change.dtype == (np.float64 if unit < 1 else np.float32)


def test_no_voxel_becomes_negative(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_model(identity=False)
    source = head(gain=300)
    monkeypatch.setattr(
        "bids_ihf.anat.harmonize.to_native_grid",
        lambda change, *_: np.full(source.volume.data.shape, -3, np.float32),
    )
    done = harmonize(source, target_of(head(seed=1), model), model)
    assert (done.image == 0).any()
    assert done.image.min() == 0
    np.testing.assert_array_equal(done.image - done.change, source.volume.data)


def test_the_networks_change_counts_by_the_scanners_share() -> None:
    model = tiny_model(identity=False)
    on_grid = to_network_input(head())
    profile = target_of(head(seed=1, gamma=1.5), model)
    alone = match_intensities(on_grid, profile, model)
    assert alone.scanner_weight == 1.0
    slices = on_grid.brain_slices[::8]
    before = alone.data
    whole, quarter = (
        apply_network(attrs.evolve(alone, scanner_weight=weight), model, slices=slices)
        for weight in (1.0, 0.25)
    )
    changed = np.flatnonzero((whole != before).any(axis=(0, 1)))
    assert np.array_equal(changed, slices)
    assert np.abs(whole - before).max() > 0.01
    np.testing.assert_allclose(quarter - before, 0.25 * (whole - before), atol=1e-5)
    # However many scans the target is of.
    of_many = attrs.evolve(alone, target=attrs.evolve(profile, scan_count=9))
    np.testing.assert_array_equal(apply_network(of_many, model, slices=slices), whole)


def test_beyond_a_slab_the_source_is_seen_where_the_target_is() -> None:
    model = tiny_model(identity=False)
    on_grid = to_network_input(head())
    whole = target_of(head(seed=1, gamma=1.5), model)
    slab = attrs.evolve(
        whole,
        positions=whole.positions[:4],
        histograms=whole.histograms[:4],
        embeddings=whole.embeddings[:4],
    )
    matched = match_intensities(on_grid, slab, model)
    beyond = np.flatnonzero(on_grid.z > position_centre(slab.positions[-1:])[0])[:20:4]
    elsewhere = matched.matched.embeddings.copy()
    elsewhere[np.flatnonzero(matched.matched.positions == slab.positions[-1])[0] + 1 :] += 50.0
    other = attrs.evolve(matched, matched=attrs.evolve(matched.matched, embeddings=elsewhere))
    first, second = (apply_network(m, model, slices=beyond) for m in (matched, other))
    assert np.array_equal(first, second)
    to_whole = apply_network(attrs.evolve(other, target=whole), model, slices=beyond)
    assert np.abs(first - to_whole).max() > 1e-4


def test_contrast_moves_to_the_target_and_into_its_units() -> None:
    model = tiny_model(identity=True)
    truth = head(gain=700, gamma=1.6)
    done = harmonize(head(gain=90), target_of(head(seed=1, gain=700, gamma=1.6), model), model)
    inside = truth.mask
    error = np.abs(done.image - truth.volume.data)[inside].mean()
    assert error < 0.05 * truth.volume.data[inside].max()


def test_an_identity_network_leaves_its_own_target_alone() -> None:
    model = tiny_model(identity=True)
    source = head()
    done = harmonize(source, measure_profile(to_network_input(source), model.encoder), model)
    assert np.abs(done.change).max() < 0.02 * source.volume.data.max()
    assert done.qc.distances[0] == pytest.approx(0, abs=1e-2)


def test_zeros_of_a_stripped_image_stay_zero() -> None:
    model = tiny_model(identity=False)
    source = head()
    done = harmonize(source, target_of(head(seed=1, gamma=1.5), model), model)
    assert (done.image[source.volume.data == 0] == 0).all()


def test_air_far_from_the_head_is_left_alone_and_the_scalp_is_not() -> None:
    model = tiny_model(identity=False)
    source = head(stripped=False, shape=(80, 88, 72))
    done = harmonize(source, target_of(head(seed=1, gain=140), model), model)
    assert (done.change[:6, :6, :6] == 0).all()
    scalp = source.volume.data > 140
    assert (done.change[scalp] != 0).all()


def test_units_far_apart_scale_the_air_with_them() -> None:
    model = tiny_model(identity=True)
    source = head(stripped=False, gain=1e6, shape=(80, 88, 72))
    done = harmonize(source, target_of(head(seed=1, gain=100), model), model)
    gain = done.scaling["TargetHigh"] / done.scaling["SourceHigh"]
    assert done.scaling["AirGain"] == gain == pytest.approx(1e-4, rel=0.3)
    corner = (slice(0, 6),) * 3
    np.testing.assert_allclose(done.image[corner], source.volume.data[corner] * gain, rtol=1e-5)


def test_no_rim_at_the_edge_of_the_mask() -> None:
    model = tiny_model(identity=False)
    source = head(stripped=False, shape=(80, 88, 72))
    done = harmonize(source, target_of(head(seed=1, gamma=1.3), model), model)
    change = ndimage.gaussian_gradient_magnitude(done.change, 1)
    original = ndimage.gaussian_gradient_magnitude(source.volume.data, 1)
    rim = ndimage.binary_dilation(source.mask, iterations=2) & ~ndimage.binary_erosion(source.mask)
    assert np.percentile(change[rim], 95) < np.percentile(original[rim], 95)


@pytest.mark.parametrize("batch_size", [1, 5, 64])
def test_the_batch_size_changes_nothing_that_matters(batch_size: int) -> None:
    model = tiny_model(identity=False)
    profile = target_of(head(seed=1), model)
    reference = harmonize(head(), profile, model, batch_size=8)
    done = harmonize(head(), profile, model, batch_size=batch_size)
    np.testing.assert_allclose(done.image, reference.image, atol=1e-3)


def test_the_same_call_gives_the_same_bytes() -> None:
    model = tiny_model(identity=False)
    profile = target_of(head(seed=1), model)
    first, second = (harmonize(head(), profile, model).image.tobytes() for _ in range(2))
    assert first == second


def test_turned_and_flipped_storage_gives_the_same_image() -> None:
    model = tiny_model(identity=False)
    source = head()
    profile = target_of(head(seed=1), model)
    turned = attrs.evolve(
        source,
        volume=attrs.evolve(
            source.volume,
            data=np.ascontiguousarray(source.volume.data.transpose(2, 0, 1)[::-1]),
            affine=source.volume.affine
            @ np.array([[0, 1, 0, 0], [0, 0, 1, 0], [-1, 0, 0, 35], [0, 0, 0, 1.0]]),
        ),
        bias=np.ascontiguousarray(source.bias.transpose(2, 0, 1)[::-1]),
        mask=np.ascontiguousarray(source.mask.transpose(2, 0, 1)[::-1]),
    )
    straight = harmonize(source, profile, model).image
    back = harmonize(turned, profile, model).image[::-1].transpose(1, 2, 0)
    np.testing.assert_allclose(back, straight, atol=1e-3 * straight.max())


def slab_of(prepared: Prepared, slices: slice) -> Prepared:
    """Some slices of a scan, where they lay."""
    affine = prepared.volume.affine.copy()
    affine[:3, 3] += affine[:3, 2] * slices.start
    data, bias, mask = (
        array[:, :, slices].copy()
        for array in (prepared.volume.data, prepared.bias, prepared.mask)
    )
    volume = attrs.evolve(prepared.volume, data=data, affine=affine)
    return attrs.evolve(prepared, volume=volume, bias=bias, mask=mask)


def test_a_slab_is_harmonized_like_the_whole_head() -> None:
    model, slices = tiny_model(identity=True), slice(16, 19)
    truth = head(gain=700, gamma=1.6)
    target = target_of(head(seed=1, gain=700, gamma=1.6), model)
    slab = slab_of(head(gain=90), slices)
    whole, result = harmonize(head(gain=90), target, model), harmonize(slab, target, model)
    inside, largest = slab.mask, truth.volume.data.max()
    expected = truth.volume.data[:, :, slices]
    assert np.abs(result.image - expected)[inside].mean() < 0.05 * largest
    assert np.abs(result.image - whole.image[:, :, slices])[inside].mean() < 0.05 * largest
    assert np.abs(result.image[inside]).mean() > 5 * np.abs(slab.volume.data[inside]).mean()
    assert (result.image[slab.volume.data == 0] == 0).all()


def test_a_slab_goes_through_the_network() -> None:
    model = tiny_model(identity=False)
    slab = slab_of(head(), slice(16, 19))
    target = target_of(head(seed=1), model)
    result = harmonize(slab, target, model)
    curve_alone = harmonize(slab, target, tiny_model(identity=True))
    assert (
        np.abs(result.image - curve_alone.image)[slab.mask].max() > 1e-3 * slab.volume.data.max()
    )
    np.testing.assert_allclose(result.image - result.change, slab.volume.data, atol=1e-3)


def test_an_empty_brain_is_bad_data_that_names_the_file() -> None:
    model = tiny_model(identity=True)
    source = head()
    flat = attrs.evolve(source.volume, data=np.full_like(source.volume.data, -5.0))
    with pytest.raises(BadData, match=r"sub-01_T1w\.nii\.gz: the brain is of one intensity"):
        harmonize(attrs.evolve(source, volume=flat), target_of(source, model), model)


def test_aligned_millimetre_input_is_not_interpolated() -> None:
    affine = np.diag([1.0, 1.0, 1.0, 1.0])
    affine[:3, 3] = [-20.3, 4.7, 0.25]
    source = head(affine=affine)
    on_grid = to_network_input(source)
    values = on_grid.data[on_grid.mask == 1]
    assert np.isin(values, source.volume.data).all()
    assert brain_grid(source.mask, affine).affine[0, 3] % 1 == pytest.approx(0.7)


def test_weights_fall_smoothly() -> None:
    mask = np.zeros((30, 30, 30), np.float32)
    mask[10:20, 10:20, 10:20] = 1
    weight = feather(mask)
    assert (weight[mask > 0] == 1).all()
    assert weight[0, 0, 0] == 0
    assert np.abs(np.diff(weight, axis=0)).max() < 0.4
    assert set(np.unique(head_weight(head()))) == {0.0, 1.0}


def test_a_network_leaves_alone_what_it_was_not_trained_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    model = tiny_model(identity=False)
    t1w_only = attrs.evolve(model, record={"settings": {"data": {"modalities": ["T1w"]}}})
    source, target = head(), target_of(head(seed=1, gamma=1.5), model)
    trained = harmonize(source, target, t1w_only, modality="T1w")
    assert trained.network_applied
    assert not caplog.text
    curve_alone = harmonize(source, target, t1w_only, modality="T2w")
    assert not curve_alone.network_applied
    assert "not trained on T2w images, so only the intensity curve and the field" in caplog.text
    identity = harmonize(source, target, tiny_model(identity=True), modality="T2w")
    np.testing.assert_allclose(curve_alone.image, identity.image, atol=1e-3)
    assert np.abs(trained.image - curve_alone.image)[source.mask].max() > 1


def test_flair_is_harmonized_to_flair() -> None:
    """By tissues of the segmentation, though the encoder of this model tells none."""
    model = tiny_model(identity=True)
    source, reference = head(gain=100), head(seed=1, gain=800, gamma=1.4)
    target = build_target([("FLAIR", reference)], "site", model).profile("FLAIR")
    assert np.isfinite(target.landmarks).all()
    done = harmonize(source, target, model, modality="FLAIR")
    assert done.modality == "FLAIR"
    for tissue in (1, 2, 3):
        inside = source.segment().tissue_fractions[tissue] > 0.5
        expected = np.median(reference.volume.data[inside])
        assert np.median(done.image[inside]) == pytest.approx(expected, rel=0.1)


@pytest.mark.parametrize("shape", [(20, 24, 9), (30, 40, 1)])
@pytest.mark.parametrize("angle", [0.0, 0.3])
def test_voxels_of_the_scan_are_interpolated_as_if_all_were(
    shape: tuple[int, int, int], angle: float
) -> None:
    """A change that is not zero in a box alone, brought to an oblique scan and to one slice."""
    grid = Grid((26, 30, 28), np.diag([1.0, 1.0, 1.0, 1.0]))
    data = np.zeros(grid.shape, dtype=np.float32)
    data[5:15, 8:20, 2:16] = np.random.default_rng(0).random((10, 12, 14))
    affine = np.diag([0.9, 0.8, 2.3, 1.0])
    affine[:3, 3] = 1.0, -2.0, 3.5
    to_template = np.eye(4)
    to_template[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    scan: Any = SimpleNamespace(grid=Grid(shape, affine), to_template=to_template)
    network_input: Any = SimpleNamespace(grid=grid)
    whole = resample(data, grid, scan.grid, target_to_source=to_template)
    assert whole.any()
    np.testing.assert_allclose(to_native_grid(data, network_input, scan), whole, atol=1e-5)
    assert not to_native_grid(np.zeros_like(data), network_input, scan).any()
