"""Take the pictures of the reports in docs/images with a headless Chromium.

Usage, in the root of the repository: python -m docs.figures.reports OUT_DIR

OUT_DIR is what the participant and group levels wrote.  The top of the first participant's page
becomes report.png, its part with change and densities report-checks.png, the group page group.png.
"""

from __future__ import annotations

import io
import sys
import tempfile
from pathlib import Path

from PIL import Image

from tests.reports.browser import Browser, find_chromium

IMAGES = Path(__file__).parents[1] / "images"
PAGE_WIDTH = 1440
"""Width of the browser window, pixels."""
PICTURE_WIDTH = 900
"""Width of a picture in the docs, pixels."""
PALETTE_SIZE = 256
AXIAL_ROWS_HEIGHT = 560
"""From the top of the first figure to the end of its axial rows, pixels of the page."""


def crop(page: bytes, top: float, bottom: float, path: Path) -> None:
    """Write part of the picture of a page, small and with few colours."""
    whole = Image.open(io.BytesIO(page)).convert("RGB")
    part = whole.crop((0, round(top), whole.width, min(round(bottom), whole.height)))
    size = (PICTURE_WIDTH, round(part.height * PICTURE_WIDTH / part.width))
    small = part.resize(size, Image.Resampling.LANCZOS)
    # The colours of flags and charts are few pixels among many grey ones, and must stay.
    small = small.quantize(PALETTE_SIZE, method=Image.Quantize.MAXCOVERAGE)
    small.save(path, optimize=True)
    print(path, size, path.stat().st_size)


def place(browser: Browser, selector: str) -> float:
    """Top of the first element that fits, in pixels from the top of the page."""
    return float(
        browser.run(
            f"document.querySelector({selector!r}).getBoundingClientRect().top + window.scrollY"
        )
    )


def main(out_dir: Path) -> None:
    """Take all pictures."""
    program = find_chromium()
    if program is None:
        raise SystemExit("no Chromium on this machine")
    page = min(out_dir.glob("sub-*.html"))
    with tempfile.TemporaryDirectory() as profile, Browser(program, Path(profile)) as browser:
        browser.open(page, width=PAGE_WIDTH)
        whole = browser.picture(whole=True)
        crop(whole, 0, place(browser, "figure") + AXIAL_ROWS_HEIGHT, IMAGES / "report.png")
        middle = place(browser, "figure.flicker") - 40
        end = place(browser, 'img[src*="desc-mask"]') - 45
        crop(whole, middle, end, IMAGES / "report-checks.png")
        browser.open(out_dir / "group.html", width=PAGE_WIDTH)
        whole = browser.picture(whole=True)
        crop(whole, 0, place(browser, "table.sortable") + 150, IMAGES / "group.png")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
