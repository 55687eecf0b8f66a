"""Datasets, targets, files and command lines that are not as they should be."""

from __future__ import annotations

import pickle
import shutil
import struct
from typing import TYPE_CHECKING

import numpy as np
import torch
from attrs import frozen

from bids_ihf.io.paths import packaged_file
from bids_ihf.io.tensors import to_safetensors
from bids_ihf.network.checkpoint import NETWORK_FORMAT
from tests.reliability import bad_images, phantom, runs

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Words = list[str | Path]


@frozen
class BadUsage:
    """``make`` writes what is needed to a folder and gives the command line."""

    part: str
    name: str
    make: Callable[[Path], Words]
    code: int
    says: tuple[str, ...] = ()


def _dataset(folder: Path) -> Path:
    return phantom.write_dataset(folder / "bids")


def _participant(folder: Path, *more: str | Path, target: str | Path | None = "GE") -> Words:
    named: Words = ["--target", target] if target else []
    bids = folder / "bids"
    return runs.participant(bids, folder / "out", folder / "work", *named, *more)


def _scan(folder: Path) -> Path:
    return phantom.scan_path(folder / "bids", "01", None)


# --- datasets ---------------------------------------------------------------------------------


def dataset(change: Callable[[Path], None], *more: str) -> Callable[[Path], Words]:
    """A dataset that was good until it was changed; only listed, unless it is to be run."""

    def make(folder: Path) -> Words:
        change(_dataset(folder))
        return _participant(folder, "--dry-run", *more)

    return make


def _sidecar(text: str | bytes) -> Callable[[Path], None]:
    def change(root: Path) -> None:
        path = phantom.scan_path(root, "01", None).with_suffix("").with_suffix(".json")
        path.write_bytes(text.encode() if isinstance(text, str) else text)

    return change


def _copy(name: str) -> Callable[[Path], None]:
    """The scan once more, under another name, beside it."""

    def change(root: Path) -> None:
        scan = phantom.scan_path(root, "01", None)
        path = scan.parent / name
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(scan, path)

    return change


def _move(name: str) -> Callable[[Path], None]:
    def change(root: Path) -> None:
        _copy(name)(root)
        phantom.scan_path(root, "01", None).unlink()

    return change


def _without_scan(root: Path) -> None:
    phantom.scan_path(root, "01", None).unlink()


def _uncompressed_twin(root: Path) -> None:
    scan = phantom.scan_path(root, "01", None)
    scan.with_name("sub-01_T1w.nii").write_bytes(bad_images.content())


def _loop(root: Path) -> None:
    (root / "sub-01/anat/loop").symlink_to("..")


def _loop_to_itself(root: Path) -> None:
    (root / "sub-01/ses-a").symlink_to("ses-a")


def _empty_sessions(root: Path) -> None:
    shutil.rmtree(root / "sub-01/anat")
    (root / "sub-01/ses-a/anat").mkdir(parents=True)


def _empty_participant(root: Path) -> None:
    shutil.rmtree(root / "sub-01/anat")


def _no_participant(root: Path) -> None:
    shutil.rmtree(root / "sub-01")


def _odd_participant(root: Path) -> None:
    (root / "sub-01").rename(root / "sub-o'ne; rm -rf")


def _foreign_letters(root: Path) -> None:
    (root / "sub-01").rename(root / "sub-größe")


def _conflicting_sidecars(root: Path) -> None:
    (root / "sub-01/sub-01_T1w.json").write_text('{"Manufacturer": "Siemens"}')
    (root / "T1w.json").write_text("{")


def _no_description(root: Path) -> None:
    (root / "dataset_description.json").unlink()


def _bad_description(root: Path) -> None:
    (root / "dataset_description.json").write_text("{")


