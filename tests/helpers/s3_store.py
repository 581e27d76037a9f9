"""An S3 server on loopback (moto's), behind a proxy that counts what is read and lets requests go wrong."""

from __future__ import annotations

import http.client
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

BUCKET = "archive"


@dataclass
class S3Store:
    """The store of a test.

    Attributes:
        client: Client of boto3 that goes to the server itself.
        faults: What happens to the next reads of objects, one after the other: a status, ``"cut"`` (half of the
            answer, or of the upload), ``"lost"`` (done, and never answered) or ``"slow"``; the last one stays if
            ``lasting``.
        lasting: Repeat the last fault for ever.
        on_writes: The faults are those of writes of objects whose names hold this text, instead of reads.
        down: Every request is refused by a closed connection.
        bytes_read: Bytes of objects that went through the proxy.
        reads: Number of reads of objects.
    """

    client: Any
    faults: list[int | str] = field(default_factory=list)
    lasting: bool = False
    on_writes: str | None = None
    down: bool = False
    bytes_read: int = 0
    reads: int = 0

    def put(self, key: str, content: bytes) -> str:
        """Store an object; return its address."""
        self.client.put_object(Bucket=BUCKET, Key=key, Body=content)
        return f"s3://{BUCKET}/{key}"

    def names(self) -> set[str]:
        """Return the names of all objects."""
        return {one["Key"] for one in self.client.list_objects_v2(Bucket=BUCKET).get("Contents", [])}

    def get(self, key: str) -> bytes:
        """Return the content of an object."""
        content: bytes = self.client.get_object(Bucket=BUCKET, Key=key)["Body"].read()
        return content

    def next_fault(self) -> int | str | None:
        if not self.faults:
            return None
        return self.faults[0] if self.lasting and len(self.faults) == 1 else self.faults.pop(0)


@contextmanager
def s3_store(monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Store]:
    """Run a store, to which the environment directs ``s3://`` addresses."""
    server = pytest.importorskip("moto.server")
    boto3, s3fs = pytest.importorskip("boto3"), pytest.importorskip("s3fs")
    for name, value in (
        ("ACCESS_KEY_ID", "key"),
        ("SECRET_ACCESS_KEY", "very-secret"),
        ("DEFAULT_REGION", "us-east-1"),
    ):
        monkeypatch.setenv(f"AWS_{name}", value)
    moto = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    moto.start()
    host, port = moto.get_host_and_port()
    # The content of a server is that of the process.
    reset = http.client.HTTPConnection(host, port)
    reset.request("POST", "/moto-api/reset")
    reset.getresponse().read()
    store = S3Store(boto3.client("s3", endpoint_url=f"http://{host}:{port}"))
    store.client.create_bucket(Bucket=BUCKET)
    proxy = ThreadingHTTPServer(("127.0.0.1", 0), _handler(store, port))
    threading.Thread(target=proxy.serve_forever, daemon=True).start()
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"http://127.0.0.1:{proxy.server_port}")
    # Clients of earlier tests know another port.
    s3fs.S3FileSystem.clear_instance_cache()
    try:
        yield store
    finally:
        s3fs.S3FileSystem.clear_instance_cache()
        proxy.shutdown()
        proxy.server_close()
        moto.stop()


def _handler(store: S3Store, port: int) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: object) -> None:
            pass

        def handle_one(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            reads = self.command == "GET" and "Range" in self.headers
            store.reads += reads
            if store.on_writes is None:
                meant = reads
            else:
                meant = self.command in ("PUT", "POST") and store.on_writes in self.path
            fault = store.next_fault() if meant else None
            if fault == "down":
                store.down = True
            if store.down:
                self.close_connection = True
                return
            if isinstance(fault, int):
                self.send_response(fault)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            if fault == "slow":
                threading.Event().wait(1)
            upstream = http.client.HTTPConnection("127.0.0.1", port)
            if fault == "cut" and not reads:
                upstream.request(self.command, self.path, body[: len(body) // 2], {**self.headers})
                upstream.close()
                self.close_connection = True
                return
            upstream.request(self.command, self.path, body, {**self.headers, "Host": f"127.0.0.1:{port}"})
            answer = upstream.getresponse()
            content = answer.read()
            if fault == "lost":
                self.close_connection = True
                return
            self.send_response(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in ("content-length", "transfer-encoding", "connection", "date", "server"):
                    self.send_header(name, value)
            length = answer.getheader("Content-Length") if self.command == "HEAD" else str(len(content))
            self.send_header("Content-Length", length or "0")
            self.end_headers()
            if fault == "cut":
                self.wfile.write(content[: len(content) // 2])
                self.close_connection = True
                return
            store.bytes_read += len(content) if reads else 0
            self.wfile.write(content)

        do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = handle_one

    return Handler
