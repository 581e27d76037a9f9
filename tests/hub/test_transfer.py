"""Servers that answer for ever, with something else, or ask for patience without end."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import constants

from endofm.errors import DownloadError
from endofm.hub import remote, transfer
from endofm.hub.resolve import load_weights
from loopback_hub import LoopbackHub

WEIGHTS = r"GET .*/cdn/"
HEAD_CONFIG = r"HEAD .*/config\.json"

pytestmark = pytest.mark.usefixtures("commit", "hurried")


@pytest.fixture
def commit(hub: LoopbackHub, model_folder: Path) -> str:
    return hub.commit_folder("owner/model", model_folder)


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give up after a second instead of twenty or thirty."""
    monkeypatch.setattr(constants, "HF_HUB_DOWNLOAD_TIMEOUT", 0.5)
    monkeypatch.setattr(transfer, "_WINDOW_SECONDS", 1.0)
    monkeypatch.setattr(remote, "_METADATA_SECONDS", 1.0)


def refused(match: str) -> float:
    """Expect an error that ends the download; return the seconds that it took."""
    began = time.monotonic()
    with pytest.raises(DownloadError, match=match):
        load_weights("owner/model")
    return time.monotonic() - began


def headers_without_end(handler: Any) -> None:
    handler.wfile.write(b"HTTP/1.1 200 OK\r\n")
    handler.drip(b"X-Wait: 1\r\n", seconds=8, every=0.1)


def content_without_end(handler: Any) -> None:
    handler.send_response(200)
    handler.end_headers()
    handler.drip(b"x", seconds=8, every=0.1)


@pytest.mark.parametrize("answer", [content_without_end, headers_without_end])
def test_a_byte_now_and_then_is_no_progress(hub: LoopbackHub, answer: Any) -> None:
    hub.fault(WEIGHTS, times=99, answer=answer)
    assert refused(r"sent [\d,]+ bytes in 1 s") < 5


def test_metadata_must_come_to_an_end(hub: LoopbackHub) -> None:
    hub.fault(HEAD_CONFIG, times=99, answer=headers_without_end)
    assert refused("was not answered in 1 s") < 5


def test_a_silent_server_is_given_up(hub: LoopbackHub) -> None:
    hub.fault(WEIGHTS, times=99, answer=lambda handler: handler.drip(b"", seconds=8, every=8))
    assert refused("could not fetch|sent 0 bytes") < 5


@pytest.mark.parametrize("where", [WEIGHTS, HEAD_CONFIG])
def test_a_server_does_not_decide_how_long_to_wait(hub: LoopbackHub, where: str) -> None:
    hub.fault(where, times=99, status=429, headers={"Retry-After": "1000000000"})
    refused("429|Too Many|Try again later")


def test_a_compressed_answer_is_refused(hub: LoopbackHub) -> None:
    hub.fault(WEIGHTS, times=99, headers={"Content-Encoding": "gzip"})
    refused("is sent compressed")


@pytest.mark.parametrize("header", ["bytes 0-99/100", "bytes 99999999999-100000000000/9", "", "items 5-9"])
def test_another_part_is_refused_and_not_continued(hub: LoopbackHub, tmp_path: Path, header: str) -> None:
    hub.fault(WEIGHTS, cut_after=100_000)
    hub.fault(
        WEIGHTS, times=99, answer=lambda handler: handler._reply(206, bytes(5000), headers={"Content-Range": header})
    )
    refused("another part than")
    assert all(not path.stat().st_size for path in (tmp_path / "home").rglob("*.incomplete"))


def test_another_length_is_refused_before_it_is_read(hub: LoopbackHub, tmp_path: Path) -> None:
    hub.fault(WEIGHTS, times=99, extra_length=5000)
    refused("announces")
    assert len(hub.requests(WEIGHTS)) == 1


@pytest.mark.parametrize("size", ["-5", "9" * 400, "999999999999999"])
def test_an_impossible_size_is_refused(hub: LoopbackHub, size: str) -> None:
    hub.fault(HEAD_CONFIG, times=9, headers={"X-Linked-Size": size})
    refused("a size that no file has|not valid")


def test_crumbs_are_no_progress(hub: LoopbackHub) -> None:
    """A few bytes with each connection would make a large file last for days."""
    hub.fault(WEIGHTS, times=9999, cut_after=100)
    refused("could not fetch")
    assert len(hub.requests(WEIGHTS)) <= 3


def test_starting_over_again_and_again_is_no_progress(hub: LoopbackHub) -> None:
    hub.fault(WEIGHTS, times=9999, cut_after=100_000, ignore_range=True)
    refused("could not fetch")
    assert len(hub.requests(WEIGHTS)) <= 4


@pytest.mark.parametrize("where", [WEIGHTS, HEAD_CONFIG])
@pytest.mark.parametrize("place", ["http://127.0.0.1:99999/x", "http://[bad", "file:///etc/hostname", "/"])
def test_a_redirect_to_nowhere_is_refused(hub: LoopbackHub, where: str, place: str) -> None:
    hub.fault(where, times=99, status=302, headers={"Location": place})
    refused("not valid|could not|http://127")
