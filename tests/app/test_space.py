"""The Space of the examples: a library of the packaged procedure, and marks of each visit."""

from __future__ import annotations

import signal
import tempfile
import urllib.request
from pathlib import Path

import pytest

from helpers.app_process import running_app
from helpers.browser import browser, visit_site
from helpers.paths import REPOSITORY

pytest.importorskip("gradio")
SPACE = REPOSITORY / "examples" / "space"


def test_front_matter_and_requirements_are_those_of_a_space() -> None:
    _, front, body = (SPACE / "README.md").read_text(encoding="utf-8").split("---\n", 2)
    fields = dict(line.split(": ", 1) for line in front.splitlines())
    assert fields["sdk"] == "gradio"
    assert (SPACE / fields["app_file"]).is_file()
    assert len(fields["short_description"]) <= 60
    assert "medical advice" in body
    assert (SPACE / "requirements.txt").read_text() == "endofm[app]\n"


def test_a_visitor_sees_the_procedure_and_has_marks_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with running_app(SPACE / "app.py", end=signal.SIGTERM) as address:
        with urllib.request.urlopen(f"{address}/frame/0?t=5") as answer:
            assert answer.headers["Content-Type"] == "image/jpeg"
        with browser() as chromium:
            with visit_site(chromium, address) as first:
                page = first.page
                page.wait_for_selector("#player video")
                page.click("#find")
                page.locator("#hits img").first.wait_for()
                page.fill("#label input, #label textarea", "polyp")
                page.click("#mark")
                page.locator("#marks", has_text="polyp").wait_for()
                assert not first.outside(address)
                assert not first.errors()
            with visit_site(chromium, address) as second:
                second.page.wait_for_selector("#moment img")
                assert "polyp" not in second.page.inner_text("#marks")
    # Nothing is left of the library and of the files of the page.
    assert not [path.name for path in tmp_path.iterdir() if path.name.startswith(("endofm-app", "tmp"))]
