"""A headless Chromium, driven over a pipe by its DevTools protocol; nothing but it is needed."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

NAMES = ("chromium", "chromium-browser", "google-chrome")
PATIENCE = 120.0
"""Seconds that one answer may take; a busy machine is slow."""


def find_chromium() -> str | None:
    """Path of a Chromium on this machine."""
    return next((found for name in NAMES if (found := shutil.which(name))), None)


class Browser:
    """One page of a headless Chromium."""

    def __init__(self, program: str, profile: Path) -> None:
        ours, self._in = os.pipe()
        self._out, theirs = os.pipe()

        def connect() -> None:  # Chromium reads its commands from 3 and answers on 4
            high = [os.dup(ours), os.dup(theirs)]
            for place, handle in enumerate(high, start=3):
                os.dup2(handle, place)

        switches = (
            *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
            *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
            *("--hide-scrollbars", "--disable-dev-shm-usage", "--remote-debugging-pipe"),
        )
        self._process = subprocess.Popen(
            [program, *switches, f"--user-data-dir={profile}", "about:blank"],
            close_fds=False,
            preexec_fn=connect,  # noqa: PLW1509
            stderr=subprocess.DEVNULL,
        )
        os.close(ours)
        os.close(theirs)
        os.set_blocking(self._out, False)
        self._buffer, self._count = b"", 0
        self._session: str | None = None
        self.events: list[dict[str, Any]] = []
        target = self._ask("Target.createTarget", url="about:blank")["targetId"]
        attached = self._ask("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self._ask(f"{domain}.enable")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.terminate()
        self._process.wait(PATIENCE)
        os.close(self._in)
        os.close(self._out)

    def open(self, path: Path, *, width: int, height: int = 900) -> None:
        """Open a file at a width, and wait until every picture of it is there."""
        self.events.clear()
        self._ask(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=1, mobile=False,
        )  # fmt: skip
        self._ask("Page.navigate", url=path.absolute().as_uri())
        self._until(lambda event: event["method"] == "Page.loadEventFired")
        # Pictures below the fold come only when they are looked at.
        self.run(
            "Promise.all(Array.from(document.images, image => { image.loading = 'eager';"
            " return image.decode().catch(() => null); })).then(() => true)"
        )

    def run(self, script: str) -> Any:
        """Value of a JavaScript expression; a promise is waited for."""
        found = self._ask(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True
        )
        if "exceptionDetails" in found:
            raise AssertionError(found["exceptionDetails"])
        return found["result"].get("value")

    def complaints(self) -> list[str]:
        """Errors and warnings of the console since the page was opened."""
        found = []
        for event in self.events:
            if event["method"] == "Log.entryAdded":
                found.append(event["params"]["entry"]["text"])
            elif event["method"] == "Runtime.exceptionThrown":
                found.append(str(event["params"]["exceptionDetails"]))
            elif event["method"] == "Runtime.consoleAPICalled":
                found.append(str(event["params"]["args"]))
        return found

    def broken(self) -> list[str]:
        """Addresses of the pictures that cannot be shown."""
        found: list[str] = self.run(
            "Array.from(document.images).filter(one => !one.naturalWidth).map(one => one.src)"
        )
        return found

    def numbers(self) -> list[tuple[str, str, str]]:
        """Of each measure on the page: the image's name, the column, what is shown."""
        found = self.run(
            "Array.from(document.querySelectorAll('[data-column]'), one => ["
            " one.closest('article')?.id ?? one.closest('tr').cells[0].textContent,"
            " one.dataset.column, one.textContent])"
        )
        return [(name, column, words) for name, column, words in found]

    def picture(self, *, whole: bool = False) -> bytes:
        """PNG of what is seen, or of the whole page."""
        found = self._ask("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        return base64.b64decode(found["data"])

    def _ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._count += 1
        message: dict[str, Any] = {"id": self._count, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._in, json.dumps(message).encode() + b"\0")
        answer = self._until(lambda found: found.get("id") == self._count, keep=False)
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']}")
        result: dict[str, Any] = answer["result"]
        return result

    def _until(self, wanted: Any, *, keep: bool = True) -> dict[str, Any]:
        """The first message that is wanted, among those that came already or come now."""
        if keep:
            for event in self.events:
                if wanted(event):
                    return event
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            message = self._read()
            if message is None:
                time.sleep(0.02)
                continue
            if "method" in message:
                self.events.append(message)
            matches = ("id" in message) != keep and wanted(message)
            if matches:
                return message
        raise TimeoutError("Chromium does not answer")

    def _read(self) -> dict[str, Any] | None:
        while b"\0" not in self._buffer:
            try:
                part = os.read(self._out, 1 << 20)
            except BlockingIOError:
                return None
            if not part:
                raise RuntimeError("Chromium has ended")
            self._buffer += part
        line, _, self._buffer = self._buffer.partition(b"\0")
        message: dict[str, Any] = json.loads(line)
        return message
