"""Figures: what is in the files, and that geometry is shown as it is."""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path
from xml.etree import ElementTree as ET

import nibabel
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from bids_ihf.reports.figures import FIGURE_DESCS, ReportVolumes, write_figures
from bids_ihf.reports.slices import (
    SLICE_VIEWS,
    SLICES_PER_VIEW,
    choose_windows,
    inner_boundary,
    overlay_change,
    plan_layout,
)
from tests.reports.conftest import add_figures, ball, evidence, head

SVG = "{http://www.w3.org/2000/svg}"


def pictures(path: Path) -> list[NDArray[np.uint8]]:
    """Decode all pictures of a figure."""
    found = re.findall(r'href="data:image/png;base64,([^"]+)"', path.read_text())
    return [np.asarray(Image.open(io.BytesIO(base64.b64decode(data)))) for data in found]


def draw(folder: Path, change: NDArray[np.float32], gain: float = 1.0) -> Path:
    """The change figure of a random image."""
    before = head()
    after = (before + change) * np.float32(gain)
    volumes = ReportVolumes(before, after, change, ball(), np.diag([6.0, 6.0, 6.0, 1.0]))
    paths = write_figures(folder, "sub-01", "T1w", volumes)
    return next(path for path in paths if "desc-change_" in path.name)


def test_names_and_titles(tmp_path: Path) -> None:
    paths = add_figures(tmp_path, "sub-01_ses-A_run-1_part-mag", "T1w")
    assert {path.name for path in paths} == {
        "sub-01_ses-A_run-1_part-mag_desc-evidence_T1w.json",
        *(
            f"sub-01_ses-A_run-1_part-mag_desc-{kind}_T1w.svg"
            for kind in set(FIGURE_DESCS) - {"fa"}
        ),
    }
    for path in paths:
        if path.suffix == ".json":
            continue
        root = ET.fromstring(path.read_text(encoding="ascii"))  # noqa: S314
        assert root.tag == f"{SVG}svg"
        assert "sub-01_ses-A_run-1_part-mag_T1w" in (root.findtext(f"{SVG}title") or "")
        assert root.findtext(f"{SVG}desc")
        assert "width" not in root.attrib
    assert {path.name for path in (tmp_path / "sub-01/figures").iterdir()} == {
        path.name for path in paths
    }


def test_same_bytes_for_same_input(tmp_path: Path) -> None:
    first, second = (add_figures(tmp_path / run, "sub-01", "T1w") for run in "ab")
    for one, other in zip(first, second, strict=True):
        assert one.read_bytes() == other.read_bytes()


def test_size_of_a_large_noisy_image(tmp_path: Path) -> None:
    shape = (160, 200, 170)
    noise = np.random.default_rng(0).normal(500, 150, shape).astype(np.float32)
    inside = ball(shape)
    volumes = ReportVolumes(
        before=noise,
        after=noise[::-1],
        change=noise[::-1] - noise,
        mask=inside,
        affine=np.eye(4),
        template=2 * inside.astype(np.float32),
        reference=noise,
    )
    paths = write_figures(tmp_path, "sub-01", "T1w", volumes, evidence())
    # Noise is the worst there is, and an image may take ten megabytes.
    assert sum(path.stat().st_size for path in paths) < 8e6


def test_figures_of_an_earlier_run_go(tmp_path: Path) -> None:
    """A run that has no alignment to show must not show that of the last."""
    add_figures(tmp_path, "sub-01", "T1w")
    left = draw(tmp_path / "sub-01/figures", np.zeros_like(head())).parent
    assert not list(left.glob("*_desc-alignment_*"))
    assert list(left.glob("*_desc-mask_*"))


def test_same_window_for_the_target(tmp_path: Path) -> None:
    """Equal volumes look equal in all three rows."""
    same = head()
    volumes = ReportVolumes(same, same, same * 0, ball(), np.eye(4), reference=same)
    paths = write_figures(tmp_path, "sub-01", "T1w", volumes)
    rows = pictures(next(path for path in paths if "desc-harmonized" in path.name))
    assert len(rows) == 9
    for start in (0, 3, 6):
        np.testing.assert_array_equal(rows[start], rows[start + 1])
        np.testing.assert_array_equal(rows[start], rows[start + 2])


def test_flicker_holds_both_images(tmp_path: Path) -> None:
    paths = add_figures(tmp_path, "sub-01", "T1w")
    path = next(path for path in paths if "desc-flicker" in path.name)
    before, after = pictures(path)[:3], pictures(path)[3:]
    assert [each.shape for each in before] == [each.shape for each in after]
    assert not (before[0] == after[0]).all()
    text = path.read_text()
    assert '<g id="before"/>' in text
    assert '<g id="after"/>' in text


class TestOutline:
    def test_inner_boundary(self) -> None:
        inside = np.zeros((7, 8), dtype=bool)
        inside[2:6, 2:7] = True
        expected = inside.copy()
        expected[3:5, 3:6] = False
        np.testing.assert_array_equal(inner_boundary(inside), expected)

    def test_edge_of_the_picture_is_no_outside(self) -> None:
        assert not inner_boundary(np.ones((4, 5), dtype=bool)).any()
        assert not inner_boundary(np.zeros((4, 5), dtype=bool)).any()


