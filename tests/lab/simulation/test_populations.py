"""Vendors as populations: real protocols, what completes them, and the scanners drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from attrs import evolve

from bids_ihf.bids.names import ANATOMICAL_MODALITIES, Modality
from bids_ihf.lab.simulation.acquisition import scan
from bids_ihf.lab.simulation.completion import Completion, complete_protocol
from bids_ihf.lab.simulation.make_protocol_table import convert, is_credible
from bids_ihf.lab.simulation.populations import (
    ANY_VENDOR,
    draw_real_protocol,
    is_plausible,
    population,
    typical_row,
)
from bids_ihf.lab.simulation.protocol import Protocol
from bids_ihf.lab.simulation.protocol_table import real_protocols
from bids_ihf.lab.simulation.signal_equations import brain_contrast, tissue_signal
from bids_ihf.lab.simulation.tissues import tissue
from bids_ihf.lab.simulation.vendor_scanners import typical_scanner, vendor_scanner
from bids_ihf.targets.target import BUILTIN_VENDORS

if TYPE_CHECKING:
    from bids_ihf.lab.simulation.anatomy import Anatomy
    from bids_ihf.lab.simulation.scanner import Scanner

SIDECAR = dict.fromkeys(
    (
        "source", "dataset", "site", "Manufacturer", "ManufacturersModelName",
        "MagneticFieldStrength", "suffix", "PulseSequence", "ScanningSequence",
        "MRAcquisitionType", "RepetitionTime", "RepetitionTimeOther", "InversionTime", "EchoTime",
        "FlipAngle", "EchoTrainLength", "EchoSpacing", "SliceThickness", "SpacingBetweenSlices",
        "VoxelSize", "MatrixPE", "PercentPhaseFOV", "ParallelReductionFactorInPlane",
        "PartialFourier", "ImageType", "PrescanNormHint", "bvalues",
    ),
    "n/a",
)  # fmt: skip


class TestTable:
    """The table of real protocols."""

    def test_every_vendor_has_every_contrast_and_one_target(self) -> None:
        for vendor in BUILTIN_VENDORS:
            for modality in ANATOMICAL_MODALITIES:
                rows = population(vendor, modality)
                assert len(rows) >= 4
                assert sum(row.target for row in rows) == 1
                target = typical_row(vendor, modality)
                assert (target.dimensions, target.field_strength) == (3, 3.0)

    def test_times_are_those_of_the_modality(self) -> None:
        for row in real_protocols():
            assert 0.001 < row.echo_time < 0.7
            if row.modality == "FLAIR":
                assert row.inversion_time is not None
                assert row.inversion_time > 1.5

    def test_a_study_of_many_sites_does_not_become_the_vendor(self) -> None:
        rng = np.random.default_rng(0)
        drawn = [draw_real_protocol("Siemens", "T1w", rng).dataset for _ in range(400)]
        rows = [row.dataset for row in population("Siemens", "T1w")]
        prescribed = sum("spine-generic" in name for name in rows) / len(rows)
        assert sum("spine-generic" in name for name in drawn) / 400 < 0.5 * prescribed

    def test_a_flair_that_is_called_t2w_counts_as_flair(self) -> None:
        row = SIDECAR | {
            "suffix": "T2w", "ScanningSequence": "SE\\IR", "MRAcquisitionType": "3D",
            "RepetitionTime": "5", "InversionTime": "1.8", "EchoTime": "0.397",
        }  # fmt: skip
        assert convert(row)["modality"] == "FLAIR"
        assert convert(row | {"InversionTime": "n/a"})["modality"] == "T2w"

    def test_time_between_pulses_is_not_taken_for_the_repetition_time(self) -> None:
        row = SIDECAR | {
            "suffix": "T1w", "ScanningSequence": "GR", "MRAcquisitionType": "3D",
            "RepetitionTime": "0.007", "EchoTime": "0.003",
        }  # fmt: skip
        record = convert(row)
        assert (record["repetition_time"], record["pulse_interval"]) == (None, 0.007)

    def test_numbers_of_another_image_are_left_out(self) -> None:
        epi = SIDECAR | {"suffix": "T1w", "RepetitionTime": "2", "EchoTime": "0.095"}
        assert not is_credible(convert(epi))
        t1_flair = SIDECAR | {
            "suffix": "FLAIR", "RepetitionTime": "2.5", "EchoTime": "0.01",
            "InversionTime": "0.9",
        }  # fmt: skip
        assert not is_credible(convert(t1_flair))


class TestCompletion:
    """What no sidecar states."""

    def test_nearly_all_real_protocols_give_their_contrast(self) -> None:
        rng = np.random.default_rng(1)
        rows = [row for row in real_protocols() if row.modality in ANATOMICAL_MODALITIES]
        plausible = [
            is_plausible(complete_protocol(row, row.vendor, Completion(rng))) for row in rows
        ]
        assert np.mean(plausible) > 0.95

    def test_without_a_generator_it_is_the_middle_of_each_range(self) -> None:
        row = typical_row("Philips", "T1w")
        one, again = (complete_protocol(row, "Philips", Completion()) for _ in range(2))
        assert one == again
        assert one.echo_time == row.echo_time

    def test_flair_nulls_csf_and_shows_lesions(self) -> None:
        for vendor in BUILTIN_VENDORS:
            protocol = complete_protocol(typical_row(vendor, "FLAIR"), vendor, Completion())
            signals = {
                name: float(tissue_signal(protocol, tissue(name)))
                for name in ("csf", "white", "grey", "lesion")
            }
            assert signals["csf"] < 0.2 * signals["white"]
            assert signals["white"] < signals["grey"] < signals["lesion"]


def test_inverted_spin_echo_is_plain_inversion_recovery_after_full_recovery() -> None:
    """M = 1 - (1 + efficiency) exp(-TI / T1) at an echo time of 0."""
    protocol = Protocol(
        "x", 3.0, "TSE", 0.0, 1000.0, 180.0, 2.0, echoes=1, echo_spacing=0.0, modality="FLAIR"
    )
    grey = tissue("grey").relaxation(3.0)
    expected = grey.density * abs(1 - 1.96 * np.exp(-2.0 / grey.t1))
    assert tissue_signal(protocol, tissue("grey")) == pytest.approx(expected, rel=1e-6)


def test_spin_echo_agrees_with_a_pulse_by_pulse_simulation() -> None:
    """An excitation of 70 degrees, its refocusing pulse, and recovery, to the steady state."""
    protocol = Protocol(
        "x", 1.5, "SE", 0.0, 0.5, 180.0, echoes=1, echo_spacing=0.0, excitation_angle=70.0
    )
    white = tissue("white").relaxation(1.5)
    longitudinal = 1.0
    for _ in range(50):
        before = longitudinal
        left = -before * np.cos(np.deg2rad(70.0))  # turned over by the refocusing pulse
        longitudinal = 1 + (left - 1) * np.exp(-0.5 / white.t1)
    expected = white.density * before * np.sin(np.deg2rad(70.0))
    assert tissue_signal(protocol, tissue("white")) == pytest.approx(expected, rel=1e-6)


class TestScanners:
    """Typical scanners, and the population around them."""

    @pytest.mark.parametrize("modality", ANATOMICAL_MODALITIES)
    @pytest.mark.parametrize("vendor", BUILTIN_VENDORS)
    def test_a_population_varies_more_than_its_typical_scanner(
        self, vendor: str, modality: Modality
    ) -> None:
        def spread(scanners: list[float]) -> float:
            return float(np.std(np.log(scanners)))

        typical = [typical_scanner(vendor, modality, seed) for seed in range(30)]
        drawn = [vendor_scanner(vendor, modality, seed) for seed in range(30)]
        grey = [[brain_contrast(s.protocol)["grey"] for s in group] for group in (typical, drawn)]
        assert spread(grey[1]) > 2 * spread(grey[0])
        assert spread([s.noise for s in drawn]) > 2 * spread([s.noise for s in typical])
        assert len({s.protocol.name for s in drawn}) > 2
        assert len({s.protocol.name for s in typical}) == 1

    def test_normalized_images_have_less_of_the_coil(self) -> None:
        normalized, raw = [], []
        rows = {row.name: row.normalized for row in population("Siemens", "T1w")}
        for seed in range(60):
            scanner = vendor_scanner("Siemens", "T1w", seed)
            group = normalized if rows[scanner.protocol.name] == "yes" else raw
            group.append(scanner.receive_edge)
        assert np.mean(normalized) < np.mean(raw) - 0.1

    def test_two_dimensional_protocols_have_slices_with_gaps(self) -> None:
        scanners = [vendor_scanner(ANY_VENDOR, "FLAIR", seed) for seed in range(40)]
        thick = [scanner for scanner in scanners if scanner.thickness > 2]
        assert 5 < len(thick) < 35
        assert any(scanner.slice_spacing > 1.1 * scanner.thickness for scanner in thick)

    @pytest.mark.parametrize("modality", ANATOMICAL_MODALITIES)
    def test_scans_are_finite_and_not_negative(self, phantom: Anatomy, modality: Modality) -> None:
        for seed in range(4):
            image = scan(phantom, vendor_scanner(ANY_VENDOR, modality, seed), seed)
            assert np.isfinite(image).all()
            assert image.min() >= 0
            assert image.max() > 5


def test_a_gap_between_slices_takes_more_detail_than_none(phantom: Anatomy) -> None:
    scanner = evolve(typical_scanner("GE", "T1w", 1), noise=0.0, rounding=False, slice_axis=2)

    def detail(spacing: float) -> float:
        image = scan(phantom, evolve(scanner, thickness=8.0, spacing=spacing), 0)
        return float(np.abs(np.diff(image, axis=2)).mean())

    assert detail(16.0) < detail(8.0) < detail(4.0)


def test_what_is_not_acquired_of_k_space_is_missing(phantom: Anatomy) -> None:
    scanner = evolve(
        typical_scanner("GE", "T1w", 1), noise=0.0, rounding=False, phase_axis=1, slice_axis=2
    )
    high = np.abs(np.fft.fftfreq(phantom.shape[1])) > 0.4

    def power(scanner: Scanner, region: Any) -> float:
        spectrum = np.fft.fftn(scan(phantom, scanner, 0))
        return float(np.square(np.abs(spectrum[:, *region])).sum())

    edge, corners = (high, slice(None)), np.ix_(high, high)
    half = evolve(scanner, partial_fourier=0.6)
    assert power(half, edge) < 0.5 * power(scanner, edge)
    ellipse = evolve(scanner, elliptical=True)
    assert power(ellipse, corners) < 0.5 * power(scanner, corners)
