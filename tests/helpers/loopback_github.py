"""A GitHub on loopback that has one repository, behind a proxy that answers for the real host names.

``torch.hub`` asks ``https://github.com`` and ``https://api.github.com`` by fixed addresses. A process that is started
with :attr:`LoopbackGitHub.environment` sends these requests to the proxy, and trusts its certificate and no other, so
that nothing can reach the network.
"""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

HOSTS = ("github.com", "api.github.com", "codeload.github.com")


@dataclass
class LoopbackGitHub:
    """The server.

    Attributes:
        environment: Variables of a process that is to use it.
        requests: Host and path of every request, in order.
    """

    environment: dict[str, str]
    requests: list[str] = field(default_factory=list)


@contextmanager
def loopback_github(repository: str, archive: Path, folder: Path) -> Iterator[LoopbackGitHub]:
    """Serve a repository with the branch ``main`` in a block.

    Args:
        repository: Such as ``"med-air/Endo-FM"``.
        archive: Zip file of its content, in one folder, as GitHub sends it.
        folder: Folder for the certificate.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(_certificate(folder))
    branch = json.dumps([{"name": "main", "commit": {"sha": "0" * 40}}]).encode()
    answers = {
        f"github.com/{repository}/tree/main/": b"a page",
        f"github.com/{repository}/zipball/main": archive.read_bytes(),
        f"api.github.com/repos/{repository}/branches?per_page=100&page=1": branch,
        f"api.github.com/repos/{repository}/branches?per_page=100&page=2": b"[]",
        f"api.github.com/repos/{repository}/tags?per_page=100&page=1": b"[]",
    }

    class Handler(BaseHTTPRequestHandler):
        def do_CONNECT(self) -> None:
            host = self.path.partition(":")[0]
            self.send_response(200)
            self.end_headers()
            with context.wrap_socket(self.connection, server_side=True) as connection:
                self.connection, self.host = connection, host
                self.rfile, self.wfile = connection.makefile("rb"), connection.makefile("wb")
                self.handle_one_request()
                self.wfile.flush()
            self.close_connection = True

        def do_GET(self) -> None:
            name = f"{self.host}{self.path}"
            server.requests.append(name)
            content = answers.get(name)
            self.send_response(404 if content is None else 200)
            self.send_header("Content-Length", str(len(content or b"")))
            self.end_headers()
            self.wfile.write(content or b"")

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as proxy:
        address = f"http://127.0.0.1:{proxy.server_address[1]}"
        server = LoopbackGitHub({"https_proxy": address, "no_proxy": "", "SSL_CERT_FILE": str(folder / "github.pem")})
        threading.Thread(target=proxy.serve_forever, daemon=True).start()
        yield server
        proxy.shutdown()


def _certificate(folder: Path) -> Path:
    """Write a key and a certificate that it has signed for the hosts; returns their file."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "loopback")])
    now = datetime.now(timezone.utc)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host) for host in HOSTS]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = folder / "github.pem"
    text = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(text + certificate.public_bytes(serialization.Encoding.PEM))
    return path
