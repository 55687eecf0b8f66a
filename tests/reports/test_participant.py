"""The page of a participant, from what lies in an output folder."""

from __future__ import annotations

import json
import os
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest

from bids_ihf.bids.harmonized_images import find_harmonized_images
from bids_ihf.qc.flags import qc_flags
from bids_ihf.qc.reference_ranges import ABNORMAL_SIDE, ReferenceRange, ReferenceRanges
from bids_ihf.reports import reference_flags
from bids_ihf.reports.boilerplate import make_boilerplate, read_references, write_boilerplate
from bids_ihf.reports.figures import FIGURE_DESCS
from bids_ihf.reports.participant import build_participant_report
from bids_ihf.reports.templates import format_number
from tests.reports.conftest import EVIL, add_figures, add_image


class Page(HTMLParser):
    """Collects what a page holds, and that its tags close."""

    void = frozenset({"meta", "img", "link", "br", "hr", "input"})

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.open: list[str] = []
        self.attributes: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes.append((tag, dict(attrs)))
        if tag not in self.void:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def all(self, tag: str, attribute: str) -> list[str]:
        found = [values.get(attribute) for name, values in self.attributes if name == tag]
        return [value for value in found if value is not None]


def test_page(out: Path) -> None:
    path = build_participant_report(out, "01")
    assert path == out / "sub-01.html"
    page = Page(path)
    for words in (
        "run 1",
        "run 2",
        "echo 1, part mag",
        "0.5 → 0.2 (-60 %)",
        "Prisma",
        "Brain mask volume (mL) 1400",
    ):
        assert words in page.text
    assert "3 images harmonized: 2 T1w, 1 T2w." in page.text
    assert "header <odd>." in page.text
    assert "had been bias-corrected, skull-stripped" in page.text


def test_links_lead_somewhere(out: Path) -> None:
    path = build_participant_report(out, "01")
    page = Page(path)
    names = {values.get("id") for _, values in page.attributes}
    for target in page.all("a", "href"):
        file, _, place = target.partition("#")
        assert not place or file not in {"", path.name} or place in names, target
        assert not file or (out / file).is_file(), target
    images = page.all("img", "src")
    assert (
        len(images) == len(FIGURE_DESCS) - 1 + 2
    )  # no FA; the flicker view stands still in two more
    assert all((out / source.partition("#")[0]).is_file() for source in images)
    assert all("sub-01_ses-A_run-1_T1w" in words for words in page.all("img", "alt"))


def test_offline(out: Path) -> None:
    """Nothing is fetched: no script, and no address of another place but in the text."""
    page = Page(build_participant_report(out, "01"))
    assert page.all("script", "src") == page.all("link", "href") == []
    assert not any("//" in target for target in page.all("a", "href") + page.all("img", "src"))


def test_everything_is_escaped(out: Path) -> None:
    page = Page(build_participant_report(out, "01"))
    tags = {tag for tag, _ in page.attributes}
    assert not tags & {"script", "i", "b", "odd"}
    assert EVIL in page.text


def test_figures_are_left_alone(out: Path) -> None:
    figures = sorted((out / "sub-01/figures").iterdir())
    before = [path.read_bytes() for path in figures]
    build_participant_report(out, "01")
    assert [path.read_bytes() for path in sorted((out / "sub-01/figures").iterdir())] == before


def test_failure_and_its_end(out: Path) -> None:
    text = Page(build_participant_report(out, "01")).text
    assert "1 step failed; see errors and warnings" in text
    assert "is <i>truncated</i>; fetch it again." in text
    sidecar = add_image(out, "sub-01/ses-B/anat/sub-01_ses-B_T1w.nii.gz")
    crash = next((out / "sub-01/log").glob("*/crash-*.json"))
    os.utime(crash, (sidecar.stat().st_mtime - 60,) * 2)
    text = Page(build_participant_report(out, "01")).text
    assert "1 earlier failure, resolved since" in text
    assert "failed; see" not in text


