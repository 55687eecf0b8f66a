"""Comparators that are trained: losses fall, structures hold, and a scan is translated."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from bids_ihf.errors import BadData
from bids_ihf.geometry.grid import Grid
from bids_ihf.lab.comparators.learned.conditional_gan import VIEW_FRACTIONS, SiMix, mix
from bids_ihf.lab.comparators.learned.cycle_gan import CycleGAN
from bids_ihf.lab.comparators.learned.hierarchy_flow import (
    HierarchyFlowComparator,
    aligned_style_loss,
    content_loss,
)
from bids_ihf.lab.comparators.learned.interface import (
    UNKNOWN_SITE,
    ComparatorSettings,
    LearnedComparator,
    SiteBatch,
    site_names,
)
from bids_ihf.lab.comparators.learned.kinds import COMPARATOR_KINDS, ComparatorKind
from bids_ihf.lab.comparators.learned.murd import MURD
from bids_ihf.lab.comparators.learned.printed_ihf import PrintedIHF
from bids_ihf.lab.comparators.learned.scan import TargetScan, can_translate, translate_scan
from bids_ihf.lab.comparators.learned.weights import (
    build_comparator,
    load_comparator,
    pack_comparator,
)
from bids_ihf.network.encoder import Encoder, modality_weights
from bids_ihf.targets.intensity import IntensityScale
from bids_ihf.targets.network_input import NetworkInput

if TYPE_CHECKING:
    from pathlib import Path

SITES = site_names(("T1w", "T2w"))
SHAPE = (32, 40)
CURVES = (1.0, 0.6, 1.6)
"""Exponents by which the sites show the same tissue."""


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    torch.manual_seed(0)
    return Encoder(width=2).requires_grad_(requires_grad=False)


def settings(kind: ComparatorKind) -> ComparatorSettings:
    return ComparatorSettings(kind=kind, sites=SITES, channels=8, blocks=1)


def tissue(rows: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Blobs (B, 3, X, Y), 0 to 1, and a mask."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand((rows, 3, 8, 10), generator=generator)
    blobs = torch.nn.functional.interpolate(coarse, SHAPE, mode="bilinear")
    mask = torch.zeros(rows, 1, *SHAPE)
    mask[..., 3:-3, 3:-3] = 1
    return blobs, mask


def shown(blobs: torch.Tensor, mask: torch.Tensor, site: torch.Tensor) -> torch.Tensor:
    """What the scanners of the sites show of tissue, in network units, stripped."""
    power = torch.tensor(CURVES)[site % 3][:, None, None, None]
    return torch.where(mask > 0.5, 2 * blobs**power - 1, torch.tensor(-1.0))


def batch(seed: int = 1, rows: int = 6) -> SiteBatch:
    blobs, mask = tissue(rows, seed)
    others, _ = tissue(rows, seed + 100)
    source, target = torch.arange(rows) % 3, (torch.arange(rows) + 1) % 3
    return SiteBatch(
        source=shown(blobs, mask, source),
        mask=mask,
        source_site=source,
        target_site=target,
        reference=shown(others, mask, target),
        reference_mask=mask,
        modality=modality_weights("T1w", rows),
        truth=shown(blobs, mask, target)[:, 1:2],
        companion=shown(blobs, mask, (target + 1) % 3),
    )


def built(kind: ComparatorKind, encoder: Encoder) -> LearnedComparator:
    torch.manual_seed(0)
    return build_comparator(settings(kind), encoder)


def descend(model: LearnedComparator, data: SiteBatch, steps: int) -> list[dict[str, float]]:
    """Train on one batch without the critic's judgement changing; the losses of each step."""
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    history = []
    for _ in range(steps):
        torch.manual_seed(5)
        losses = model.losses(data)
        history.append({name: float(v.detach()) for name, (_, v) in losses.terms.items()})
        history[-1]["total"] = float(losses.total.detach())
        optimizer.zero_grad()
        losses.total.backward()
        optimizer.step()
    return history


FALLING = {
    "murd": "reconstruction",
    "cgan": "pixels",
    "simix": "pixels",
    "hierarchy-flow": "total",
    "ihf-printed": "total",
    "cyclegan": "total",
}


@pytest.mark.parametrize("kind", COMPARATOR_KINDS)
def test_losses_fall(kind: ComparatorKind, encoder: Encoder) -> None:
    history = descend(built(kind, encoder), batch(), 25)
    assert history[-1]["total"] < history[0]["total"]
    assert history[-1][FALLING[kind]] < 0.9 * history[0][FALLING[kind]]


