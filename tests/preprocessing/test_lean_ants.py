"""ANTs without what nobody uses, in processes of this program alone."""

from __future__ import annotations

import subprocess
import sys

LEAN = """
import sys
from bids_ihf.preprocessing.itk import load_ants, load_ants_without_plotting
load_ants_without_plotting()
print([name for name in ("statsmodels", "matplotlib", "ants.learn") if name in sys.modules])
ants = load_ants()
import numpy as np
image = ants.from_numpy(np.ones((9, 9, 9), np.float32))
print(ants.apply_transforms(image, image, []).numpy().mean())
"""
WHOLE = """
import sys
from bids_ihf.preprocessing.itk import load_ants
print(hasattr(load_ants(), "plot"))
"""
ANOTHER_VERSION = """
import sys
from bids_ihf.preprocessing import itk
itk.UNUSED_PARTS = ("ants.core",)
itk.load_ants_without_plotting()
print(hasattr(itk.load_ants(), "plot"))
"""


def run(code: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_a_worker_loads_what_it_uses() -> None:
    assert run(LEAN) == ["[]", "1.0"]


def test_someone_elses_process_gets_all_of_it() -> None:
    assert run(WHOLE) == ["True"]


def test_a_version_that_needs_what_is_left_out_is_loaded_whole() -> None:
    assert run(ANOTHER_VERSION) == ["True"]