DATASETS = tuple(
    BadUsage("datasets", name, make, code, says)
    for name, make, code, says in (
        ("a broken sidecar", dataset(_sidecar("{")), 16, ("sub-01", "correct")),
        ("a sidecar of another kind", dataset(_sidecar("[1, 2]")), 16, ("sub-01", "correct")),
        ("a sidecar that is no text", dataset(_sidecar(b"\xff\xfe\x00")), 16, ("sub-01",)),
        ("a sidecar nested without end", dataset(_sidecar("[" * 100_000)), 16, ("sub-01",)),
        ("a broken sidecar above", dataset(_conflicting_sidecars), 16, ("T1w.json", "correct")),
        ("a vendor that is a number", dataset(_sidecar('{"Manufacturer": 7}')), 0, ()),
        ("an unknown vendor", dataset(_sidecar('{"Manufacturer": "Acme"}')), 0, ()),
        ("no participant", dataset(_no_participant), 18, ("no folder sub-*",)),
        ("an empty participant", dataset(_empty_participant), 18, ("nothing to harmonize",)),
        ("empty sessions", dataset(_empty_sessions), 18, ("nothing to harmonize",)),
        ("no scan but a sidecar", dataset(_without_scan), 18, ("nothing to harmonize",)),
        ("a participant of odd letters", dataset(_odd_participant), 18, ("no folder sub-*",)),
        ("a participant with an umlaut", dataset(_foreign_letters), 18, ("no folder sub-*",)),
        ("a scan twice", dataset(_uncompressed_twin), 65, ("sub-01_T1w.nii,", "one output")),
        ("a name with a space", dataset(_copy("sub-01_T1w copy.nii.gz")), 0, ()),
        ("a name with an umlaut", dataset(_copy("sub-01_acq-größe_T1w.nii.gz")), 0,
         ("does not follow BIDS naming",)),
        ("an entity twice", dataset(_copy("sub-01_run-1_run-2_T1w.nii.gz")), 0,
         ("does not follow BIDS naming",)),
        ("an entity without a value", dataset(_copy("sub-01_run-_T1w.nii.gz")), 0,
         ("does not follow BIDS naming",)),
        ("an entity that BIDS has not", dataset(_copy("sub-01_odd-1_T1w.nii.gz")), 0, ()),
        ("a scan of somebody else", dataset(_copy("sub-02_T1w.nii.gz")), 0,
         ("lies in the folder of sub-01",)),
        ("a phase image", dataset(_copy("sub-01_part-phase_T1w.nii.gz")), 0, ("phase image",)),
        ("a scan in the wrong folder", dataset(_move("../func/sub-01_T1w.nii.gz")), 18,
         ("nothing to harmonize",)),
        ("a folder that leads back", dataset(_loop), 0, ()),
        ("a folder that leads nowhere", dataset(_loop_to_itself), 0, ()),
        ("no description", dataset(_no_description), 0, ()),
        ("a broken description, not validated", dataset(_bad_description), 0, ()),
        ("a person who is not there", dataset(lambda _: None, "--participant-label", "77"), 18,
         ("no participant 77", "choose from")),
        ("a session that is not there", dataset(lambda _: None, "--session-label", "77"), 18,
         ("sessions 77",)),
        ("a kind of scan that is not there", dataset(lambda _: None, "-m", "T2w"), 18,
         ("there is", "T1w") if False else ("nothing to harmonize",)),
    )
)  # fmt: skip


# --- targets and checkpoints ------------------------------------------------------------------


def target(write: Callable[[Path], None], ending: str = ".safetensors") -> Callable[..., Words]:
    """A target file."""

    def make(folder: Path) -> Words:
        _dataset(folder)
        path = folder / f"target{ending}"
        write(path)
        return _participant(folder, "--dry-run", target=path)

    return make


def vendor() -> bytes:
    """A good target file."""
    return packaged_file("target-ge.safetensors").read_bytes()


def _altered(path: Path) -> None:
    data = bytearray(vendor())
    data[-7] ^= 0x01
    path.write_bytes(bytes(data))


def _renamed(path: Path) -> None:
    """The name in the header changed, and nothing else."""
    _repacked(lambda _tensors, _head: None)(path)
    path.write_bytes(path.read_bytes().replace(b'\\"name\\": \\"GE\\"', b'\\"name\\": \\"XX\\"'))


