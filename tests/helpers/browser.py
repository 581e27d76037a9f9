"""A real browser without a window, which records what a page asks for and complains about."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


@dataclass
class Visit:
    """A page that is open, and what happened since.

    Attributes:
        page: Playwright's page.
        requests: Addresses that were asked for, data URIs excepted.
        complaints: Messages of the console, uncaught errors and dialogs.
    """

    page: Any
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def outside(self, address: str) -> list[str]:
        """Return the addresses of other servers that were asked for."""
        return [one for one in self.requests if not one.startswith((f"{address}/", "blob:"))]

    def errors(self) -> list[str]:
        """Return the complaints that are errors, without answers that the server refused on purpose."""
        return [one for one in self.complaints if not one.startswith(("log:", "info:", "warning:", "debug:"))]


@contextmanager
def browser() -> Iterator[Any]:
    """Start Chromium or Chrome; a machine without one skips the test and says how to install it, which .ci/run does."""
    from playwright.sync_api import Error, sync_playwright

    found = next((path for path in map(shutil.which, NAMES) if path), None)
    # One on the path, the one that Playwright has downloaded, or Chrome where its installer puts it.
    ways: list[dict[str, Any]] = [{"executable_path": found}] if found else [{}, {"channel": "chrome"}]
    with sync_playwright() as playwright:
        for way in ways:
            try:
                # The path of its socket has at most 107 bytes: not below a folder of a test.
                chromium = playwright.chromium.launch(**way, env={**os.environ, "TMPDIR": "/tmp"})
            except Error:
                if found:
                    raise
                continue
            yield chromium
            chromium.close()
            return
    pytest.skip(
        "no Chromium: install it with `apt-get install chromium`, or with "
        "`python -m playwright install --with-deps chromium`"
    )


@contextmanager
def visit(chromium: Any, path: Path, *, dark: bool = False, width: int = 1240) -> Iterator[Visit]:
    """Open a file in a new, empty profile and wait until all its charts are drawn."""
    context = chromium.new_context(
        color_scheme="dark" if dark else "light", viewport={"width": width, "height": 900}, offline=True
    )
    found = _recorded(context)
    page = found.page
    page.goto(path.as_uri())
    page.wait_for_function("[...document.querySelectorAll('.chart')].every((one) => 'drawn' in one.dataset)")
    yield found
    context.close()


@contextmanager
def visit_site(chromium: Any, address: str, *, width: int = 1300, height: int = 1200) -> Iterator[Visit]:
    """Open a page that this machine serves, in a new, empty profile; what it asks of other machines is refused."""
    context = chromium.new_context(viewport={"width": width, "height": height})
    context.route(
        lambda url: urlsplit(url).hostname not in ("127.0.0.1", "localhost", None), lambda route: route.abort()
    )
    found = _recorded(context)
    found.page.set_default_timeout(60_000)
    found.page.goto(address)
    yield found
    context.close()


def _recorded(context: Any) -> Visit:
    """Return a new page of a profile, with what happens in it."""
    found = Visit(context.new_page())
    page = found.page
    page.on("console", lambda message: found.complaints.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: found.complaints.append(str(error)))
    page.on("dialog", lambda dialog: (found.complaints.append(f"dialog: {dialog.message}"), dialog.dismiss()))
    page.on("request", lambda request: request.url.startswith("data:") or found.requests.append(request.url))
    return found