@pytest.mark.parametrize("kind", COMPARATOR_KINDS)
def test_unpaired_comparators_do_not_see_the_truth(kind: ComparatorKind, encoder: Encoder) -> None:
    model, data = built(kind, encoder), batch()
    data.truth.requires_grad_()
    torch.manual_seed(1)
    losses = model.losses(data)
    judgement = model.critic_loss(data, losses.translated.detach())
    total = losses.total if judgement is None else losses.total + judgement
    total.backward()
    assert (data.truth.grad is not None) == (kind in ("cgan", "simix"))


@pytest.mark.parametrize("kind", ["murd", "cgan", "simix", "cyclegan"])
def test_a_critic_learns_to_tell_translations(kind: ComparatorKind, encoder: Encoder) -> None:
    model, data = built(kind, encoder), batch()
    translated = (model.translate(data) + 0.5).detach()
    assert model.judge is not None
    optimizer = torch.optim.Adam(model.judge.parameters(), lr=3e-3)
    values = []
    for _ in range(15):
        loss = model.critic_loss(data, translated)
        assert loss is not None
        values.append(float(loss.detach()))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert values[-1] < 0.7 * values[0]


def test_murd_splits_content_from_style(encoder: Encoder) -> None:
    model = built("murd", encoder)
    assert isinstance(model, MURD)
    model.eval()
    data = batch()
    code = model.content(data.source, data.mask)
    # A linear change of contrast is style: the code does not see it.
    darker = torch.where(data.mask > 0.5, 0.5 * data.source - 0.2, data.source)
    inside = torch.nn.functional.avg_pool2d(data.mask, 9, 1, 4)[:, :, ::2, ::2] > 0.99
    again = model.content(darker, data.mask)
    other = model.content(batch(seed=2).source, data.mask)
    change, anatomy = (((x - code).abs() * inside).sum() for x in (again, other))
    assert change < 0.25 * anatomy
    # One model has a style for each of the N sites, and the generator follows it.
    styles = {model.style_generator(torch.tensor([n])).flatten()[0].item() for n in range(6)}
    assert len(styles) == len(SITES)
    site = torch.zeros(6, dtype=torch.long)
    style = model.style(data.centre, site)
    assert not torch.allclose(style, model.style(data.centre, site + 1))
    images = [model.generator(code, s, data.centre) for s in (style, style + 1)]
    assert not torch.allclose(images[0], images[1])


def test_murd_needs_no_noise_to_translate(encoder: Encoder) -> None:
    model, data = built("murd", encoder), batch()
    assert not torch.equal(model.translate(data), model.translate(data))
    model.eval()
    assert torch.equal(model.translate(data), model.translate(data))


def test_site_mixing_averages_the_views(encoder: Encoder) -> None:
    model, data = built("simix", encoder), batch()
    assert isinstance(model, SiMix)
    torch.nn.init.normal_(model.translator.last.weight, std=0.1)
    first = model.translator(data.source, data.target_site)
    views = [
        model.translator(mix(data.source, first, fraction), data.target_site)
        for fraction in VIEW_FRACTIONS
    ]
    assert torch.allclose(model.translate(data), torch.stack(views).mean(dim=0), atol=1e-6)
    assert sum(VIEW_FRACTIONS) == 0
    assert not any(name.startswith("_encoder") for name in model.state_dict())


def test_a_paired_network_learns_the_site(encoder: Encoder) -> None:
    model, data = built("cgan", encoder), batch()
    before = float((data.centre - data.truth).abs().mean())
    descend(model, data, 120)
    after = float((model.translate(data) - data.truth).abs().mean().detach())
    assert after < 0.6 * before


def test_hierarchy_flow_comes_back_without_a_style(encoder: Encoder) -> None:
    model, data = built("hierarchy-flow", encoder), batch()
    assert isinstance(model, HierarchyFlowComparator)
    assert torch.allclose(model.flow(data.source, data.mask, None), data.source, atol=1e-5)
    changed = model.flow(data.source, data.mask, model.style(data.reference))
    assert not torch.allclose(changed, data.source, atol=1e-2)


def test_style_and_content_losses_vanish_for_the_same_image(encoder: Encoder) -> None:
    data = batch()
    maps = encoder(data.source)
    assert float(content_loss(maps[-1], maps[-1], data.mask)) == 0
    assert float(aligned_style_loss(maps, data.mask, maps, data.mask)) == 0
    # Content ignores the contrast, style does not.
    scaled = [2 * features + 1 for features in maps]
    assert float(content_loss(scaled[-1], maps[-1], data.mask)) < 0.2
    assert float(aligned_style_loss(scaled, data.mask, maps, data.mask)) > 0.1


