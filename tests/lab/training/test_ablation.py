"""Losses and designs side by side, on tiny subjects."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import pytest
import torch

from bids_ihf.lab.benchmarks import ablation, ablation_plan
from bids_ihf.lab.benchmarks.ablation import run_ablation
from bids_ihf.lab.benchmarks.ablation_plan import AblationPlan, Design

if TYPE_CHECKING:
    from pathlib import Path

DESIGNS = (
    Design("first"),
    Design("the same again"),
    Design("unchanged", {"supervised": 0, "anatomy": 0, "artefact": 1e-12}),
    Design("scaled", {"supervised": 0, "anatomy": 0, "artefact": 1e-12}, matched=False),
)


@pytest.fixture
def plan(labels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AblationPlan:
    narrow = attrs.evolve(
        ablation_plan.HALF_WIDTH, hidden=(4, 4), style=4, local=(2, 2), learning_rate=1e-4
    )
    monkeypatch.setattr(ablation_plan, "HALF_WIDTH", narrow)
    return AblationPlan(
        labels, tmp_path, steps=2, batch=2, training=("person-0", "person-1"),
        measured={"test": ("person-2",)}, modalities=("T1w",), designs=DESIGNS,
    )  # fmt: skip


def test_networks_are_trained_on_the_same_batches(
    plan: AblationPlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = run_ablation(plan)
    rows = {row["design"]: row for row in table.rows if row["modality"] == "T1w"}
    assert all(set(row) == set(table.columns) for row in rows.values())
    assert len({row["curve"] for row in rows.values()}) == 1
    assert rows["first"]["network"] == rows["the same again"]["network"]
    assert rows["first"]["network"] != rows["unchanged"]["network"]
    # A network that has learned next to nothing gives what it was given.
    assert rows["unchanged"]["ratio"] == pytest.approx(1, abs=0.02)
    assert abs(rows["scaled"]["ratio"] - rows["unchanged"]["ratio"]) > 0.02
    # A run that was stopped goes on, and one that is complete is only measured again.
    monkeypatch.setattr(ablation, "_train_side_by_side", lambda *_: None)
    assert run_ablation(plan).rows == table.rows


def test_every_design_can_be_built(plan: AblationPlan) -> None:
    from bids_ihf.lab.training.network_training import architecture
    from bids_ihf.network.checkpoint import load_encoder
    from bids_ihf.network.flow import IHFNetwork

    torch.manual_seed(0)
    whole = attrs.evolve(plan, designs=ablation_plan.DESIGNS)
    encoder, _ = load_encoder()
    for number, design in enumerate(whole.designs):
        network = IHFNetwork(architecture(whole.config(number).network, encoder))
        assert sum(1 for _ in network.parameters()), design.name
