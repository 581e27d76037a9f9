"""The app as a process, in a real browser: browse, search, upload, mark, guess, export, restart."""

from __future__ import annotations

import json
import re
import shutil
import socket
import struct
import urllib.error
import urllib.request
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from endofm import FeatureLibrary, demo_video, load_encoder, open_video
from endofm.data.listing import read_clips
from endofm.video.writer import write_video
from helpers.app_process import running_app
from helpers.browser import browser, visit_site

pytest.importorskip("gradio")
APP = ("-m", "endofm", "app")


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library of the packaged procedure, and of its second half as another recording with a name to escape."""
    folder = tmp_path_factory.mktemp("archive")
    (folder / "videos").mkdir()
    shutil.copy(demo_video(), folder / "videos" / "procedure.mp4")
    with open_video(demo_video()) as video:
        frames = np.stack([frame.data for frame in video.sample(np.arange(10, 19.25, 0.1).tolist())])
    write_video(folder / "videos" / "<b>half.mp4", frames, fps=10)
    (folder / "secret.txt").write_text("secret")
    encoder = load_encoder("endofm-nano-4x96")
    (folder / "features").mkdir()
    rows = []
    for name in ("procedure.mp4", "<b>half.mp4", "secret.txt"):
        video_file = folder / "videos" / ("procedure.mp4" if name == "secret.txt" else name)
        features = encoder.extract_features(video_file, window_seconds=1, progress=False)
        (features if name != "secret.txt" else features[:3]).save(folder / "features" / f"{name}.safetensors")
        source = str(folder / name if name == "secret.txt" else video_file)
        rows.append((source, f"{name}.safetensors"))
    write_manifest(folder / "features" / "manifest.json", rows)
    FeatureLibrary(folder / "a.lance").add(folder / "features", set="demo", progress=False)
    return folder


def write_manifest(file: Path, rows: list[tuple[str, str]]) -> None:
    entries = [
        {
            "source": source,
            "output": output,
            "status": "done",
            "size_bytes": 1,
            "modified": 1,
            "problems": [],
            "error": "",
        }
        for source, output in rows
    ]
    file.write_text(json.dumps({"format_version": 1, "settings": {}, "videos": entries, "left_out": []}))


def status_of(address: str, **headers: str) -> tuple[int, bytes]:
    try:
        with urllib.request.urlopen(urllib.request.Request(address, headers=headers), timeout=20) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def test_a_new_user_finds_marks_and_exports(archive: Path, tmp_path: Path) -> None:
    with open_video(demo_video()) as video:
        (frame,) = video.sample([5.0])
    Image.fromarray(frame.data).save(tmp_path / "still.png")
    (tmp_path / "text.png").write_text("<script>no picture</script>")
    (tmp_path / "notes.txt").write_text("text")
    (tmp_path / "huge.png").write_bytes(huge_png())
    with (
        running_app(*APP, archive / "a.lance") as address,
        browser() as chromium,
        visit_site(chromium, address) as opened,
    ):
        page = opened.page
        page.wait_for_selector("#player video")

        # Browse: the video of the chosen recording plays at the chosen time.
        page.click("#recording input")
        page.click("[role=option]:has-text('procedure.mp4')")
        page.wait_for_selector("#moment figcaption:has-text('of procedure.mp4')")
        page.wait_for_function("document.querySelector('#player video').readyState > 0")
        page.evaluate("document.querySelector('#player video').currentTime = 12.5")
        assert page.evaluate("document.querySelector('#moment img').naturalWidth") > 0

        # Search by the moment that the player shows: the other recording has it as well.
        page.click("#find")
        page.wait_for_selector("#told:has-text('moments like procedure.mp4 at 0:1')")
        first = page.locator("#hits .thumbnail-item, #hits button:has(img)").first
        assert "<b>half.mp4" in first.inner_text()
        first.click()
        page.wait_for_selector("#moment figcaption:has-text('of <b>half.mp4')")
        page.wait_for_function("document.querySelector('#player video').readyState > 0")
        assert 1 < page.evaluate("document.querySelector('#player video').currentTime") < 5
        assert page.locator("#moment b, #player b, #told b").count() == 0

        # By an image; and what is none is answered by one sentence.
        upload(page, tmp_path / "still.png")
        page.wait_for_selector("#told:has-text('moments like still.png')")
        for name, message in (
            ("text.png", "not an image"),
            ("notes.txt", "upload an image"),
            ("huge.png", "huge.png"),
        ):
            upload(page, tmp_path / name)
            toast = page.locator(".toast-body", has_text=message).last
            toast.wait_for()
            assert "Traceback" not in toast.inner_text()
            assert "endofm-app-" not in toast.inner_text()

        # Mark, see what the marks say, export.
        mark(page, 2.5, "lumen <i>")
        mark(page, 9.2, "polyp")  # After the end of the last clip, at 9 s.
        assert page.locator("#marks").inner_text().count("half.mp4") >= 2
        page.click("#guess")
        page.locator("#guesses img").first.wait_for()
        assert re.search(r"(lumen <i>|polyp) \d+%", page.locator("#guesses").inner_text())
        page.fill("#label input, #label textarea", "")
        page.click("#mark")
        page.locator(".toast-body", has_text="a label has 1 to 100 characters").last.wait_for()
        page.click("#export")
        with page.expect_download() as download:
            page.locator("#list a").first.click()
        download.value.save_as(tmp_path / "marks.csv")
        assert not opened.outside(address)
        assert not opened.errors()
    table = read_clips(tmp_path / "marks.csv", missing="refuse")
    assert {table.classes[label] for label in table.label} == {"lumen <i>", "polyp"}
    assert all(Path(table.path[row]).is_file() for row in range(len(table)))

    # Marks are there after a restart.
    with (
        running_app(*APP, archive / "a.lance") as address,
        browser() as chromium,
        visit_site(chromium, address) as opened,
    ):
        opened.page.locator("#marks", has_text="polyp").wait_for()


def upload(page: Any, file: Path) -> None:
    with page.expect_file_chooser() as chooser:
        page.click("#image")
    chooser.value.set_files(str(file))


def mark(page: Any, seconds: float, label: str) -> None:
    page.evaluate(f"document.querySelector('#player video').currentTime = {seconds}")
    page.fill("#label input, #label textarea", label)
    page.click("#mark")
    page.locator("#marks", has_text=label).wait_for()


def huge_png() -> bytes:
    """A PNG whose header states 60,000 x 60,000 pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b"\0" * 1000))
        + chunk(b"IEND", b"")
    )