def test_only_sidecars(tmp_path: Path) -> None:
    add_image(tmp_path / "out", "sub-03/anat/sub-03_T1w.nii.gz", table=False)
    text = Page(build_participant_report(tmp_path / "out", "sub-03")).text
    assert "1 image harmonized: 1 T1w." in text
    assert "No figures of this image are available." in text
    assert "Unless images had been preprocessed" in text


def test_only_figures(tmp_path: Path) -> None:
    add_figures(tmp_path, "sub-04", "T1w")
    assert "0 images harmonized." in Page(build_participant_report(tmp_path, "04")).text


def test_only_a_crash(out: Path) -> None:
    for path in (out / "sub-01").glob("ses-*/anat/*.json"):
        path.unlink()
    text = Page(build_participant_report(out, "01")).text
    assert "0 images harmonized." in text
    assert "1 step failed" in text


def test_traceback_that_is_gone(out: Path) -> None:
    next((out / "sub-01/log").glob("*/crash-*.txt")).unlink()
    assert "1 step failed" in Page(build_participant_report(out, "01")).text


@pytest.mark.parametrize("content", ["", "{", "[]", "null"])
def test_damaged_record_of_a_failure(out: Path, content: str) -> None:
    next((out / "sub-01/log").glob("*/crash-*.json")).write_text(content)
    assert "failed" not in Page(build_participant_report(out, "01")).text


def test_copies_in_template_space_and_broken_sidecars(out: Path) -> None:
    folder = out / "sub-02/anat"
    good = folder / "sub-02_acq-mprage_desc-harmonized_T1w.json"
    copy = "sub-02_acq-mprage_space-MNI152NLin2009aSym_res-1_desc-harmonized_T1w.json"
    (folder / copy).write_text(good.read_text())
    (folder / "sub-02_run-2_desc-harmonized_T1w.json").write_text("{")
    (folder / "sub-02_run-3_desc-harmonized_T1w.json").write_text("[]")
    assert [image.relative for image in find_harmonized_images(out, "02")] == [
        "sub-02/anat/sub-02_acq-mprage_desc-harmonized_T1w.nii.gz"
    ]


def test_row_without_sidecar_is_not_finished(out: Path) -> None:
    next((out / "sub-01/ses-A/anat").glob("*run-1*.json")).unlink()
    assert [image.title for image in find_harmonized_images(out, "01")] == [
        "T1w, ses A, run 2",
        "T2w, ses B, echo 1, part mag",
    ]


def test_subjects_are_told_apart(out: Path) -> None:
    """`sub-0` must not gather what belongs to `sub-01`."""
    add_image(out, "sub-0/anat/sub-0_T1w.nii.gz")
    assert {image.subject for image in find_harmonized_images(out, "0")} == {"0"}


def test_qc_flags(out: Path) -> None:
    image = find_harmonized_images(out, "02")[0]
    found = " ".join(qc_flags(image))
    assert "Not closer to the target" in found
    assert "scanner manufacturer is unknown" in found
    assert qc_flags(find_harmonized_images(out, "01")[0]) == []


@pytest.mark.parametrize(
    ("similarity", "coverage", "words"),
    [(0.9, 0.4, "40% of a brain"), (0.75, 0.95, "similarity 0.75"), (0.75, None, "0.75")],
)
def test_doubtful_registrations_are_flagged(
    tmp_path: Path, similarity: float, coverage: float | None, words: str
) -> None:
    measures = {"alignment_similarity": similarity, "alignment_coverage": coverage}
    add_image(tmp_path, "sub-01/anat/sub-01_T1w.nii.gz", measures=measures)
    found = qc_flags(find_harmonized_images(tmp_path)[0])
    assert len(found) == 1
    assert "registration" in found[0]
    assert words in found[0]


def test_image_of_the_target_vendor_need_not_come_closer(tmp_path: Path) -> None:
    same = {"source_vendor": "Siemens", "harmonization_target": "siemens", "distance_after": 0.6}
    add_image(tmp_path, "sub-01/anat/sub-01_T1w.nii.gz", measures=same)
    assert qc_flags(find_harmonized_images(tmp_path)[0]) == []


WARNING = "Farther from every simulated scan than these are from each other."