def test_no_change_has_no_colour(tmp_path: Path) -> None:
    path = draw(tmp_path, np.zeros_like(head()))
    *mosaics, _bar = pictures(path)
    assert len(mosaics) == 3
    for pixels in mosaics:
        assert (pixels[..., 0] == pixels[..., 2]).all()


@pytest.mark.parametrize(("sign", "channel"), [(1, 0), (-1, 2)])
def test_red_is_more_and_blue_is_less(tmp_path: Path, sign: int, channel: int) -> None:
    path = draw(tmp_path, np.full_like(head(), 50 * sign))
    for pixels in pictures(path)[:3]:
        shown = pixels[pixels.max(axis=-1) > 0].astype(int)
        assert (shown[:, channel] > shown[:, 2 - channel]).all()


def test_change_in_other_units_is_relative(tmp_path: Path) -> None:
    same, other = (draw(tmp_path / str(gain), head() * 0, gain) for gain in (1.0, 50.0))
    assert "in image units" in same.read_text()
    assert "units differ" in other.read_text()
    # A scan that was only multiplied is the same after scaling: the full colour is rounding.
    assert re.search(r"full color at \S+e-0\d %", other.read_text())


def test_windows() -> None:
    mask = ball()
    first, second = choose_windows((head(), head() * np.float32(1.5)), mask)
    assert first == second
    first, second = choose_windows((head(), head() * np.float32(100)), mask)
    assert second.high == pytest.approx(100 * first.high, rel=1e-4)


def test_empty_mask_and_constant_image(tmp_path: Path) -> None:
    flat = np.zeros((8, 9, 3), dtype=np.float32)
    nothing = np.zeros(flat.shape, dtype=bool)
    volumes = ReportVolumes(
        flat, flat, flat, nothing, np.diag([1.0, 1.0, 5.0, 1.0]), flat, flat, (flat, flat)
    )
    paths = write_figures(tmp_path, "sub-01", "T2w", volumes)
    assert len(paths) == len(FIGURE_DESCS)
    assert all(path.stat().st_size for path in paths)


class TestGeometry:
    def test_thick_slices_have_true_proportions(self) -> None:
        mask = np.ones((160, 160, 32), dtype=bool)
        layout = plan_layout(mask, np.diag([1.0, 1.0, 5.0, 1.0]))
        for view in SLICE_VIEWS:
            height, width = layout.tile_size(view)
            assert height == pytest.approx(width, abs=1)

    def test_marked_sides(self) -> None:
        """A bright octant at right, front, top is at the upper right of every tile."""
        data = np.zeros((30, 30, 30), dtype=np.float32)
        data[15:, 15:, 15:] = 1
        mask = np.ones(data.shape, dtype=bool)
        layout = plan_layout(mask, np.eye(4))
        for view in SLICE_VIEWS:
            pixels = layout.render_tile(data, view, 20)
            middle = pixels.shape[0] // 2
            assert pixels[: middle - 5, middle + 5 :].min() > 0.9
            assert pixels[middle + 5 :].max() < 0.1
            assert pixels[:, : middle - 5].max() < 0.1

    @pytest.mark.parametrize("codes", ["RAS", "LPS", "PIR", "ASL", "SRA"])
    def test_any_stored_orientation_shows_the_same(self, codes: str) -> None:
        data, mask = head((30, 26, 22)), ball((30, 26, 22))
        affine = np.diag([1.0, 1.1, 3.0, 1.0])
        affine[:3, 3] = (-14, -10, -30)
        turn = nibabel.orientations.ornt_transform(
            nibabel.orientations.axcodes2ornt("RAS"), nibabel.orientations.axcodes2ornt(codes)
        )
        turned = nibabel.as_closest_canonical(nibabel.Nifti1Image(data, affine)).as_reoriented(
            turn
        )
        other_mask = nibabel.apply_orientation(mask, turn)
        expected, found = plan_layout(mask, affine), plan_layout(other_mask, turned.affine)
        for view in SLICE_VIEWS:
            assert found.tile_size(view) == expected.tile_size(view)
            for index in expected.indices[view.axis]:
                assert found.position(view, index) == pytest.approx(expected.position(view, index))
                np.testing.assert_array_equal(
                    found.render_tile(found.to_ras(np.asarray(turned.dataobj)), view, index),
                    expected.render_tile(data, view, index),
                )

    def test_position_of_slices(self) -> None:
        affine = np.diag([2.0, 2.0, 3.0, 1.0])
        affine[:3, 3] = (-20, -20, -30)
        layout = plan_layout(np.ones((20, 20, 20), dtype=bool), affine)
        assert layout.position(SLICE_VIEWS[0], 10) == 0.0
        assert layout.position(SLICE_VIEWS[2], 0) == -20.0

    def test_slab_shows_each_slice_once(self) -> None:
        layout = plan_layout(np.ones((40, 40, 3), dtype=bool), np.eye(4))
        assert layout.indices[2] == (0, 1, 2)
        assert len(layout.indices[0]) == SLICES_PER_VIEW


def test_no_change_is_transparent_at_zero() -> None:
    grey = np.linspace(0, 255, 16, dtype=np.float32).reshape(4, 4)
    mixed = overlay_change(grey, np.zeros_like(grey))
    assert (mixed[..., 0] == mixed[..., 1]).all()
    assert (np.diff(mixed[..., 0].ravel().astype(int)) > 0).all()