def test_nothing_but_the_videos_of_the_library_is_served(archive: Path) -> None:
    numbers = {one.name: one.id for one in FeatureLibrary(archive / "a.lance").recordings}
    with running_app(*APP, archive / "a.lance") as address:
        video = (archive / "videos" / "procedure.mp4").read_bytes()
        assert status_of(f"{address}/media/{numbers['procedure.mp4']}") == (200, video)
        assert status_of(f"{address}/media/{numbers['procedure.mp4']}", Range="bytes=4-11") == (206, video[4:12])
        assert status_of(f"{address}/frame/{numbers['procedure.mp4']}?t=3")[0] == 200
        # A recording that names a file which is no video.
        secret = archive / "secret.txt"
        paths = [f"media/{numbers['secret.txt']}", f"frame/{numbers['secret.txt']}?t=0", "media/99", "media/-1"]
        for file in (secret, archive / "a.lance" / "marks.json", Path(__file__), Path("/etc/passwd")):
            paths += [f"gradio_api/file={file}", f"file={file}", f"media/{file}", f"gradio_api/file=..{file}"]
            paths += [f"media/..%2f..%2f..{file}", f"static/..%2f..%2f..{file}", f"assets/..%2f..%2f..{file}"]
        for path in paths:
            status, body = status_of(f"{address}/{path}")
            assert status in (400, 403, 404, 405, 422), path
            assert b"secret" not in body.replace(b"secret.txt", b"")
            assert b"root:" not in body
        # A page of another site, by a name of its own that points here.
        assert status_of(f"{address}/", Host="evil.example")[0] == 403
        assert status_of(f"{address}/media/{numbers['procedure.mp4']}", Host="evil.example:80")[0] == 403
        with urllib.request.urlopen(f"{address}/") as answer:
            assert "default-src 'self'" in answer.headers["Content-Security-Policy"]
        # It listens on loopback alone.
        port = int(address.rpartition(":")[2])
        others = {info[4][0] for info in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)}
        for other in others - {"127.0.0.1", "127.0.1.1"}:
            with socket.socket() as knock:
                knock.settimeout(2)
                assert knock.connect_ex((other, port)) != 0
