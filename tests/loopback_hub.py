"""A small Hugging Face hub on loopback, for the real client: downloads, uploads, and everything that can go wrong.

It speaks the parts of the hub's HTTP interface that the client uses (addresses, headers and payloads as
huggingface_hub sends and expects them) and keeps repositories in memory. Large files are answered with a redirect to
another host name of the same server, as the hub's CDN is, so that a leaked token would be seen.

    with loopback_hub() as hub:
        commit = hub.commit("owner/model", {"config.json": b"{}", "model.safetensors": b"..."})
        subprocess.run([...], env=hub.environment(cache))
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

REPO = r"(?P<repo>[\w.-]+/[\w.-]+)"
pause = threading.Event()  # Never set: tests that use the hub replace time.sleep.

LARGE = (".safetensors", ".pth")


@dataclass
class Fault:
    """What goes wrong with the next ``times`` requests whose method and path match."""

    pattern: str
    times: int
    status: int = 0
    cut_after: int | None = None
    reset: bool = False
    corrupt: bool = False
    ignore_range: bool = False
    headers: Mapping[str, str] = field(default_factory=dict)
    endless: bool = False
    extra_length: int = 0
    answer: Callable[[_Handler], None] | None = None
    """Replaces the server's whole answer."""


@dataclass(frozen=True)
class Seen:
    """A request that arrived."""

    method: str
    path: str
    headers: dict[str, str]


@dataclass
class Repo:
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    messages: dict[str, str] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    token: str = ""
    gated: bool = False
    private: bool = False


