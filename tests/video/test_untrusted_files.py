"""Files that would make a reader start a program, or open other files or sockets."""

from __future__ import annotations

import io
import os
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from endofm.errors import VideoError
from endofm.video.images import open_image
from endofm.video.open import open_video

POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 64\n%%EndComments\nshowpage\n%%EOF\n"


@pytest.fixture
def ghostscript(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put a stand-in for Ghostscript on the path; return the file that it writes when it is started."""
    programs, started = tmp_path / "bin", tmp_path / "started"
    programs.mkdir()
    (programs / "gs").write_text(f"#!/bin/sh\necho started > {started}\n")
    (programs / "gs").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    return started


@pytest.mark.parametrize("name", ["frame.png", "frame.jpg", "frame.tif"])
@pytest.mark.parametrize("form", ["path", "folder", "list"])
def test_postscript_named_as_an_image_starts_nothing(tmp_path: Path, ghostscript: Path, name: str, form: str) -> None:
    folder = tmp_path / "frames"
    folder.mkdir()
    (folder / name).write_bytes(POSTSCRIPT)
    source: Any = {"path": folder / name, "folder": folder, "list": [folder / name]}[form]
    with pytest.raises(VideoError), open_video(source) as video:
        list(video)
    with pytest.raises(VideoError, match="not an image"):
        open_image(folder / name)
    assert not ghostscript.exists()


@pytest.mark.parametrize("image_format", ["PNG", "JPEG", "BMP", "TIFF", "WEBP"])
def test_every_documented_format_is_read(tmp_path: Path, image_format: str) -> None:
    path = tmp_path / f"frame.{image_format.lower()}"
    Image.new("RGB", (8, 8), (200, 10, 10)).save(path, image_format)
    with open_image(path) as image:
        assert image.size == (8, 8)
    data = io.BytesIO()
    Image.new("RGB", (8, 8)).save(data, "GIF")
    data.seek(0)
    with pytest.raises(VideoError, match="not an image"):
        open_image(data)


PLAYLISTS: dict[str, Callable[[str], str]] = {
    "hls": lambda name: f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{name}\n#EXT-X-ENDLIST\n",
    "concat": lambda name: f"ffconcat version 1.0\nfile '{name}'\n",
    "dash": lambda name: (
        '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static">'
        f"<Period><AdaptationSet><Representation id='1'><BaseURL>{name}</BaseURL></Representation></AdaptationSet>"
        "</Period></MPD>"
    ),
}


@pytest.mark.parametrize("form", ["path", "bytes", "file"])
@pytest.mark.parametrize("kind", PLAYLISTS)
@pytest.mark.parametrize("suffix", [".m3u8", ".mp4", ".mpd"])
def test_playlists_open_no_other_file(tmp_path: Path, kind: str, suffix: str, form: str) -> None:
    # A pipe without a writer blocks whoever opens it for ever.
    os.mkfifo(tmp_path / "other.ts")
    path = tmp_path / f"list{suffix}"
    path.write_text(PLAYLISTS[kind](str(tmp_path / "other.ts") if form != "path" else "other.ts"))
    source: Any = {"path": path, "bytes": path.read_bytes(), "file": io.BytesIO(path.read_bytes())}[form]
    with pytest.raises(VideoError, match="not a video but"):
        open_video(source)


@pytest.mark.parametrize("form", ["path", "bytes"])
def test_session_descriptions_open_no_socket(tmp_path: Path, form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1] & ~1
    text = f"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video {port} RTP/AVP 96\n".encode()
    (tmp_path / "a.sdp").write_bytes(text)
    bound: list[str] = []
    stop = threading.Event()

    def watch() -> None:
        while not stop.is_set():
            for table in ("/proc/net/udp", "/proc/net/udp6"):
                if Path(table).exists() and f":{port:04X}" in Path(table).read_text():
                    bound.append(table)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        with pytest.raises(VideoError, match="session description"):
            open_video(text if form == "bytes" else tmp_path / "a.sdp")
    finally:
        stop.set()
        watcher.join()
    assert not bound


def _dicom(content: bytes, preamble: bool) -> bytes:
    """Return a DICOM file (PS3.10) with one fragment of encapsulated video."""
    meta = b"\x02\x00\x00\x00UL\x04\x00\x1c\x00\x00\x00\x02\x00\x10\x00UI\x14\x001.2.840.10008.1.2.4\x00"
    pixels = b"\xe0\x7f\x10\x00OB\x00\x00\xff\xff\xff\xff\xfe\xff\x00\xe0\x00\x00\x00\x00\xfe\xff\x00\xe0"
    head = bytes(128) + b"DICM" if preamble else b""
    return head + meta + pixels + len(content).to_bytes(4, "little") + content + b"\xfe\xff\xdd\xe0\x00\x00\x00\x00"


@pytest.mark.parametrize("form", ["path", "bytes", "file"])
@pytest.mark.parametrize("suffix", [".dcm", "", ".mp4", ".png"])
@pytest.mark.parametrize("preamble", [True, False])
@pytest.mark.parametrize("name", ["raw.h264", "h264.mp4"])
def test_dicom_is_named_whatever_is_inside(
    clip: Callable[[str], Path], tmp_path: Path, name: str, preamble: bool, suffix: str, form: str
) -> None:
    path = tmp_path / f"export{suffix}"
    path.write_bytes(_dicom(clip(name).read_bytes(), preamble))
    source: Any = {"path": path, "bytes": path.read_bytes(), "file": io.BytesIO(path.read_bytes())}[form]
    with pytest.raises(VideoError, match=r"DICOM file .*export it"):
        open_video(source)
