"""Reading of single values from text, as typed or as in a settings file.

Each function raises `argparse.ArgumentTypeError` with a sentence for the user.
"""

from __future__ import annotations

import re
from argparse import ArgumentTypeError
from functools import partial
from pathlib import Path

from bids_ihf.bids.names import IMAGE_SUFFIXES
from bids_ihf.bids.scanners import UNKNOWN_VENDOR, normalize_vendor

_GB_PER_UNIT = {"K": 1 / 1024**2, "M": 1 / 1024, "G": 1.0, "T": 1024.0}
_MEMORY_PATTERN = re.compile(r"(\d+(?:\.\d+)?|\.\d+)\s*([KMGT]?)(?:I?B)?", re.IGNORECASE)
_LABEL_PATTERN = re.compile(r"[0-9A-Za-z+]+")
_DEVICE_PATTERN = re.compile(r"auto|cpu|cuda(?::(\d+))?")


def memory_gb(text: str) -> float:
    """Memory in GB (1024**3 bytes) from ``8G``, ``8000M``, ``8GB`` or a plain number of MB."""
    match = _MEMORY_PATTERN.fullmatch(text.strip())
    if match is None or float(match[1]) == 0:
        raise ArgumentTypeError(f"{text!r} is not an amount of memory such as 8G or 8000 (MB)")
    return float(match[1]) * _GB_PER_UNIT[(match[2] or "M").upper()]


def _bids_labels(prefix: str, text: str) -> tuple[str, ...]:
    """A label with or without its prefix, or all labels in a text file, in order, once each.

    Only text with a dot or slash can name a file: a label never does, whatever files there are.
    """
    labels = [text]
    if ("/" in text or "." in text) and Path(text).is_file():
        try:
            labels = Path(text).read_text(encoding="utf-8-sig").split()
        except (OSError, UnicodeDecodeError) as error:
            raise ArgumentTypeError(f"{text}: not a readable text file ({error})") from error
    labels = [label.removeprefix(prefix) for label in labels]
    for label in labels:
        if not _LABEL_PATTERN.fullmatch(label):
            raise ArgumentTypeError(f"{label!r} is neither a BIDS label nor a file of labels")
    return tuple(dict.fromkeys(labels))


participant_labels = partial(_bids_labels, "sub-")
session_labels = partial(_bids_labels, "ses-")


def modality(text: str) -> str:
    """A suffix out of `IMAGE_SUFFIXES`, in upper or lower case."""
    for suffix in IMAGE_SUFFIXES:
        if text.lower() == suffix.lower():
            return suffix
    raise ArgumentTypeError(f"{text!r} is none of {', '.join(IMAGE_SUFFIXES)}")


def vendor(text: str) -> str:
    """The name of a scanner vendor that is recognized, as it is written."""
    if normalize_vendor(text) == UNKNOWN_VENDOR:
        raise ArgumentTypeError(
            f"{text!r} is no vendor that is known; name Siemens, GE, Philips or another, or leave "
            "it out"
        )
    return text


def target(text: str) -> str:
    """A target's name, or the absolute path of a file, which has an extension as no name has."""
    path = Path(text)
    return str(path.absolute()) if path.suffix and path.is_file() else text


def device(text: str) -> str:
    """Name of a device; a CUDA device must be available on this machine."""
    match = _DEVICE_PATTERN.fullmatch(text)
    if match is None:
        raise ArgumentTypeError(f"{text!r} is none of auto, cpu, cuda, cuda:N")
    if text.startswith("cuda"):
        import torch

        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if int(match[1] or 0) >= count:
            raise ArgumentTypeError(
                f"{text} is not available here ({count} CUDA devices found); use cpu or auto"
            )
    return text


def whole_number(text: str) -> int:
    """A whole number."""
    try:
        return int(text)
    except ValueError:
        raise ArgumentTypeError(f"{text!r} is not a whole number") from None


def positive_integer(text: str) -> int:
    """A whole number above zero."""
    if not text.isdecimal() or int(text) == 0:
        raise ArgumentTypeError(f"{text!r} is not a whole number above zero")
    return int(text)


def existing_folder(text: str) -> Path:
    """An existing folder, absolute, links not followed."""
    if not Path(text).is_dir():
        raise ArgumentTypeError(f"{text}: no such folder")
    return folder(text)


def derivatives_folder(text: str) -> Path:
    """An existing folder of derivatives, given as ``PATH`` or ``NAME=PATH``."""
    path = Path(text)
    if not path.is_dir() and "=" in text:
        path = Path(text.split("=", 1)[1])
    return existing_folder(str(path))


def existing_file(text: str) -> Path:
    """An existing file."""
    path = Path(text)
    if not path.is_file():
        raise ArgumentTypeError(f"{text}: no such file")
    return folder(text)


def folder(text: str) -> Path:
    """A folder, absolute, links not followed."""
    return Path(text).absolute()


def positive_number(text: str) -> float:
    """A number above zero."""
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        raise ArgumentTypeError(f"{text!r} is not a number above zero")
    return number
