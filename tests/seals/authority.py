"""A time stamp authority of our own: openssl behind a small web server."""

import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import NamedTuple

import pytest

_EXTENSIONS = (
    "extendedKeyUsage=critical,timeStamping\nkeyUsage=critical,digitalSignature\nbasicConstraints=CA:FALSE\n"
    "subjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n"
)
_CONFIG = """
[ tsa ]
default_tsa = here
[ here ]
serial = {folder}/serial
crypto_device = builtin
signer_cert = {folder}/tsa.pem
signer_key = {folder}/tsa.key
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha256, sha512
accuracy = secs:1
ordering = yes
tsa_name = yes
ess_cert_id_alg = sha256
"""


class LocalAuthority(NamedTuple):
    folder: Path
    url: str

    @property
    def root(self) -> Path:
        return self.folder / "root.pem"

    @property
    def certificates(self) -> Path:
        """The root and the certificate of the authority itself."""
        return self.folder / "all.pem"


def openssl(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["openssl", *map(str, arguments)], capture_output=True, text=True, check=False, timeout=60
    )


@contextmanager
def local_authority(folder: Path, *, with_chain: bool = False) -> Iterator[LocalAuthority]:
    """Its replies carry the root, too, ``with_chain``, as those of some authorities do."""
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl, to be a time stamp authority")
    folder.mkdir(parents=True)
    _make_certificates(folder)
    (folder / "tsa.cnf").write_text(_CONFIG.format(folder=folder))
    (folder / "serial").write_text("01\n")

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            (folder / "query").write_bytes(self.rfile.read(int(self.headers["Content-Length"])))
            chain = ["-chain", folder / "root.pem"] if with_chain else []
            made = openssl(
                *("ts", "-reply", "-config", folder / "tsa.cnf", "-queryfile", folder / "query"),
                *("-out", folder / "reply", *chain),
            )
            self.send_response(200 if made.returncode == 0 else 500)
            self.end_headers()
            self.wfile.write((folder / "reply").read_bytes() if made.returncode == 0 else b"")

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield LocalAuthority(folder, f"http://127.0.0.1:{server.server_port}/tsr")
    finally:
        server.shutdown()
        server.server_close()


def _make_certificates(folder: Path) -> None:
    (folder / "extensions").write_text(_EXTENSIONS)
    key = ("-newkey", "rsa:2048", "-nodes")
    steps = [
        ("req", "-x509", *key, "-keyout", folder / "root.key", "-out", folder / "root.pem", "-days", "3650",
         "-subj", "/CN=Root of the tests", "-addext", "basicConstraints=critical,CA:TRUE"),
        ("req", *key, "-keyout", folder / "tsa.key", "-out", folder / "tsa.csr", "-subj", "/CN=Authority"),
        ("x509", "-req", "-in", folder / "tsa.csr", "-CA", folder / "root.pem", "-CAkey", folder / "root.key",
         "-CAcreateserial", "-out", folder / "tsa.pem", "-days", "3650", "-extfile", folder / "extensions"),
    ]  # fmt: skip
    for step in steps:
        done = openssl(*step)
        assert done.returncode == 0, done.stderr
    (folder / "all.pem").write_text((folder / "root.pem").read_text() + (folder / "tsa.pem").read_text())