def test_flagged_image_is_red(out: Path) -> None:
    add_image(out, "sub-02/anat/sub-02_T2w.nii.gz", HarmonizationWarning=WARNING)
    path = build_participant_report(out, "02")
    assert f'<p class="note failure">{WARNING}</p>' in path.read_text()
    text = Page(path).text
    assert "1 image is out of range; inspect before use." in text


class TestManySessions:
    @pytest.fixture
    def long(self, tmp_path: Path, drawn: Path) -> Path:
        folder = tmp_path / "out"
        for session in "ABCDEF":
            add_image(folder, f"sub-01/ses-{session}/anat/sub-01_ses-{session}_run-1_T1w.nii.gz")
        shutil.copytree(drawn / "sub-01/figures", folder / "sub-01/figures")
        return folder

    def test_a_page_for_each(self, long: Path) -> None:
        overview = Page(build_participant_report(long, "01"))
        names = sorted(path.name for path in long.glob("*.html"))
        assert names == ["sub-01.html", *(f"sub-01_ses-{session}.html" for session in "ABCDEF")]
        assert overview.all("img", "src") == []
        assert "6 images harmonized: 6 T1w." in overview.text
        assert "sub-01_ses-C.html#sub-01_ses-C_run-1_T1w" in overview.all("a", "href")
        page = Page(long / "sub-01_ses-A.html")
        assert "1 image harmonized: 1 T1w." in page.text
        assert page.all("img", "src")
        assert "sub-01_ses-A_run-1_T1w" in {values.get("id") for _, values in page.attributes}

    def test_pages_that_nothing_belongs_to_go(self, long: Path) -> None:
        build_participant_report(long, "01")
        for session in "DEF":
            shutil.rmtree(long / f"sub-01/ses-{session}")
        build_participant_report(long, "01")
        assert [path.name for path in long.glob("*.html")] == ["sub-01.html"]


