"""Attacks by a hub or mirror that does not behave: the real client against a server on loopback.

Whatever the server answers, loading ends with the right weights or with an error of the package, writes nothing outside
the cache and no more than the file's size there, and leaves nothing behind that spoils the next attempt. The package's
patience is shortened (a second instead of twenty or thirty), because thousands of silent servers are waited for.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any

from benchmarks.robustness.sandbox import Case, Outcome, generator
from benchmarks.robustness.small_model import model_files, small_model

REPO = "owner/model"
MIRRORED = "mirrored-attack"
TARGETS = {
    "hub metadata": r"HEAD .*/resolve/",
    "hub configuration": r"GET .*/config\.json",
    "hub weights": r"(GET|HEAD) .*(/cdn/|model\.safetensors)",
    "mirror": r"GET .*/files/",
}
"""Requests that are answered wrongly, by the row of the table."""


@dataclass(frozen=True)
class Attack:
    """Misbehaviour of the server: fields of the loopback hub's ``Fault``, and a description."""

    what: str
    fault: dict[str, Any]


def _header(name: str, values: tuple[str, ...]) -> Callable[[Random, Path], Attack]:
    def make(rng: Random, outside: Path) -> Attack:
        value = rng.choice(values).format(
            outside=outside, digest=rng.randbytes(32).hex(), short=rng.randbytes(20).hex()
        )
        return Attack(f"{name}: {value[:60]!r}", {"headers": {name: value}})

    return make


PATHS = (
    '"{outside}"',
    '"../../../../../outside"',
    "..",
    '"a/b"',
    '"."',
    "",
    '"opaque"',
    "W/{short}",
    'W/"{short}"',
    '"{digest}"',
    '"{short}"',
)
STATUSES = (400, 401, 403, 404, 408, 410, 416, 418, 429, 451, 500, 502, 503, 504, 507)
SIZES = ("0", "1", "-5", "abc", "9" * 18, "9" * 400, "1e9", " 7 ", "", "4096")
REDIRECTS = (
    "file:///etc/passwd", "ftp://127.0.0.1/x", "http://[bad", "//127.0.0.1:1/x", "http://127.0.0.1:1/x", "/", "",
    "http://localhost:{port}/files/other", "/files/other", "javascript:alert(1)", "http://user:word@127.0.0.1:{port}/",
    "{self}", "http://\u00e9.invalid/", "http://127.0.0.1:99999/x", "x" * 70_000, "\\\\host\\share",
)  # fmt: skip
_OK = b"HTTP/1.1 200 OK\r\n"
_CHUNKED = _OK + b"Transfer-Encoding: chunked\r\n"
RAW = (
    b"",
    b"\x00" * 500,
    b"SSH-2.0-OpenSSH\r\n",
    b"<html>Please log in to the network</html>",
    _OK + b": no name\r\n\r\n",
    b"HTTP/1.1 999 What\r\n\r\n",
    b"HTTP/1.1 abc\r\n\r\n",
    b"HTTP/9.9 200 OK\r\n\r\n",
    b"HTTP/1.1 204 No\r\n\r\nbody",
    b"HTTP/1.1 304 Not Modified\r\n\r\n",
    b"HTTP/1.1 401 No\r\nWWW-Authenticate: \xe9\r\nContent-Length: 0\r\n\r\n",
    _OK + b"Content-Length: 5\r\nContent-Length: 9\r\n\r\nhello",
    _OK + b"X: \xff\xfe\x00\r\nContent-Length: 0\r\n\r\n",
    _CHUNKED + b"\r\n-5\r\nhello\r\n",
    _CHUNKED + b"\r\nFFFFFFFFFFFFFFFFF\r\nhello\r\n",
    _CHUNKED + b"Content-Length: 3\r\n\r\n2\r\nab\r\n0\r\n\r\n",
    _OK + b"".join(b"X-%d: y\r\n" % n for n in range(20_000)) + b"\r\n",
    _OK + b"X: " + b"y" * 10**6,
)


def _raw(rng: Random, outside: Path) -> Attack:
    content = rng.choice(RAW)

    def answer(handler: Any) -> None:
        handler.close_connection = True
        with suppress(OSError):
            handler.wfile.write(content)

    return Attack(f"raw {content[:40]!r}", {"answer": answer})


