"""Faults at random moments of real runs: what is present afterwards is complete, what is missing
was named, and the next run finishes."""

from __future__ import annotations

import gzip
import os
import random
import resource
import shutil
import signal
import subprocess
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import nibabel
import numpy as np
import psutil
from attrs import evolve, field, frozen

from tests.reliability import outputs, phantom, runs
from tests.reliability.runs import Job, Limits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

TARGETS = ("Siemens", "GE")
SUFFIXES = ("T1w", "dwi")
DISK_MB = 24
TIRED = 6
"""Faults after which a chain is let finish and a new one begins."""


@frozen
class World:
    """A dataset, the folders of its runs, and what they write where nothing goes wrong."""

    folder: Path
    undisturbed: outputs.Undisturbed
    seconds: float
    mounted: bool

    @property
    def bids(self) -> Path:
        """The input, which a fault may spoil."""
        return self.folder / "bids"

    @property
    def out(self) -> Path:
        """Results, on a small disk of their own where one can be mounted."""
        return self.folder / "disk/out"

    @property
    def work(self) -> Path:
        """Intermediate files, on the other small disk."""
        return self.folder / "scratch/work"

    def start(self, target: str, limits: Limits | None = None, *more: str) -> Job:
        """Start a run."""
        words = runs.participant(self.bids, self.out, self.work, "--target", target, *more)
        return runs.start(words, self.folder / "said", limits)

    def renew(self) -> None:
        """Take everything away but the input, which is made whole."""
        for path in (self.out, self.work, self.bids):
            shutil.rmtree(path, ignore_errors=True)
        shutil.copytree(self.folder / "whole", self.bids)

    def mend(self) -> None:
        """Make the input whole again, with the times it had."""
        shutil.rmtree(self.bids)
        shutil.copytree(self.folder / "whole", self.bids)


@frozen
class Fault:
    """Something that goes wrong: before the start, at a moment, and how it is put right.

    ``strike`` gets the world, the run and a source of chance; ``kills`` says that the run cannot
    report, ``deaf`` that its output folder cannot take a log.
    """

    name: str
    strike: Callable[[World, Job, random.Random], None]
    mend: Callable[[World], None] = lambda _world: None
    limits: Limits = field(factory=Limits)
    more: tuple[str, ...] = ()
    kills: bool = False
    deaf: bool = False
    needs_disk: bool = False


@frozen
class Round:
    """What came of one fault."""

    fault: str
    seed: int
    moment: float
    code: int
    complaints: tuple[str, ...]


# --- the faults -------------------------------------------------------------------------------


def _kill_run(_world: World, job: Job, _chance: random.Random) -> None:
    job.kill()


def _kill_worker(_world: World, job: Job, chance: random.Random) -> None:
    end = time.monotonic() + 300
    while job.running and time.monotonic() < end:
        busy = [pid for pid in job.workers() if _busy(pid)]
        if busy:
            job.kill(chance.choice(busy))
            return
        time.sleep(0.02)


def _busy(pid: int) -> bool:
    with suppress(psutil.Error):
        return sum(psutil.Process(pid).cpu_times()[:2]) > 0.5
    return False


def _fill(folder: Path, left: int) -> None:
    """Leave so many bytes of a disk."""
    free = shutil.disk_usage(folder).free
    with suppress(OSError), (folder / "balloon").open("wb") as file:
        for _ in range(max(0, free - left) // 4096):
            file.write(bytes(4096))


def _fill_disk(world: World, _job: Job, chance: random.Random) -> None:
    _fill(world.folder / "disk", chance.choice((0, 4096, 50_000)))


def _fill_scratch(world: World, _job: Job, chance: random.Random) -> None:
    _fill(world.folder / "scratch", chance.choice((0, 4096, 50_000)))


def _deflate(world: World) -> None:
    for name in ("disk", "scratch"):
        (world.folder / name / "balloon").unlink(missing_ok=True)


def _mount_read_only(world: World, job: Job, _chance: random.Random) -> None:
    while job.running and not _remount(world, "ro"):
        time.sleep(0.003)  # while a file is open for writing


def _mount_writable(world: World) -> None:
    assert _remount(world, "rw")


def _remount(world: World, mode: str) -> bool:
    words = ["mount", "-o", f"remount,{mode}", str(world.folder / "disk")]
    return subprocess.run(words, check=False, capture_output=True).returncode == 0


def _forbid(world: World, _job: Job, _chance: random.Random) -> None:
    for path in (world.out, *world.out.rglob("*")):
        if path.is_dir():
            path.chmod(0o555)


def _permit(world: World) -> None:
    for path in (world.out, *world.out.rglob("*")):
        if path.is_dir():
            path.chmod(0o755)


def _remove_output(world: World, _job: Job, chance: random.Random) -> None:
    folders = [path for path in (world.out, *world.out.rglob("*")) if path.is_dir()]
    shutil.rmtree(chance.choice(folders or [world.out]), ignore_errors=True)


def _starve(_world: World, job: Job, chance: random.Random) -> None:
    with suppress(psutil.Error, OSError):
        held = psutil.Process(job.pid).memory_info().vms
        most = held + chance.randrange(0, 40) * 2**20
        resource.prlimit(job.pid, resource.RLIMIT_AS, (most, most))


def _spoil(change: Callable[[Path, random.Random], None]) -> Callable[..., None]:
    """A fault of one scan of the input."""

    def strike(world: World, _job: Job, chance: random.Random) -> None:
        change(chance.choice(sorted(world.bids.rglob("*.nii.gz"))), chance)

    return strike


def truncate(path: Path, chance: random.Random) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: chance.randrange(len(content))])