def _repacked(
    change: Callable[[dict[str, torch.Tensor], dict[str, object]], None],
) -> Callable[[Path], None]:
    """A target with a valid hash whose content is wrong."""

    def write(path: Path) -> None:
        from bids_ihf.io.tensors import read_safetensors
        from bids_ihf.targets.target_file import TARGET_FORMAT

        tensors, header = read_safetensors(packaged_file("target-ge.safetensors"), TARGET_FORMAT)
        change(tensors, header)
        path.write_bytes(to_safetensors(tensors, header))

    return write


def _other_encoder(_tensors: dict[str, torch.Tensor], head: dict[str, object]) -> None:
    head["encoder"] = 64 * "0"


def _no_scale(tensors: dict[str, torch.Tensor], _head: dict[str, object]) -> None:
    del tensors["T1w.scale"]


def _upside_down(tensors: dict[str, torch.Tensor], _head: dict[str, object]) -> None:
    tensors["T1w.scale"] = tensors["T1w.scale"].flip(0)


def _cut_part(tensors: dict[str, torch.Tensor], _head: dict[str, object]) -> None:
    tensors["T1w.embeddings"] = tensors["T1w.embeddings"][:1]


def _wrong_shape(tensors: dict[str, torch.Tensor], _head: dict[str, object]) -> None:
    tensors["T1w.histograms"] = tensors["T1w.histograms"].ravel()


def _with_nan(tensors: dict[str, torch.Tensor], _head: dict[str, object]) -> None:
    tensors["T1w.histograms"][:] = torch.nan


def _odd_name(tensors: dict[str, torch.Tensor], _head: dict[str, object]) -> None:
    tensors["odd"] = torch.zeros(1)


def _empty(tensors: dict[str, torch.Tensor], _head: dict[str, object]) -> None:
    tensors.clear()


def _pickled(path: Path) -> None:
    path.write_bytes(pickle.dumps({"name": "GE"}))


def _torch_pickled(path: Path) -> None:
    torch.save({"weight": torch.zeros(2)}, path)


def _huge_header(path: Path) -> None:
    path.write_bytes(struct.pack("<Q", 2**60) + b"{}")


def _bad_header(path: Path) -> None:
    path.write_bytes(struct.pack("<Q", 5) + b"{{{{{" + bytes(9))


def _network(path: Path) -> None:
    shutil.copy(packaged_file("network.safetensors"), path)


def _future(path: Path) -> None:
    path.write_bytes(to_safetensors({"a": torch.zeros(1)}, {"format": "ihf-harmony target 99"}))


def _other_tool(path: Path) -> None:
    from safetensors.numpy import save

    path.write_bytes(save({"a": np.zeros(3)}))


def _wrong_network(path: Path) -> None:
    path.write_bytes(to_safetensors({"a": torch.zeros(1)}, {"format": NETWORK_FORMAT}))


def reference(write: Callable[[Path], None]) -> Callable[[Path], Words]:
    """A NIfTI image to look like."""
    return target(write, "_T1w.nii.gz")