class LoopbackHub:
    """The state of the server, and the means to prepare and inspect it."""

    def __init__(self) -> None:
        self.repos: dict[str, Repo] = {}
        self.blobs: dict[str, bytes] = {}
        self.files: dict[str, bytes] = {}
        self.faults: list[Fault] = []
        self.seen: list[Seen] = []
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def commit(self, repo_id: str, files: Mapping[str, bytes], *, branch: str = "main", message: str = "") -> str:
        """Add files in one commit and return its hash."""
        repo = self.repos.setdefault(repo_id, Repo())
        tree = {**repo.commits.get(repo.branches.get(branch, ""), {}), **files}
        commit = hashlib.sha1(f"{repo_id} {len(repo.commits)}".encode()).hexdigest()
        repo.commits[commit], repo.messages[commit], repo.branches[branch] = tree, message, commit
        for content in files.values():
            self.blobs[hashlib.sha256(content).hexdigest()] = content
        return commit

    def commit_folder(self, repo_id: str, folder: Path, *, branch: str = "main") -> str:
        """Add the files of a folder in one commit and return its hash."""
        return self.commit(repo_id, {file.name: file.read_bytes() for file in folder.iterdir()}, branch=branch)

    def fault(self, pattern: str, times: int = 1, **what: Any) -> None:
        """Let the next requests that match ``pattern`` (a regular expression for "METHOD path") fail."""
        self.faults.append(Fault(pattern, times, **what))

    def next_fault(self, request: str) -> Fault | None:
        for fault in self.faults:
            if fault.times > 0 and re.search(fault.pattern, request):
                fault.times -= 1
                return fault
        return None

    def requests(self, pattern: str) -> list[Seen]:
        """Return the requests that matched a regular expression for "METHOD path", in order."""
        return [seen for seen in self.seen if re.search(pattern, f"{seen.method} {seen.path}")]

    def environment(self, home: Path, **extra: str) -> dict[str, str]:
        """Return an environment for a process whose client talks to this hub and keeps its cache under ``home``."""
        # Large uploads go through xet storage otherwise, which is a service of its own.
        settings = {"HF_ENDPOINT": self.url, "HF_HOME": str(home), "HF_HUB_DISABLE_XET": "1", "NO_PROXY": "*"}
        cleared = {key: value for key, value in os.environ.items() if not key.startswith(("HF_", "HUGGING"))}
        return {**cleared, **settings, **extra}

    def connect(self, monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
        """Make the client in this process talk to this hub and keep its cache under ``home``, without waiting."""
        point_client(monkeypatch, self.url, home)


def point_client(monkeypatch: pytest.MonkeyPatch, endpoint: str, home: Path) -> None:
    """Set what huggingface_hub read from the environment when it was imported."""
    from huggingface_hub import constants, file_download

    template = endpoint + "/{repo_id}/resolve/{revision}/{filename}"
    for name, value in {
        "ENDPOINT": endpoint,
        "HUGGINGFACE_CO_URL_TEMPLATE": template,
        "HF_HUB_CACHE": str(home / "hub"),
        "HF_ASSETS_CACHE": str(home / "assets"),
        "HF_TOKEN_PATH": str(home / "token"),
        "HF_HUB_OFFLINE": False,
        "HF_HUB_DISABLE_XET": True,
    }.items():
        monkeypatch.setattr(constants, name, value)
    # Releases before 1.0 keep a copy there.
    monkeypatch.setattr(file_download, "HUGGINGFACE_CO_URL_TEMPLATE", template, raising=False)
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setattr("time.sleep", lambda seconds: None)


class _Server(ThreadingHTTPServer):
    """A server that also ends the connections which clients keep open, so that it is really gone."""

    daemon_threads = True

    def __init__(self, handler: type[BaseHTTPRequestHandler]) -> None:
        super().__init__(("127.0.0.1", 0), handler)
        self.connections: list[socket.socket] = []
        self.to_reset: list[socket.socket] = []

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, address = super().get_request()
        self.connections.append(connection)
        return connection, address

    def shutdown_request(self, request: Any) -> None:
        if request in self.to_reset:  # lingering for 0 s makes the close a reset instead of an orderly end
            request.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            request.close()
        else:
            super().shutdown_request(request)

    def server_close(self) -> None:
        super().server_close()
        for connection in self.connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


@contextmanager
def loopback_hub() -> Iterator[LoopbackHub]:
    """Run a hub on a free port of loopback."""
    hub = LoopbackHub()
    server = _Server(type("Handler", (_Handler,), {"hub": hub}))
    hub.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    hub: LoopbackHub
    server: _Server
    fault: Fault | None = None
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_HEAD(self) -> None:
        self._dispatch()

    def do_GET(self) -> None:
        self._dispatch()

    def do_POST(self) -> None:
        self._dispatch()

    def do_PUT(self) -> None:
        self._dispatch()

    def _dispatch(self) -> None:
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = self.path.split("?")[0]
        self.hub.seen.append(Seen(self.command, self.path, {k.lower(): v for k, v in self.headers.items()}))
        self.fault = self.hub.next_fault(f"{self.command} {self.path}")
        if self.fault and self.fault.answer:
            return self.fault.answer(self)
        if self.fault and self.fault.status:
            return self._reply(self.fault.status, b"the test wants this to fail")
        for pattern, handler in (
            (rf"/api/(?:models|repos)/{REPO}/preupload/(?P<revision>[^/]+)", self._preupload),
            (rf"/api/models/{REPO}/commit/(?P<revision>[^/]+)", self._commit),
            (rf"/api/models/{REPO}/revision/(?P<revision>[^/]+)", self._info),
            (r"/api/repos/create", self._create),
            (r"/api/validate-yaml", self._validate),
            (rf"/{REPO}\.git/info/lfs/objects/batch", self._lfs_batch),
            (rf"/{REPO}/resolve/(?P<revision>[^/]+)/(?P<filename>.+)", self._resolve),
            (r"/cdn/(?P<sha256>\w+)", self._cdn),
            (r"/files/(?P<name>.+)", self._file),
        ):
            if match := re.fullmatch(pattern, path):
                return handler(**match.groupdict())
        return self._reply(404, b"")

    def _resolve(self, repo: str, revision: str, filename: str) -> None:
        known = self._repo(repo)
        if known is None:
            return
        commit = known.branches.get(revision, revision)
        if commit not in known.commits:
            return self._reply(404, headers={"X-Error-Code": "RevisionNotFound"})
        headers = {"X-Repo-Commit": commit}
        if filename not in known.commits[commit]:
            return self._reply(404, headers={"X-Error-Code": "EntryNotFound", **headers})
        content = known.commits[commit][filename]
        if filename.endswith(LARGE):
            sha256 = hashlib.sha256(content).hexdigest()
            headers |= {"X-Linked-Etag": f'"{sha256}"', "X-Linked-Size": str(len(content))}
            return self._reply(302, headers={"Location": f"http://localhost:{self.hub.port}/cdn/{sha256}", **headers})
        oid = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
        return self._content(content, {"ETag": f'"{oid}"', **headers})

    def _repo(self, repo: str) -> Repo | None:
        known = self.hub.repos.get(repo)
        allowed = known is not None and self.headers.get("Authorization") == f"Bearer {known.token}"
        if known is None or (known.private and not allowed):
            self._reply(401, headers={"X-Error-Code": "RepoNotFound"})
            return None
        if known.gated and not allowed:
            self._reply(403, headers={"X-Error-Code": "GatedRepo"})
            return None
        return known

    def _cdn(self, sha256: str) -> None:
        if self.command == "PUT":
            self.hub.blobs[hashlib.sha256(self.body).hexdigest()] = self.body
            return self._reply(200)
        return self._content(self.hub.blobs[sha256])

    def _file(self, name: str) -> None:
        if name not in self.hub.files:
            return self._reply(404)
        return self._content(self.hub.files[name])

    def _content(self, content: bytes, headers: Mapping[str, str] | None = None) -> None:
        """Send a file, or the asked part of it, or less than was promised."""
        fault, status, extra = self.fault, 200, dict(headers or {})
        total = len(content)
        wanted = "" if fault and fault.ignore_range else self.headers.get("Range", "")
        if match := re.fullmatch(r"bytes=(\d+)-", wanted):
            start = int(match[1])
            if start >= total:
                return self._reply(416, headers={"Content-Range": f"bytes */{total}"})
            content, status = content[start:], 206
            extra["Content-Range"] = f"bytes {start}-{total - 1}/{total}"
        if fault and fault.endless and self.command == "GET":
            return self._endless()
        if fault and fault.extra_length:
            self.close_connection = True
            return self._reply(status, content, headers=extra, length=len(content) + fault.extra_length)
        if fault and fault.corrupt:
            content = bytes([content[0] ^ 1]) + content[1:]
        if fault and fault.cut_after is not None and self.command == "GET":
            self._reply(status, content[: fault.cut_after], headers=extra, length=len(content))
            if fault.reset:
                self.server.to_reset.append(self.connection)
            self.close_connection = True
            return None
        return self._reply(status, content, headers=extra)

    def drip(self, piece: bytes, *, seconds: float, every: float) -> None:
        """Send a piece of anything now and then, and end the connection after a time."""
        until = time.monotonic() + seconds
        self.close_connection = True
        with suppress(OSError):
            while time.monotonic() < until:
                self.wfile.write(piece)
                self.wfile.flush()
                pause.wait(every)

    def _endless(self) -> None:
        """Send 64 MiB without a stated length."""
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        with suppress(OSError):
            for _ in range(1024):
                self.wfile.write(b"10000\r\n" + bytes(1 << 16) + b"\r\n")
        self.close_connection = True

    def _create(self) -> None:
        wanted = json.loads(self.body)
        repo_id = f"{wanted['organization']}/{wanted['name']}"
        if self.headers.get("Authorization") != "Bearer hf_writer":
            return self._reply(401, headers={"X-Error-Message": "Invalid credentials in Authorization header"})
        status = 409 if repo_id in self.hub.repos else 200
        if status == 200:
            self.hub.commit(repo_id, {".gitattributes": b"*.safetensors filter=lfs\n"}, message="initial commit")
            private = wanted.get("private") or wanted.get("visibility") == "private"  # older and newer clients
            self.hub.repos[repo_id].private = private
            self.hub.repos[repo_id].token = "hf_writer"
        return self._json({"url": f"{self.hub.url}/{repo_id}", "id": repo_id}, status=status)

    def _info(self, repo: str, revision: str) -> None:
        known = self.hub.repos[repo]
        if revision not in known.branches:
            return self._reply(404, headers={"X-Error-Code": "RevisionNotFound"})
        return self._json({"id": repo, "sha": known.branches[revision], "xetEnabled": False})

    def _validate(self) -> None:
        head = json.loads(self.body)["content"].split("---")
        if len(head) < 3 or "library_name" not in head[1]:
            return self._json({"errors": [{"message": "no metadata"}]}, status=400)
        return self._json({"errors": [], "warnings": []})

    def _preupload(self, repo: str, revision: str) -> None:
        files = json.loads(self.body)["files"]
        modes = [
            {
                "path": file["path"],
                "uploadMode": "lfs" if file["path"].endswith(LARGE) else "regular",
                "shouldIgnore": False,
                "oid": None,
            }
            for file in files
        ]
        return self._json({"files": modes})

    def _lfs_batch(self, repo: str) -> None:
        objects = json.loads(self.body)["objects"]
        for item in objects:
            item["actions"] = {"upload": {"href": f"{self.hub.url}/cdn/{item['oid']}"}}
        return self._json({"transfer": "basic", "objects": objects})

    def _commit(self, repo: str, revision: str) -> None:
        known = self.hub.repos[repo]
        if revision not in known.branches:
            return self._reply(404, headers={"X-Error-Code": "RevisionNotFound"})
        items = [json.loads(line) for line in self.body.splitlines()]
        files, message = {}, ""
        for item in items:
            value = item["value"]
            if item["key"] == "header":
                message = value["summary"]
            elif item["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif item["key"] == "lfsFile":
                files[value["path"]] = self.hub.blobs[value["oid"]]
        is_pull_request = "create_pr=1" in self.path
        branch = "refs/pr/1" if is_pull_request else revision
        oid = self.hub.commit(repo, files, branch=branch, message=message)
        answer = {"commitUrl": f"{self.hub.url}/{repo}/commit/{oid}", "commitOid": oid}
        if is_pull_request:
            answer["pullRequestUrl"] = f"{self.hub.url}/{repo}/discussions/1"
        return self._json(answer)

    def _json(self, value: object, *, status: int = 200) -> None:
        self._reply(status, json.dumps(value).encode(), headers={"Content-Type": "application/json"})

    def _reply(
        self,
        status: int,
        body: bytes = b"",
        *,
        headers: Mapping[str, str] | None = None,
        length: int | None = None,
    ) -> None:
        self.send_response(status)
        # A fault's headers take the place of the right ones.
        for key, value in {**(headers or {}), **(self.fault.headers if self.fault else {})}.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        if self.command != "HEAD":
            with suppress(ConnectionError):  # a client that gave up
                self.wfile.write(body)
