"""Rows of training from the maps that the directions of a diffusion series share.

As in the product, the shell model sets the levels of the source's maps before the network sees
them, by the profile of the series and that of the target at its b-value.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import numpy as np

from bids_ihf.dwi.shell_plan import make_plan
from bids_ihf.lab.simulation.epi_population import (
    TYPICAL_SHELLS_S_PER_MM2,
    draw_shell_scanner,
    typical_shell_scanner,
)
from bids_ihf.lab.simulation.populations import ANY_VENDOR
from bids_ihf.lab.training.batch_sampling import (
    SAME_SUBJECT_PROBABILITY,
    SLAB_PROBABILITY,
    profile_slab,
)
from bids_ihf.lab.training.drawn_scanners import (
    draw,
    draw_target,
    knows_scanner,
    knows_vendor,
)
from bids_ihf.lab.training.shell_scans import scan_shell_slab, shell_statistics
from bids_ihf.lab.training.slab_rows import (
    UNKNOWN_MODALITY_PROBABILITY,
    SlabRows,
    slab_at,
    stacked,
    vary_rows,
    with_embeddings,
    with_embeddings_of,
)
from bids_ihf.lab.training.slab_scans import SLAB_SLICES, random_slab
from bids_ihf.network.context import slice_context
from bids_ihf.targets.diffusion_profile import (
    merge_diffusion_profiles,
    vendor_diffusion_profiles,
)
from bids_ihf.targets.intensity import HISTOGRAM_BINS, histogram
from bids_ihf.targets.map_profiles import map_key
from bids_ihf.targets.network_input import clip_to_network_range
from bids_ihf.targets.profile import Profile, merge_profiles, slice_position
from bids_ihf.targets.source_profile import SourceProfile

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bids_ihf.lab.simulation.epi_population import ShellScanner
    from bids_ihf.lab.training.drawn_scanners import Drawn
    from bids_ihf.lab.training.shell_scans import ShellStatistics
    from bids_ihf.lab.training.slab_scans import Slab
    from bids_ihf.lab.training.subject_sampling import EncodingSampler
    from bids_ihf.lab.training.template_subjects import TemplateSubject
    from bids_ihf.targets.diffusion_profile import DiffusionProfile

    Array = NDArray[np.float32]

OTHER_SHELL_PROBABILITY = 0.3
"""Probability that the target's maps are of another shell than the source's."""

MAX_TARGET_SUBJECTS, MAX_EMBEDDED_SUBJECTS = 3, 2
"""Most subjects behind the profile, and behind the embeddings, of a target that is drawn."""

MIN_SAMPLED_VOXELS = 10
"""Brain voxels of the sample that a slice position needs."""


def draw_map_rows(
    sampler: EncodingSampler[SlabRows], modality: str, rng: np.random.Generator
) -> SlabRows:
    """The rows of a slab of one of `map_profiles.DIFFUSION_MAPS`.

    Raises
    ------
    ValueError
        The series shows too little tissue to be measured.
    """
    subject = sampler.subjects[int(rng.integers(len(sampler.subjects)))]
    source = _draw_shell(rng)
    b = source.scanner.protocol.b
    target = _draw_target(b, rng)
    slab = random_slab(subject, rng)
    noise = int(rng.integers(2**30))
    own, repeat = (
        shell_statistics(subject, drawn.scanner, noise + number)
        for number, drawn in enumerate((source, target))
    )
    scanned, truth = (
        scan_shell_slab(subject, slab, drawn.scanner, statistics.correction, noise + number)
        for number, (drawn, statistics) in enumerate(((source, own), (target, repeat)))
    )
    plane = subject.mask.shape[1:]
    if rng.random() < SAME_SUBJECT_PROBABILITY:
        image, maps = truth.maps.by_name()[modality], repeat.maps.by_name()
        scale = repeat.scales(maps)[modality]
        data = clip_to_network_range(truth.slices(image, scale, slab, plane))
        z, mask = subject.z[slab.first : slab.stop], subject.brain_mask(slab.first, slab.stop)
        bare = sampled_profile(subject, repeat, modality)
        profile = with_embeddings(bare, data, mask, z, sampler.encoder, modality)
        target_series = repeat.profile
    else:
        profile, target_series = _target_profiles(sampler, subject, slab, target, modality, rng)
    known = _source_profile(sampler, subject, source, rng)
    plan = make_plan(own.profile, target_series, known)
    scale = own.scales(own.maps.harmonized(plan))[modality]
    first_scale = own.scales(own.maps.by_name())[modality]
    images = (
        scanned.slices(scanned.maps.by_name()[modality], first_scale, slab, plane),
        scanned.slices(scanned.maps.harmonized(plan)[modality], scale, slab, plane),
        truth.slices(truth.maps.by_name()[modality], scale, slab, plane),
    )
    return _rows(subject, slab, images, profile, modality, rng)


def _rows(
    subject: TemplateSubject,
    slab: Slab,
    images: tuple[Array, Array, Array],
    profile: Profile,
    modality: str,
    rng: np.random.Generator,
) -> SlabRows:
    """Rows from the slices (Z + 2, X, Y) of the source as it is, after the shell model, and of the
    target, in network units."""
    z = subject.z[slab.first : slab.stop]
    if rng.random() < SLAB_PROBABILITY:
        profile = profile_slab(profile, float(z[len(z) // 2]), rng)
    index = np.sort(rng.choice(len(z), SLAB_SLICES, replace=len(z) < SLAB_SLICES))
    scaled, matched, truth = (clip_to_network_range(image) for image in images)
    stacks = [stacked(image, index) for image in (scaled, matched)]
    mask = subject.brain_mask(slab.first, slab.stop)
    scaled, matched, truth, mask = vary_rows([*stacks, truth[index + 1], mask[index]], rng)
    told = modality if rng.random() >= UNKNOWN_MODALITY_PROBABILITY else ""
    return SlabRows(
        scaled,
        matched,
        truth,
        mask,
        target=profile.embeddings_at(z[index]),
        context=slice_context(told, z[index]),
        modality=modality,
    )


def _draw_shell(rng: np.random.Generator) -> Drawn[ShellScanner]:
    """A scanner of a vendor with a shell, or a random one."""
    return draw(
        draw_shell_scanner, lambda seed: draw_shell_scanner(ANY_VENDOR, seed, wide=True), rng
    )


def _draw_target(b: float, rng: np.random.Generator) -> Drawn[ShellScanner]:
    """A target's scanner, at the b-value of the source."""

    def draw_other() -> Drawn[ShellScanner]:
        drawn = _draw_shell(rng)
        return attrs.evolve(drawn, scanner=drawn.scanner.at(b))

    return draw_target(
        lambda vendor, seed: typical_shell_scanner(vendor, b, seed), draw_other, rng
    )