TARGETS = tuple(
    BadUsage("targets", name, make, 65, (says,))
    for name, make, says in (
        ("half a file", target(lambda path: path.write_bytes(vendor()[:9000]) and None),
         "not a readable safetensors file"),
        ("no byte at all", target(lambda path: path.touch()), "not a readable safetensors file"),
        ("text", target(lambda path: path.write_text("GE") and None), "not a readable"),
        ("a pickle renamed", target(_pickled), "not a readable safetensors file"),
        ("PyTorch's pickle renamed", target(_torch_pickled), "not a readable safetensors file"),
        ("a header said to be huge", target(_huge_header), "not a readable safetensors file"),
        ("a header that is no JSON", target(_bad_header), "not a readable safetensors file"),
        ("numbers altered", target(_altered), "sha256 does not match"),
        ("header altered", target(_renamed), "sha256 does not match"),
        ("weights of a network", target(_network), "where 'ihf-harmony target 2' is needed"),
        ("another network's weights", target(_wrong_network), "is needed"),
        ("a format to come", target(_future), "where 'ihf-harmony target 2' is needed"),
        ("a file of another tool", target(_other_tool), "holds 'no format'"),
        ("another encoder", target(_repacked(_other_encoder)), "another encoder"),
        ("a part missing", target(_repacked(_no_scale)), "incomplete"),
        ("a scale upside down", target(_repacked(_upside_down)), "inconsistent"),
        ("parts of different length", target(_repacked(_cut_part)), "inconsistent"),
        ("a part of another shape", target(_repacked(_wrong_shape)), "inconsistent"),
        ("numbers that are NaN", target(_repacked(_with_nan)), "inconsistent"),
        ("a part that means nothing", target(_repacked(_odd_name)), "incomplete"),
        ("nothing inside", target(_repacked(_empty)), "contains no profile"),
        ("a truncated reference image",
         reference(lambda path: path.write_bytes(bad_images.packed(bad_images.content())[:300])
                   and None), "truncated"),
        ("an empty reference image", reference(bad_images.voxels(lambda data: data * 0)),
         "all voxels are 0"),
    )
)  # fmt: skip


# --- other files and the command line ---------------------------------------------------------


def usage(*more: str, to: str | None = "GE") -> Callable[[Path], Words]:
    """Options."""

    def make(folder: Path) -> Words:
        _dataset(folder)
        return _participant(folder, "--dry-run", *more, target=to)

    return make


def with_file(option: str, text: str | bytes, name: str = "file") -> Callable[[Path], Words]:
    """An option that names a file."""

    def make(folder: Path) -> Words:
        _dataset(folder)
        path = folder / name
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return _participant(folder, "--dry-run", option, path)

    return make


def _no_input(folder: Path) -> Words:
    return _participant(folder)


def _input_is_file(folder: Path) -> Words:
    (folder / "bids").touch()
    return _participant(folder)


def _output_is_input(folder: Path) -> Words:
    bids = _dataset(folder)
    return runs.participant(bids, bids, folder / "work", "--target", "GE")


def _work_in_input(folder: Path) -> Words:
    bids = _dataset(folder)
    return runs.participant(bids, folder / "out", bids / "work", "--target", "GE")


def _output_is_file(folder: Path) -> Words:
    _dataset(folder)
    (folder / "out").touch()
    return _participant(folder)


def _forbidden(name: str) -> Callable[[Path], Words]:
    def make(folder: Path) -> Words:
        _dataset(folder)
        (folder / name).mkdir()
        (folder / name).chmod(0o555)
        return _participant(folder)

    return make


def _database(folder: Path) -> Words:
    _dataset(folder)
    (folder / "db").touch()
    return _participant(folder, "--dry-run", "--bids-database-dir", folder / "db")


def _group(folder: Path) -> Words:
    return [_dataset(folder), folder / "out", "group", "--work-dir", folder / "work"]


def _reports(folder: Path) -> Words:
    _dataset(folder)
    (folder / "out").mkdir()
    return _participant(folder, "--reports-only", target=None)


def _unsafe_yaml() -> str:
    return "!!python/object/apply:os.system ['touch escaped']"


