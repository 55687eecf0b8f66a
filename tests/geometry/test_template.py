"""The template that ships with the package."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from bids_ihf.errors import BadData
from bids_ihf.geometry import template as module
from bids_ihf.geometry.template import load_template, read_template_files
from bids_ihf.io.paths import packaged_file


def test_it_is_read_without_heavy_imports() -> None:
    code = (
        "import sys; from bids_ihf.geometry.template import load_template; t = load_template(); "
        "assert 'torch' not in sys.modules; assert 'ants' not in sys.modules; "
        "print(t.image.shape, int(t.mask.sum()))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.startswith("(197, 233, 189)")


def test_it_cannot_be_changed() -> None:
    template = load_template()
    assert template.image.max() == 1
    assert np.array_equal(template.mask, template.image > 0)
    with pytest.raises(ValueError, match="read-only"):
        template.image[0, 0, 0] = 1


def test_tissue_fractions_sum_to_one_inside_the_mask() -> None:
    template = load_template()
    total = template.tissues.sum(axis=0)
    assert np.allclose(total[template.mask], 1, atol=1e-6)
    assert (total[~template.mask] == 0).all()
    assert template.grid.zooms.tolist() == [1, 1, 1]


def test_an_altered_file_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(module.TEMPLATE_FILES, "label-GM_probseg", "0" * 64)
    with pytest.raises(BadData, match=r"label-GM_probseg\.nii\.gz: missing or altered"):
        read_template_files()


def test_its_licence_ships_with_it() -> None:
    text = packaged_file("LICENSE-MNI152.txt").read_text()
    assert "Copyright (C) 1993-2004 Louis Collins" in text