def _drip(rng: Random, outside: Path) -> Attack:
    """Send something for ever: nothing, continuations, headers, content, chunks or spaces before the status."""
    head, piece = rng.choice(
        (
            (b"", b""),
            (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
            (b"", b"HTTP/1.1 103 Early Hints\r\n\r\n"),
            (b"HTTP/1.1 200 OK\r\n", b"X: y\r\n"),
            (b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n", b"x"),
            (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
            (b"HTTP/1.1 500 No\r\nContent-Length: 500000\r\n\r\n", b"x"),
            (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;", b"e=1;"),
        )
    )

    def answer(handler: Any) -> None:
        with suppress(OSError):
            handler.wfile.write(head)
        handler.drip(piece, seconds=8, every=rng.choice((0.0005, 0.3)))

    return Attack(f"drip {head[:20]!r} {piece[:20]!r}", {"answer": answer})


def _redirect(rng: Random, outside: Path) -> Attack:
    place, status = rng.choice(REDIRECTS), rng.choice((301, 302, 303, 307, 308))

    def answer(handler: Any) -> None:
        location = place.format(port=handler.hub.port, self=handler.path)
        handler.send_response(status)
        handler.send_header("Location", location.encode("utf-8").decode("latin-1"))
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    return Attack(f"redirect {status} {place[:40]!r}", {"answer": answer})


def _encoding(rng: Random, outside: Path) -> Attack:
    name = rng.choice(("gzip", "br", "zstd", "deflate", "x-gzip", "identity, gzip", "GZIP", "unknown"))
    content = rng.choice((b"not compressed", gzip.compress(bytes(10**7)), gzip.compress(b"{}"), b""))

    def answer(handler: Any) -> None:
        handler._reply(200, content, headers={"Content-Encoding": name, "ETag": f'"{hashlib.sha1().hexdigest()}"'})

    return Attack(f"encoding {name}, {len(content)} bytes", {"answer": answer})


def _part(rng: Random, outside: Path) -> Attack:
    value = rng.choice(
        ("bytes 0-9/10", "bytes 5-9/*", "", "bytes */3", "bytes 9999999-9999999/9", "lines 1-2", "bytes 1-")
    )

    def answer(handler: Any) -> None:
        handler._reply(rng.choice((206, 416)), rng.randbytes(300), headers={"Content-Range": value})

    return Attack(f"part {value!r}", {"answer": answer})


def _changed(rng: Random, outside: Path) -> Attack:
    """Let the repository move on, or lose the file, between two requests."""
    remove = rng.random() < 0.5

    def answer(handler: Any) -> None:
        repo = handler.hub.repos[REPO]
        commit = handler.hub.commit(REPO, {"README.md": rng.randbytes(8)})
        if remove:
            repo.commits[commit].pop("model.safetensors", None)
        handler._reply(503, b"moved on")

    return Attack("changed while read" + (", file removed" if remove else ""), {"answer": answer})


def _other_content(rng: Random, outside: Path) -> Attack:
    content = rng.choice(
        (b"", b"{}", b"[" * 10**5, rng.randbytes(5000), b"<html>", b"version https://git-lfs.github.com/spec/v1\n")
    )

    def answer(handler: Any) -> None:
        handler._reply(200, content, headers={"ETag": f'"{rng.randbytes(20).hex()}"', "X-Repo-Commit": "a" * 40})

    return Attack(f"other content {content[:20]!r}", {"answer": answer})


ATTACKS: tuple[Callable[[Random, Path], Attack], ...] = (
    _header("ETag", PATHS),
    _header("X-Linked-Etag", PATHS),
    _header("X-Repo-Commit", ("../../../outside", "{outside}", "main", "", "{short}", "{digest}", "A" * 40, "\u00e9")),
    _header("X-Linked-Size", SIZES),
    _header("Retry-After", ("1000000000", "-1", "never", "Fri, 31 Dec 9999 23:59:59 GMT")),
    _header("X-Error-Code", ("GatedRepo", "EntryNotFound", "\x1b[31m", "x" * 5000)),
    _header("X-Xet-Hash", ("{digest}", "../x", "")),
    lambda rng, outside: Attack("endless", {"endless": True}),
    lambda rng, outside: Attack("longer than sent", {"extra_length": rng.choice((1, 5000, 10**9))}),
    lambda rng, outside: Attack("corrupt", {"corrupt": True}),
    lambda rng, outside: Attack("no ranges, cut", {"ignore_range": True, "cut_after": rng.randrange(40_000)}),
    lambda rng, outside: Attack("cut", {"cut_after": rng.randrange(60_000), "reset": rng.random() < 0.5}),
    lambda rng, outside: Attack("status", {"status": rng.choice(STATUSES)}),
    lambda rng, outside: Attack("come back", {"status": rng.choice((429, 503)), "headers": {"Retry-After": "1" * 10}}),
    _raw, _drip, _redirect, _encoding, _part, _changed, _other_content,
)  # fmt: skip


def cases(count: int, seed: int) -> Iterator[Case]:
    """Yield attacks by servers, spread evenly over requests and kinds of answers."""
    model_files()
    targets = list(TARGETS)
    for number in range(count):
        target, make = targets[number % len(targets)], ATTACKS[(number // len(targets)) % len(ATTACKS)]
        yield Case(target, f"#{number} seed {seed}", _bind(target, make, number, seed))


def _bind(
    target: str, make: Callable[[Random, Path], Attack], number: int, seed: int
) -> Callable[[], tuple[Outcome, str]]:
    return lambda: _run(target, make, generator(seed, "hub", number))


def _run(target: str, make: Callable[[Random, Path], Attack], rng: Random) -> tuple[Outcome, str]:
    import pytest

    from endofm.errors import EndoFMError
    from loopback_hub import loopback_hub

    files = dict(model_files())
    with (
        tempfile.TemporaryDirectory() as name,
        pytest.MonkeyPatch.context() as patch,
        loopback_hub() as hub,
    ):
        root = Path(name)
        hub.connect(patch, root / "home")
        _hurry(patch)
        hub.commit(REPO, files)
        source = REPO
        if target == "mirror":
            source = _register(patch, hub, files["model.safetensors"])
        attack = make(rng, root / "outside")
        hub.fault(TARGETS[target], times=rng.choice((1, 1, 2, 99)), **attack.fault)
        try:
            _load(source)
            outcome, detail = Outcome.OK, attack.what
        except EndoFMError as error:
            outcome, detail = Outcome.ERROR, f"{attack.what}: {error}"
            if len(str(error)) > 2000:
                outcome = Outcome.FOREIGN
        except Exception as error:
            return Outcome.FOREIGN, f"{attack.what}: {type(error).__name__}: {error}"
        escaped = [path.name for path in root.iterdir() if path.name != "home"]
        size = sum(path.stat().st_size for path in root.rglob("*") if path.is_file() and not path.is_symlink())
        if escaped or size > 3 * sum(map(len, files.values())):
            return Outcome.SILENT, f"{attack.what}: {size} bytes on disk, outside the cache: {escaped}"
        # Then the server behaves again. What it did before must not be remembered.
        # Its threads may still be at it, so that it is given more time.
        hub.faults.clear()
        _hurry(patch, seconds=30.0)
        hub.commit(REPO, files)
        try:
            _load(source)
        except Exception as error:
            return Outcome.SILENT, f"{attack.what}: afterwards {type(error).__name__}: {error}"
        return outcome, detail


def _load(source: str) -> None:
    import torch

    from endofm import EndoFM

    loaded = EndoFM.from_pretrained(source).state_dict()
    assert all(torch.equal(loaded[name], value) for name, value in small_model().state_dict().items()), "other weights"


def _hurry(patch: Any, seconds: float = 1.0) -> None:
    from huggingface_hub import constants

    from endofm.hub import remote, transfer

    os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
    patch.setattr(constants, "HF_HUB_DOWNLOAD_TIMEOUT", seconds / 2)
    patch.setattr(constants, "HF_HUB_ETAG_TIMEOUT", seconds / 2)
    patch.setattr(transfer, "_WINDOW_SECONDS", seconds)
    patch.setattr(remote, "_METADATA_SECONDS", seconds)


def _register(patch: Any, hub: Any, content: bytes) -> str:
    """Let a name stand for a file on the server, as those of published weights do."""
    from endofm.hub import registry
    from endofm.hub.registry import list_models, register
    from endofm.hub.weight_record import Mirror, WeightRecord

    list_models()
    patch.setattr(registry, "_REGISTRY", dict(registry._REGISTRY))
    hub.files["weights"] = content
    sha256 = hashlib.sha256(content).hexdigest()
    mirror = Mirror(url=f"{hub.url}/files/weights", sha256=sha256, layout="safetensors", filename="weights")
    config = replace(small_model().config, name=MIRRORED, license="mit")
    register(WeightRecord(name=MIRRORED, description="", config=config, license="mit", mirrors=(mirror,)))
    return MIRRORED