def test_the_printed_network_is_as_printed(encoder: Encoder) -> None:
    model, data = built("ihf-printed", encoder), batch()
    assert isinstance(model, PrintedIHF)
    architecture = model.network.architecture
    assert (architecture.form, architecture.reverse) == ("printed", "printed")
    assert set(model.losses(data).terms) == {"anatomy", "artefact"}


def test_cyclegan_has_a_translator_for_every_ordered_pair(encoder: Encoder) -> None:
    model, data = built("cyclegan", encoder), batch()
    assert isinstance(model, CycleGAN)
    assert len(model.translators) == len(model.pairs) == 2 * 6
    assert all(SITES[a].split(" ")[1] == SITES[b].split(" ")[1] for a, b in model.pairs)
    torch.nn.init.normal_(model.translators[model.pairs.index((0, 1))].last.weight, std=0.1)
    changed = (model.translate(data) - data.centre).abs().amax(dim=(1, 2, 3)) > 0
    assert changed.tolist() == [bool(s == 0 and t == 1) for s, t in zip(
        data.source_site, data.target_site, strict=True)]  # fmt: skip


def scan(modality: str = "T1w") -> NetworkInput:
    shape = (*SHAPE, 6)
    blobs, mask = tissue(6, 3)
    data = (100 * blobs[:, 0] * mask[:, 0]).permute(1, 2, 0).numpy().astype(np.float32)
    brain = np.ascontiguousarray(mask[:, 0].permute(1, 2, 0).numpy())
    return NetworkInput(
        data, brain, Grid(shape, np.eye(4)), IntensityScale(0.0, 100.0), None, modality
    )


def target(vendor: str | None, on_grid: NetworkInput, slices: np.ndarray) -> TargetScan:
    mask = on_grid.brain[:, :, slices].copy()
    mask[:, :, 0] = False  # the reference ends below
    return TargetScan(
        vendor, IntensityScale(0.0, 1000.0), 8 * on_grid.data[:, :, slices] + 50, mask
    )


@pytest.mark.parametrize("kind", COMPARATOR_KINDS)
def test_weights_come_back_and_translate_a_scan(
    kind: ComparatorKind, encoder: Encoder, tmp_path: Path
) -> None:
    model = built(kind, encoder)
    path = tmp_path / "comparator.safetensors"
    path.write_bytes(pack_comparator(model, "hash", {"people": ["a"]}))
    loaded = load_comparator(path, encoder, "hash")
    assert loaded.model.settings == model.settings
    assert loaded.model.judge is None
    assert loaded.record["people"] == ["a"]
    on_grid, slices = scan(), np.array([1, 3, 4])
    reference = target("GE", on_grid, slices)
    image = translate_scan(loaded.model, on_grid, slices, reference, "Siemens")
    assert image.shape == (*SHAPE, 3)
    assert np.isfinite(image).all()
    again = translate_scan(loaded.model, on_grid, slices, reference, "Siemens")
    np.testing.assert_array_equal(image, again)
    outside = ~on_grid.brain[:, :, slices]
    expected = 10 * on_grid.data[:, :, slices]
    np.testing.assert_allclose(image[outside], expected[outside], atol=1e-2)
    if kind in ("cgan", "simix", "cyclegan"):  # start at no change, in the target's units
        np.testing.assert_allclose(image, expected, atol=0.1)
    with pytest.raises(BadData, match="another encoder"):
        load_comparator(path, encoder, "other")


def test_what_is_no_comparator_is_refused(encoder: Encoder, tmp_path: Path) -> None:
    path = tmp_path / "comparator.safetensors"
    path.write_bytes(b"no tensors")
    with pytest.raises(BadData, match="not a readable safetensors"):
        load_comparator(path, encoder, "hash")


def test_sites_bound_what_can_be_translated(encoder: Encoder) -> None:
    assert settings("murd").site("GE", "T2w") == 4
    assert settings("murd").site(None, "T2w") == UNKNOWN_SITE
    found = {
        kind: [
            can_translate(built(kind, encoder), *case)
            for case in (
                ("T1w", "GE", "Siemens"),
                ("T1w", None, "Siemens"),
                ("T1w", None, None),
                ("FLAIR", "GE", "Siemens"),
            )
        ]
        for kind in COMPARATOR_KINDS
    }
    by_site, by_reference = [True, True, False, False], [True, True, True, False]
    assert found == {
        "murd": by_site,
        "cgan": by_site,
        "simix": by_site,
        "hierarchy-flow": by_reference,
        "ihf-printed": by_reference,
        "cyclegan": [True, False, False, False],
    }
