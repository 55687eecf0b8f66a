"""Tissues and signal equations: limits known in closed form, and the order of the tissues."""

from __future__ import annotations

import numpy as np
import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from bids_ihf.bids.names import ANATOMICAL_MODALITIES, Modality
from bids_ihf.lab.simulation.metadata import anatomical_sidecar
from bids_ihf.lab.simulation.populations import is_plausible, typical_protocol
from bids_ihf.lab.simulation.protocol import Protocol
from bids_ihf.lab.simulation.random_protocols import random_protocol
from bids_ihf.lab.simulation.signal_equations import brain_contrast, tissue_signal
from bids_ihf.lab.simulation.tissues import SIMULATED_TISSUES, Tissue, tissue
from bids_ihf.targets.target import BUILTIN_VENDORS

BRAIN = ("grey", "white", "deep_grey")
PROTOCOLS = [
    typical_protocol(vendor, modality)
    for vendor in BUILTIN_VENDORS
    for modality in ANATOMICAL_MODALITIES
]


@pytest.mark.parametrize("one", SIMULATED_TISSUES, ids=lambda one: one.name)
def test_relaxation_meets_the_table_and_lies_between(one: Tissue) -> None:
    low, middle, high = (one.relaxation(field) for field in (1.5, 2.1, 3.0))
    assert low.t1 == pytest.approx(one.t1_15 / 1000)
    assert high.t2 == pytest.approx(one.t2_30 / 1000)
    assert min(low.t1, high.t1) <= middle.t1 <= max(low.t1, high.t1)


def test_t1_grows_with_field_in_the_brain() -> None:
    for name in BRAIN:
        assert tissue(name).relaxation(3.0).t1 > 1.2 * tissue(name).relaxation(1.5).t1


@pytest.mark.parametrize("protocol", PROTOCOLS, ids=lambda p: f"{p.vendor}-{p.modality}")
def test_vendors_have_the_order_of_their_modality(protocol: Protocol) -> None:
    ratio = brain_contrast(protocol)
    assert is_plausible(protocol)
    if protocol.modality == "T1w":
        assert ratio["csf"] < ratio["grey"] < ratio["deep_grey"] < 1
    elif protocol.modality == "T2w":
        assert ratio["csf"] > ratio["grey"] > ratio["deep_grey"] > 1
    else:
        assert ratio["csf"] < 0.5 < 1 < ratio["grey"]


@pytest.mark.parametrize("protocol", PROTOCOLS, ids=lambda p: f"{p.vendor}-{p.modality}")
@pytest.mark.parametrize("name", BRAIN)
def test_texture_has_opposite_signs_in_t1w_and_t2w(protocol: Protocol, name: str) -> None:
    change = (
        tissue_signal(protocol, tissue(name), texture=1.0) / tissue_signal(protocol, tissue(name))
        - 1
    )
    if protocol.modality == "FLAIR":  # T2 and T1 of the texture oppose each other
        assert 0.005 < change < 0.09
        return
    assert 0.02 < abs(change) < 0.09
    assert (change < 0) == (protocol.modality == "T1w")


def test_air_gives_nothing_and_bone_next_to_nothing() -> None:
    for protocol in PROTOCOLS:
        assert tissue_signal(protocol, tissue("air")) == 0
        assert tissue_signal(protocol, tissue("bone")) < 0.01 * tissue_signal(
            protocol, tissue("white")
        )


def test_inversion_train_becomes_plain_inversion_recovery() -> None:
    """One 90-degree pulse after a full recovery: M = 1 - (1 + efficiency) exp(-TI / T1)."""
    protocol = Protocol("x", 3.0, "MPRAGE", 0.0, 60.0, 90.0, 1.0, 0.001, 1, 0.0)
    white = tissue("white").relaxation(3.0)
    expected = white.density * abs(1 - 1.96 * np.exp(-1.0 / white.t1))
    assert tissue_signal(protocol, tissue("white")) == pytest.approx(expected, rel=1e-3)


