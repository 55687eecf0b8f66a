"""Bad input: one sentence that names file, trouble and remedy, the documented exit code, no
traceback, and no effect on anything else."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import frozen

from bids_ihf.io.failures import read_failures
from tests.reliability import outputs, phantom, runs
from tests.reliability.bad_images import TAKEN
from tests.reliability.runs import Limits

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.reliability.bad_images import BadImage
    from tests.reliability.bad_usage import BadUsage
    from tests.reliability.runs import Done

GOOD = "good"
REMEDY = re.compile(r"[;:,] .{3,}")
"""What to do stands at the end of a sentence, after the trouble."""


@frozen
class Verdict:
    """What became of a case; no complaint means that it passed."""

    part: str
    name: str
    outcome: str
    complaints: tuple[str, ...]


def judge_images(cases: Sequence[BadImage], folder: Path) -> list[Verdict]:
    """All cases in one run, each in a session of its own, beside a good image."""
    bids = phantom.write_root(folder / "bids")
    places: dict[str, tuple[BadImage, Path]] = {}
    for number, case in enumerate(cases):
        path = phantom.scan_path(bids, "01", f"{number:03d}", case.suffix)
        path = path.with_name(path.name.replace(".nii.gz", case.ending))
        if case.suffix != "dwi":
            phantom.write_scan(path.with_name(path.name.split(".")[0] + ".nii.gz"))
            path.with_name(path.name.split(".")[0] + ".nii.gz").unlink()
        path.parent.mkdir(parents=True, exist_ok=True)
        case.make(path)
        places[path.name.split(".")[0]] = case, path
    phantom.write_scan(phantom.scan_path(bids, "01", GOOD))
    undisturbed = undisturbed_run(folder)
    words = runs.participant(bids, folder / "out", folder / "work", "--target", "Siemens")
    done = runs.run(words, folder / "said", Limits(obey_permissions=True))
    found = [_judge_image(*places[scan], scan, done, folder / "out") for scan in places]
    return [*found, _judge_whole(done, folder / "out", undisturbed, places)]


def undisturbed_run(folder: Path) -> dict[str, bytes]:
    """What becomes of the good image alone."""
    bids = phantom.write_root(folder / "alone")
    phantom.write_scan(phantom.scan_path(bids, "01", GOOD))
    words = runs.participant(bids, folder / "alone-out", folder / "work", "--target", "Siemens")
    done = runs.run(words, folder / "said")
    assert done.code == 0, done.err
    return outputs.derivatives(folder / "alone-out")


def _judge_whole(
    done: Done,
    out: Path,
    undisturbed: dict[str, bytes],
    places: dict[str, tuple[BadImage, Path]],
) -> Verdict:
    """The run with all of them: its code, and the good image in its midst."""
    complaints = []
    refused = any(case.says != TAKEN for case, _ in places.values())
    if done.code != (1 if refused else 0):
        complaints.append(f"exit code {done.code}")
    if "Traceback" in done.err:
        complaints.append("a traceback on the terminal")
    present = outputs.derivatives(out)
    for name, content in undisturbed.items():
        if present.get(name) != content:
            complaints.append(f"{name} is not what it is without the bad images")
    return Verdict("images", "the good image among them", "harmonized", tuple(complaints))


def _judge_image(case: BadImage, path: Path, scan: str, done: Done, out: Path) -> Verdict:
    written = [name for name in outputs.derivatives(out) if f"/{scan.rsplit('_', 1)[0]}_" in name]
    sentences = [line for line in done.errors if f"ERROR {scan}: " in line]
    log = next(iter((out / "sub-01/log").iterdir()))
    if case.says == TAKEN:
        complaints = [f"refused: {line}" for line in sentences]
        if not any(outputs.is_sidecar(name) for name in written):
            complaints.append("not harmonized")
        said = (log / "ihf_harmony.log").read_text()
        warned = [line for line in said.splitlines() if "WARNING" in line and scan in line]
        if case.warns and not any(case.warns in line for line in warned):
            complaints.append(f"no warning says '{case.warns}'")
        outcome = "harmonized, with a warning" if case.warns else "harmonized"
        return Verdict("images", case.name, outcome, tuple(complaints))
    complaints = []
    if len(sentences) != 1:
        return Verdict("images", case.name, "refused", (f"{len(sentences)} sentences",))
    sentence = sentences[0].split(f"ERROR {scan}: ")[1].rsplit(" [", 1)[0]
    if case.says not in sentence:
        complaints.append(f"'{case.says}' is not in '{sentence}'")
    if path.name.split(".")[0] not in sentence:
        complaints.append(f"no file is named in '{sentence}'")
    if not REMEDY.search(sentence):
        complaints.append(f"no remedy in '{sentence}'")
    if written:
        complaints.append(f"something was written: {written}")
    codes = {
        f.exit_code for f in read_failures(log).values() if Path(f.image).name.startswith(scan)
    }
    if codes != {65}:
        complaints.append(f"exit codes {codes} and not 65")
    return Verdict("images", case.name, "refused with 65", tuple(complaints))


def judge_usage(case: BadUsage, folder: Path) -> Verdict:
    """One command line on a dataset of its own."""
    folder.mkdir(parents=True)
    words = case.make(folder)
    done = runs.run(words, folder / "said", Limits(obey_permissions=True))
    complaints = []
    if done.code != case.code:
        complaints.append(f"exit code {done.code} and not {case.code}: {done.err[-300:]}")
    if "Traceback" in done.err:
        complaints.append(f"a traceback: {done.err[-300:]}")
    text = " ".join(done.errors) if case.code else done.err
    if case.code and len(done.errors) != 1:
        complaints.append(f"{len(done.errors)} sentences: {done.err[-300:]}")
    complaints += [f"'{part}' is not in '{text[-300:]}'" for part in case.says if part not in text]
    if case.code and not REMEDY.search(text.removeprefix("ihf-harmony: error: ")):
        complaints.append(f"no remedy in '{text}'")
    outcome = f"refused with {case.code}" if case.code else "goes on, with a warning"
    return Verdict(case.part, case.name, outcome, tuple(complaints))