def flip_bit(path: Path, chance: random.Random) -> None:
    content = bytearray(path.read_bytes())
    content[chance.randrange(10, len(content))] ^= 1 << chance.randrange(8)
    path.write_bytes(bytes(content))


def _set_voxels(value: float, share: float) -> Callable[[Path, random.Random], None]:
    def change(path: Path, _chance: random.Random) -> None:
        image = nibabel.load(path)
        data = image.get_fdata(dtype=np.float32)
        data.flat[: max(1, int(share * data.size))] = value
        content = nibabel.Nifti1Image(data, image.affine).to_bytes()
        path.write_bytes(gzip.compress(content))

    return change


def dangle(path: Path, _chance: random.Random) -> None:
    path.unlink()
    path.symlink_to("../../.git/annex/objects/gone")


def lock_away(path: Path, _chance: random.Random) -> None:
    path.chmod(0)


def _spoil_table(world: World, _job: Job, chance: random.Random) -> None:
    path = chance.choice(sorted((*world.bids.rglob("*.bvec"), *world.bids.rglob("*.bval"))))
    how = chance.randrange(4)
    if how == 0:
        path.unlink()
    else:
        path.write_text(("", "0 1 nan\n", " ".join(path.read_text().split()[:5]) + "\n")[how - 1])


def nothing(_world: World, _job: Job, _chance: random.Random) -> None:
    """The fault is in the limits."""


MINE = Limits(obey_permissions=True)
POOL = ("--n-procs", "2")
KILL = Fault("kill -9 of the run", _kill_run, kills=True)

FAULTS: tuple[tuple[Fault, int], ...] = (
    (KILL, 64),
    (Fault("kill -9 of a worker", _kill_worker, more=POOL), 3),
    (Fault("kill -9 of a run with workers", _kill_run, more=POOL, kills=True), 2),
    (Fault("output disk full", _fill_disk, _deflate, deaf=True, needs_disk=True), 26),
    (Fault("work disk full", _fill_scratch, _deflate, needs_disk=True), 14),
    (
        Fault("output turned read-only", _mount_read_only, _mount_writable, deaf=True,
              needs_disk=True), 14,
    ),
    (Fault("output not permitted any more", _forbid, _permit, limits=MINE, deaf=True), 10),
    (Fault("output removed", _remove_output, deaf=True), 16),
    (Fault("memory runs out", _starve, deaf=True), 14),
    (Fault("scan truncated", _spoil(truncate)), 10),
    (Fault("bit of a scan flipped", _spoil(flip_bit)), 10),
    (Fault("NaN voxels", _spoil(_set_voxels(np.nan, 0.01))), 4),
    (Fault("infinite voxels", _spoil(_set_voxels(np.inf, 0.01))), 4),
    (Fault("constant scan", _spoil(_set_voxels(7, 1))), 4),
    (Fault("empty scan", _spoil(_set_voxels(0, 1))), 4),
    (Fault("dangling link", _spoil(dangle)), 4),
    (Fault("unreadable scan", _spoil(lock_away), limits=MINE), 4),
    (Fault("b-table wrong or missing", _spoil_table), 10),
)  # fmt: skip
"""Each with its share."""


# --- the harness ------------------------------------------------------------------------------


@contextmanager
def world(folder: Path) -> Iterator[World]:
    """A world of its own, with disks of its own where this process may mount them."""
    disks = [folder / "disk", folder / "scratch"]
    for disk in disks:
        disk.mkdir(parents=True)
    mounted = [disk for disk in disks if _mount(disk)]
    try:
        whole = phantom.write_dataset(folder / "whole", suffixes=SUFFIXES)
        first = World(folder, outputs.Undisturbed({}), 0.0, len(mounted) == len(disks))
        first.renew()
        kept, seconds = {}, 0.0
        for target in TARGETS:
            job = first.start(target)
            last = 0.0
            while job.running:
                last = max(last, job.seconds())
                time.sleep(0.1)
            done = job.wait()
            assert done.code == 0, done.err
            kept[target] = (
                first.out.rename(folder / f"undisturbed-{target}")
                if not mounted
                else Path(shutil.copytree(first.out, folder / f"undisturbed-{target}"))
            )
            first.renew()
            seconds = last
        assert whole.is_dir()
        yield evolve(first, undisturbed=outputs.Undisturbed.read(kept), seconds=seconds)
    finally:
        for disk in mounted:
            _unmount(disk)