def test_inversion_train_agrees_with_a_pulse_by_pulse_simulation() -> None:
    protocol = typical_protocol("Siemens", "T1w")
    grey = tissue("grey").relaxation(3.0)
    angle = np.deg2rad(protocol.flip_angle)
    before = round(protocol.centre * protocol.echoes)
    wait = protocol.inversion_time - before * protocol.echo_spacing
    rest = protocol.repetition_time - wait - protocol.echoes * protocol.echo_spacing

    def relax(m: float, seconds: float) -> float:
        return 1 + (m - 1) * np.exp(-seconds / grey.t1)

    m, at_centre = 1.0, 0.0
    for _ in range(20):
        m = relax(-0.96 * m, wait)
        for pulse in range(protocol.echoes):
            at_centre = m if pulse == before else at_centre
            m = relax(m * np.cos(angle), protocol.echo_spacing)
        m = relax(m, rest)
    expected = grey.density * at_centre * np.sin(angle) * np.exp(-protocol.echo_time / grey.t2)
    assert tissue_signal(protocol, tissue("grey")) == pytest.approx(expected, rel=1e-6)


def test_spin_echo_with_full_refocusing_decays_with_t2_alone() -> None:
    protocol = Protocol("x", 3.0, "TSE", 0.1, 1000.0, 180.0, modality="T2w")
    white = tissue("white").relaxation(3.0)
    expected = white.density * np.exp(-0.1 / white.t2)
    assert tissue_signal(protocol, tissue("white")) == pytest.approx(expected, rel=1e-6)


def test_time_stored_along_the_field_decays_with_t1() -> None:
    stored = Protocol("x", 3.0, "TSE", 0.5, 1000.0, 120.0, transverse_time=0.1)
    plain = evolve(stored, echo_time=0.1)
    t1 = tissue("grey").relaxation(3.0).t1
    ratio = tissue_signal(stored, tissue("grey")) / tissue_signal(plain, tissue("grey"))
    assert ratio == pytest.approx(np.exp(-0.4 / t1), rel=1e-6)


def test_transmit_field_changes_the_contrast() -> None:
    for protocol in PROTOCOLS:
        ratio = tissue_signal(protocol, tissue("grey"), [0.8, 1.2]) / tissue_signal(
            protocol, tissue("white"), [0.8, 1.2]
        )
        assert abs(ratio[1] / ratio[0] - 1) > 0.02


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), modality=st.sampled_from(ANATOMICAL_MODALITIES))
def test_random_protocols_are_plausible_and_repeatable(seed: int, modality: Modality) -> None:
    protocol = random_protocol(modality, np.random.default_rng(seed))
    assert protocol == random_protocol(modality, np.random.default_rng(seed))
    assert protocol.modality == modality
    assert 0.05 <= protocol.field_strength <= 7.0
    assert is_plausible(protocol)


@pytest.mark.parametrize("modality", ANATOMICAL_MODALITIES)
def test_random_protocols_span_more_than_the_vendors(modality: Modality) -> None:
    rng = np.random.default_rng(0)
    drawn = [brain_contrast(random_protocol(modality, rng)) for _ in range(100)]
    vendors = [brain_contrast(typical_protocol(vendor, modality)) for vendor in BUILTIN_VENDORS]
    # A vendor's FLAIR nulls CSF.
    for name in ("grey",) if modality == "FLAIR" else ("grey", "csf"):
        values = [contrast[name] for contrast in drawn]
        assert min(values) < min(contrast[name] for contrast in vendors)
        assert max(values) > max(contrast[name] for contrast in vendors)


def test_sidecar_speaks_as_the_vendor() -> None:
    fields = anatomical_sidecar(typical_protocol("GE", "T1w"))
    assert fields["Manufacturer"] == "GE MEDICAL SYSTEMS"
    assert fields["EchoTime"] < 0.1
    assert fields["InversionTime"] == 0.88
    flair = anatomical_sidecar(typical_protocol("Siemens", "FLAIR"))
    assert flair["ScanningSequence"] == "SE\\IR"
    assert flair["InversionTime"] == 1.8
    assert "InversionTime" not in anatomical_sidecar(typical_protocol("Siemens", "T2w"))