class TestMeasuresTable:
    RANGES = ReferenceRanges({"T1w": {"snr_after": ReferenceRange(10.0, 15.0, 20.0)}})

    def light(self, out: Path, monkeypatch: pytest.MonkeyPatch, **measures: float) -> str:
        monkeypatch.setattr(reference_flags, "shipped_ranges", lambda: self.RANGES)
        add_image(out, "sub-07/anat/sub-07_T1w.nii.gz", measures=measures)
        (image,) = find_harmonized_images(out, "07")
        columns = ("snr_after", *reference_flags.FIXED_RANGES)
        flags = [reference_flags.reference_flag(image, column) for column in columns]
        return str([flag.colour for flag in flags if flag])

    def test_lights(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        usual = ["green"] * 4  # mask, alignment and what it saw, round trip
        for value, light in ((12.0, "green"), (5.0, "amber"), (-3.0, "red"), (99.0, "green")):
            found = self.light(tmp_path, monkeypatch, snr_after=value)
            assert found == str([light, *usual])

    def test_verdict_counts_the_lights(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.light(tmp_path, monkeypatch, snr_after=-3.0, mask_volume_ml=300.0)
        (image,) = find_harmonized_images(tmp_path, "07")
        summary = ("red", "1 far outside range, 1 outside range")
        assert reference_flags.flag_summary(image) == summary
        page = build_participant_report(tmp_path, "07").read_text()
        assert '<span class="flag red">far outside range</span>' in page
        assert '<span class="flag amber">outside range</span>' in page

    def test_out_of_range_is_never_amber(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert "red" in self.light(tmp_path, monkeypatch, out_of_range_score=1.01)

    def test_what_is_not_known_is_left_out(self, tmp_path: Path) -> None:
        add_image(tmp_path, "sub-07/anat/sub-07_T1w.nii.gz", table=False)
        (image,) = find_harmonized_images(tmp_path, "07")
        assert not any(
            reference_flags.reference_flag(image, column)
            for column in (*reference_flags.FIXED_RANGES, *ABNORMAL_SIDE)
        )
        table = (
            build_participant_report(tmp_path, "07").read_text().partition("Reference range")[2]
        )
        assert "<td>" not in table.partition("</table>")[0]

    @pytest.mark.parametrize(
        ("value", "words"), [(1234.5, "1234"), (0.123456, "0.1235"), (2e-7, "2e-07")]
    )
    def test_short(self, value: float, words: str) -> None:
        assert format_number(value) == words


def test_shells_of_a_series(tmp_path: Path) -> None:
    shell = {
        "BValue": 1000.4, "TargetBValue": 1000, "AttenuationExponent": 1.0312,
        "AnisotropyFactor": 0.98,
    }  # fmt: skip
    add_image(tmp_path, "sub-01/dwi/sub-01_dwi.nii.gz", HarmonizationShells=[shell, "?"])
    text = Page(build_participant_report(tmp_path, "01")).text
    assert "1000 1000 1.031 0.98" in text


class TestBoilerplate:
    def test_every_citation_is_explained(self) -> None:
        boilerplate = make_boilerplate()
        text = boilerplate.to_markdown()
        references = read_references().values()
        assert boilerplate.references == sorted(reference["entry"] for reference in references)
        for reference in references:
            assert reference["citation"] in " ".join(boilerplate.paragraphs)
            assert f"- {reference['entry']}\n" in text
        assert "@" not in text
        assert "[" not in text
        for identifier in ("2602.21536", "2308.06909", "10.1109/TMI.2010.2046908"):
            assert identifier in text

    @pytest.mark.parametrize("options", [{}, {"longitudinal": True}, {"preprocessed": True}])
    def test_sentences_are_apart(self, options: dict[str, object]) -> None:
        text = " ".join(make_boilerplate(["GE"], options).paragraphs)
        assert re.search(r"[a-z]\.[A-Z]", text) is None

    def test_says_what_was_done(self) -> None:
        stripped = " ".join(make_boilerplate(["GE"], {"preprocessed": True}).paragraphs)
        assert "N4" not in stripped
        assert "harmonized to the target GE with" in stripped
        assert "N4" in " ".join(make_boilerplate(["GE"], {"preprocessed": False}).paragraphs)
        spaces = {"preprocessed": False, "output_spaces": ["x"], "normalization": "syn"}
        assert "nonlinear (SyN)" in " ".join(make_boilerplate(["GE"], spaces).paragraphs)

    def test_written_once(self, tmp_path: Path) -> None:
        path = write_boilerplate(tmp_path)
        assert path == tmp_path / "logs/CITATION.md"
        inode = path.stat().st_ino
        write_boilerplate(tmp_path)
        assert path.stat().st_ino == inode
        path.write_text("cut sho")
        assert "# References" in write_boilerplate(tmp_path).read_text()
        assert [item.name for item in path.parent.iterdir()] == ["CITATION.md"]


def test_sidecar_with_unexpected_types(out: Path) -> None:
    path = next((out / "sub-02/anat").glob("*.json"))
    odd = {"Manufacturer": ["a"], "IntensityScaling": 3, "Sources": None, "SourceVendor": None}
    path.write_text(json.dumps(odd))
    build_participant_report(out, "02")


def test_the_page_says_where_a_modality_has_no_reference_ranges(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ranges = ReferenceRanges({"T1w": {"snr_after": ReferenceRange(10.0, 15.0, 20.0)}})
    monkeypatch.setattr(reference_flags, "shipped_ranges", lambda: ranges)
    out = tmp_path / "out"
    add_image(
        out, "sub-1/anat/sub-1_FLAIR.nii.gz", measures={"snr_after": 1.0},
        HarmonizationModality="FLAIR", NetworkApplied=False,
    )  # fmt: skip
    (image,) = find_harmonized_images(out)
    assert reference_flags.reference_flag(image, "snr_after") is None
    assert qc_flags(image) == []
    text = Page(build_participant_report(out, "1")).text
    assert "No reference ranges have been measured for FLAIR images yet" in text
    assert "(without the network)" in text
    add_image(out, "sub-2/anat/sub-2_T1w.nii.gz", measures={"snr_after": 1.0})
    assert "No reference ranges" not in Page(build_participant_report(out, "2")).text