def _mount(folder: Path) -> bool:
    if shutil.which("mount") is None or os.geteuid() != 0:
        return False
    words = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m", "tmpfs", str(folder)]
    return subprocess.run(words, check=False, capture_output=True).returncode == 0


def _unmount(folder: Path) -> None:
    subprocess.run(["umount", "-l", str(folder)], check=False, capture_output=True)


def once(place: World, fault: Fault, seed: int) -> Round:
    """One run with one fault, and what is wrong with what it left."""
    chance = random.Random(seed)
    target, job, moment = _struck(place, fault, chance)
    done = job.wait()
    fault.mend(place)
    complaints = outputs.flaws(place.out, place.undisturbed)
    if fault.kills and done.code == -signal.SIGKILL:
        _wait_for_orphans(job, complaints)
    else:
        complaints += outputs.silence(
            done, place.out, place.undisturbed, target, readable=not fault.deaf
        )
    place.mend()
    return Round(fault.name, seed, round(moment, 2), done.code, tuple(complaints))


def _struck(place: World, fault: Fault, chance: random.Random) -> tuple[str, Job, float]:
    """A run that the fault met; where it comes too late, another."""
    for _ in range(10):
        target = chance.choice(TARGETS)
        missing = _missing(place, target)
        if not missing:
            target = next(one for one in TARGETS if one != target)
            missing = _missing(place, target)
        share = 0.25 + 0.75 * len(missing) / len(SUFFIXES)
        moment = chance.uniform(0.02, 1.0) * place.seconds * share
        job = place.start(target, fault.limits, *fault.more)
        if job.wait_until(moment):
            fault.strike(place, job, chance)
            return target, job, moment
        assert job.wait().code == 0, job.err.read_text()
    raise AssertionError(f"{fault.name}: every run ended before it")


def _missing(place: World, target: str) -> set[str]:
    return set(place.undisturbed.images()) - outputs.finished(place.out, target)


def _wait_for_orphans(job: Job, complaints: list[str]) -> None:
    """Workers of a killed run must not go on."""
    end = time.monotonic() + 20
    while time.monotonic() < end:
        left = [one for one in psutil.process_iter() if _of_group(one, job.pid)]
        if not left:
            return
        time.sleep(0.2)
    complaints.append(f"{len(left)} workers outlive their run")
    for one in left:
        one.kill()


def _of_group(process: psutil.Process, group: int) -> bool:
    with suppress(psutil.Error, ProcessLookupError):
        return os.getpgid(process.pid) == group and process.pid != group
    return False


def finish(place: World, target: str) -> tuple[str, ...]:
    """The run that nothing disturbs: it finishes what the others left, and cleans up."""
    for name in outputs.leftovers(place.out):
        os.utime(place.out / name, (0, 0))  # as if some time had passed
    done = place.start(target).wait()
    complaints = outputs.flaws(place.out, place.undisturbed)
    if done.code != 0:
        complaints.append(f"the rerun ended with {done.code}: {done.errors or done.err[-300:]}")
    missing = _missing(place, target)
    if missing:
        complaints.append(f"the rerun left out {', '.join(sorted(missing))}")
    complaints += [f"{name} is left behind" for name in outputs.leftovers(place.out)]
    return tuple(complaints)


def schedule(count: int, seed: int, kinds: Sequence[str] = ()) -> list[Fault]:
    """About so many faults in random order, in their shares; ``kinds`` are parts of their names,
    none means all."""
    faults = [one for one in FAULTS if not kinds or any(kind in one[0].name for kind in kinds)]
    total = sum(times for _, times in faults)
    chosen = [fault for fault, times in faults for _ in range(round(times * count / total))]
    random.Random(seed).shuffle(chosen)
    return chosen


def harness(
    folder: Path,
    faults: Sequence[Fault],
    seed: int,
    tell: Callable[[str], None],
    keep: Callable[[Sequence[Round]], None] = lambda _rounds: None,
) -> list[Round]:
    """All faults, one after the other on what the ones before left.

    Every few the rest is finished by a run that nothing disturbs; what is wrong then counts
    against the last fault, and ``keep`` gets all rounds until there.
    """
    rounds: list[Round] = []
    with world(folder) as place:
        chosen = [fault for fault in faults if place.mounted or not fault.needs_disk]
        for number, fault in enumerate(chosen):
            rounds.append(once(place, fault, seed + number))
            if number % TIRED == TIRED - 1 or number == len(chosen) - 1:
                complaints = finish(place, TARGETS[number // TIRED % 2])
                rounds[-1] = evolve(rounds[-1], complaints=(*rounds[-1].complaints, *complaints))
                keep(rounds)
                place.renew()
            tell(f"{number + 1}/{len(chosen)} {rounds[-1]}")
    return rounds