FILES = tuple(
    BadUsage("files", name, make, 2, says)
    for name, make, says in (
        ("filter: no JSON", with_file("--bids-filter-file", "{"), ("cannot be read as JSON",)),
        ("filter: no text", with_file("--bids-filter-file", b"\xff\xfe"), ("cannot be read",)),
        ("filter: a list", with_file("--bids-filter-file", "[]"), ("must hold an object",)),
        ("filter: nested without end", with_file("--bids-filter-file", "[" * 100_000),
         ("cannot be read",)),
        ("filter: unknown kind", with_file("--bids-filter-file", '{"T9w": {}}'), ("'T9w'",)),
        ("filter: unknown entity", with_file("--bids-filter-file", '{"t1w": {"colour": 1}}'),
         ("unknown entity 'colour'",)),
        ("filter: no object", with_file("--bids-filter-file", '{"t1w": 3}'), ("be an object",)),
        ("filter: not there", usage("--bids-filter-file", "/nowhere.json"), ("no such file",)),
        ("settings: no TOML", with_file("--config-file", "[["), ("not a readable TOML",)),
        ("settings: no text", with_file("--config-file", b"\xff\xfe"), ("not a readable TOML",)),
        ("settings: unknown", with_file("--config-file", "colour = 1"),
         ("unknown setting colour",)),
        ("settings: wrong kind", with_file("--config-file", 'n_procs = "many"'), ("many",)),
        ("settings: wrong choice", with_file("--config-file", 'normalization = "x"'),
         ("normalization",)),
        ("settings: not there", usage("--config-file", "/nowhere.toml"), ("not a readable",)),
        ("plugin: no YAML", with_file("--use-plugin", "a: ["), ("not a readable YAML",)),
        ("plugin: none named", with_file("--use-plugin", "n_procs: 3"), ("names no nipype",)),
        ("plugin: code instead", with_file("--use-plugin", _unsafe_yaml()),
         ("not a readable YAML",)),
        ("labels: not BIDS", usage("--participant-label", "a b"), ("neither a BIDS label",)),
        ("labels: a file of nonsense", with_file("--participant-label", "a-b ../c", "l.txt"),
         ("neither a BIDS label",)),
    )
)  # fmt: skip

COMMANDS = tuple(
    BadUsage("command line", name, make, code, says)
    for name, make, code, says in (
        ("no dataset", _no_input, 2, ("no such folder",)),
        ("a file for a dataset", _input_is_file, 2, ("no such folder",)),
        ("output is input", _output_is_input, 2, ("OUT_DIR is BIDS_DIR",)),
        ("work folder in the input", _work_in_input, 2, ("inside BIDS_DIR",)),
        ("a file for the output", _output_is_file, 73, ("cannot be written",)),
        ("output not permitted", _forbidden("out"), 73, ("cannot be written",)),
        ("work folder not permitted", _forbidden("work"), 73, ("cannot write there",)),
        ("index that is not used", _database, 0, ("listed anew",)),
        ("group without participants", _group, 18, ("run the participant level",)),
        ("reports without participants", _reports, 18, ("no folder sub-*",)),
        ("no target", usage(to=None), 2, ("--target is needed",)),
        ("unknown target", usage(to="Acme"), 2, ("Acme", "Siemens")),
        ("a folder for a target", usage(to="/usr"), 2, ("/usr",)),
        ("target file not there", usage(to="/nowhere.safetensors"), 2, ("/nowhere",)),
        ("reference image not there", usage(to="/nowhere.nii.gz"), 65, ("no such file",)),
        ("unknown kind of scan", usage("-m", "PDw"), 2, ("none of T1w",)),
        ("unknown space", usage("--output-spaces", "Talairach"), 2, ("Talairach",)),
        ("unknown normalization", usage("--normalization", "magic"), 2, ("magic",)),
        ("no processor", usage("--n-procs", "0"), 2, ("above zero",)),
        ("processors in words", usage("--n-procs", "two"), 2, ("above zero",)),
        ("no memory", usage("--mem", "0G"), 2, ("not an amount of memory",)),
        ("memory in words", usage("--mem", "lots"), 2, ("not an amount of memory",)),
        ("a seed in words", usage("--random-seed", "luck"), 2, ("luck",)),
        ("a GPU that is not there", usage("--device", "cuda:63"), 2, ("not available",)),
        ("a device that is none", usage("--device", "abacus"), 2, ("none of auto",)),
        ("batches of nothing", usage("--batch-size", "0"), 2, ("above zero",)),
        ("an option that is none", usage("--colour"), 2, ("--colour",)),
        ("half an option", usage("--partic", "01"), 2, ("--partic",)),
        ("derivatives not there", usage("-d", "/nowhere"), 2, ("no such folder",)),
    )
)

USAGE = (*DATASETS, *TARGETS, *FILES, *COMMANDS)
