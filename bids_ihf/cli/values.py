"""Reading single values of the command line: labels, memory, devices, processors."""

from __future__ import annotations

import argparse
import os
import re
from pathlib import Path

_UNITS = {"K": 1 / 1024**2, "M": 1 / 1024, "G": 1.0, "T": 1024.0}
_MEMORY = re.compile(r"(\d+(?:\.\d+)?|\.\d+)\s*([KMGT]?)(?:I?B)?", re.IGNORECASE)
_LABEL = re.compile(r"[0-9A-Za-z+]+")
_DEVICE = re.compile(r"auto|cpu|cuda(?::(\d+))?")
_MODALITIES = {"t1w": "T1w", "t2w": "T2w", "dwi": "dwi"}


def memory(text: str) -> float:
    """Memory in GB (1024**3 bytes) from ``8G``, ``8000M``, ``8GB`` or a bare number of MB."""
    found = _MEMORY.fullmatch(text.strip())
    if found is None or float(found[1]) == 0:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no amount of memory such as 8G or 8000 (MB)"
        )
    return float(found[1]) * _UNITS[(found[2] or "M").upper()]


def labels(values: list[str], prefix: str) -> tuple[str, ...]:
    """Labels without their prefix, in order, once each; a value may be a file with one a line.

    Raises
    ------
    ValueError
        A label has characters that BIDS does not allow.
    """
    words: list[str] = []
    for value in values:
        words += Path(value).read_text(encoding="utf-8").split() if _is_file(value) else [value]
    bare = [word.removeprefix(prefix) for word in words]
    wrong = [word for word in bare if not _LABEL.fullmatch(word)]
    if wrong:
        raise ValueError(f"{wrong[0]!r} is neither a BIDS label nor a file of labels")
    return tuple(dict.fromkeys(bare))


def _is_file(value: str) -> bool:
    """Whether a value names a file; a bare label never does, even if a file is called like it."""
    return ("/" in value or "." in value) and Path(value).is_file()


def modality(text: str) -> str:
    """``T1w``, ``T2w`` or ``dwi``, read in any case."""
    try:
        return _MODALITIES[text.lower()]
    except KeyError:
        raise argparse.ArgumentTypeError(f"{text!r} is none of T1w, T2w, dwi") from None


def device(text: str) -> str:
    """A device name; a CUDA device that is not there is refused here and now."""
    found = _DEVICE.fullmatch(text)
    if found is None:
        raise argparse.ArgumentTypeError(f"{text!r} is none of auto, cpu, cuda, cuda:N")
    if text.startswith("cuda"):
        import torch

        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if int(found[1] or 0) >= count:
            raise argparse.ArgumentTypeError(
                f"{text} is not available here ({count} CUDA devices found); use cpu or auto"
            )
    return text


def positive(text: str) -> int:
    """A whole number above zero."""
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above zero")
    return int(text)


def derivative(text: str) -> Path:
    """An existing folder of derivatives, given as ``PATH`` or ``NAME=PATH``."""
    path = Path(text)
    if not path.is_dir() and "=" in text:
        path = Path(text.split("=", 1)[1])
    if not path.is_dir():
        raise argparse.ArgumentTypeError(f"{text}: no such folder")
    return path.absolute()


def existing_file(text: str) -> Path:
    """An existing file."""
    path = Path(text)
    if not path.is_file():
        raise argparse.ArgumentTypeError(f"{text}: no such file")
    return path.absolute()


def folder(text: str) -> Path:
    """A folder, made absolute without following links."""
    return Path(text).absolute()


def available_processors() -> int:
    """Processors this job may use: what SLURM granted, else the affinity mask, else all.

    ``os.cpu_count`` alone counts the whole node even where a scheduler granted two of its cores.
    """
    granted = os.environ.get("SLURM_CPUS_PER_TASK", "")
    if granted.isdecimal() and int(granted) > 0:
        return int(granted)
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def available_memory() -> float | None:
    """Memory (GB) this job may use where a scheduler or container sets a limit, else None."""
    granted = os.environ.get("SLURM_MEM_PER_NODE", "")
    if granted.isdecimal() and int(granted) > 0:
        return int(granted) / 1024
    try:
        limit = Path("/sys/fs/cgroup/memory.max").read_text(encoding="ascii").strip()
    except OSError:
        return None
    return int(limit) / 1024**3 if limit.isdecimal() else None