def _target_profiles(
    sampler: EncodingSampler[SlabRows],
    subject: TemplateSubject,
    slab: Slab,
    target: Drawn[ShellScanner],
    modality: str,
    rng: np.random.Generator,
) -> tuple[Profile, DiffusionProfile]:
    """The target's profile of a map, and that of its series, from other subjects."""
    b = target.scanner.protocol.b
    if target.typical:
        nearest = min(TYPICAL_SHELLS_S_PER_MM2, key=lambda shell: abs(shell - b))
        typical = sampler.typical_profile(target.vendor, map_key(modality, nearest), subject)
        return typical, vendor_diffusion_profiles()[target.vendor]
    other_b = float(rng.choice(TYPICAL_SHELLS_S_PER_MM2))
    shown = target.scanner.at(other_b if rng.random() < OTHER_SHELL_PROBABILITY else b)
    profiles: list[Profile] = []
    series: list[DiffusionProfile] = []
    for turn, other in enumerate(sampler.draw_others(subject, MAX_TARGET_SUBJECTS, rng)):
        noise = int(rng.integers(2**30))
        statistics = shell_statistics(other, target.scanner, noise)
        series.append(statistics.profile)
        if turn >= MAX_EMBEDDED_SUBJECTS:
            bare = sampled_profile(other, statistics, modality)
            profiles.append(with_embeddings_of(bare, profiles[-1]))
            continue
        if shown is not target.scanner:
            statistics = shell_statistics(other, shown, noise)
        same = slab_at(other, slab, subject.z[slab.first])
        scanned = scan_shell_slab(other, same, shown, statistics.correction, noise)
        scale = statistics.scales(statistics.maps.by_name())[modality]
        image = scanned.maps.by_name()[modality]
        data = clip_to_network_range(scanned.slices(image, scale, same, other.mask.shape[1:]))
        bare = sampled_profile(other, statistics, modality)
        mask, z = other.brain_mask(same.first, same.stop), other.z[same.first : same.stop]
        profiles.append(with_embeddings(bare, data, mask, z, sampler.encoder, modality))
    return merge_profiles(profiles), merge_diffusion_profiles(series)


def _source_profile(
    sampler: EncodingSampler[SlabRows],
    subject: TemplateSubject,
    source: Drawn[ShellScanner],
    rng: np.random.Generator,
) -> SourceProfile[DiffusionProfile] | None:
    """The typical profile of the source's vendor, or that of its scanner, or None."""
    if knows_vendor(source, rng):
        return SourceProfile(vendor_diffusion_profiles()[source.vendor], name=source.vendor)
    if not knows_scanner(rng):
        return None
    profiles = [
        shell_statistics(other, source.scanner, int(rng.integers(2**30))).profile
        for other in sampler.draw_others(subject, MAX_TARGET_SUBJECTS, rng)
    ]
    return SourceProfile(merge_diffusion_profiles(profiles), subjects=len(profiles))


def sampled_profile(
    subject: TemplateSubject, statistics: ShellStatistics, modality: str
) -> Profile:
    """The profile of a map from the sample of a brain, without embeddings and tissues."""
    image = statistics.maps.by_name()[modality]
    scale = statistics.scales({modality: image})[modality]
    affine, shape = subject.sample.affine, subject.sample.mask.shape
    data = clip_to_network_range(scale.normalize(image)).reshape(shape)
    inside = statistics.inside.reshape(shape)
    covered = np.flatnonzero(inside.sum(axis=(0, 1, 2)) >= MIN_SAMPLED_VOXELS)
    return Profile(
        positions=slice_position(affine[2, 3] + affine[2, 2] * covered),
        histograms=np.stack([histogram(data[..., k][inside[..., k]]) for k in covered]),
        embeddings=np.zeros((len(covered), 0), dtype=np.float32),
        landmarks=np.full(3, np.nan),
        tissue_histograms=np.zeros((3, HISTOGRAM_BINS)),
        scale=scale,
    )
