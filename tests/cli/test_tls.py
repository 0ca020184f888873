"""tcp:// with TLS on both sides: who is who is checked, and a hijacked stream can be half-closed."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from docket_program import run_docket
from engine_samples import CONTAINERS, ID
from fake_engine import frame

pytestmark = pytest.mark.skipif(
    shutil.which("openssl") is None, reason="needs openssl to make certificates: it is not installed"
)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An authority, a server and a client of it, and a stranger."""
    directory = tmp_path_factory.mktemp("certificates")

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=directory, check=True, capture_output=True, timeout=60)

    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    for authority in ("ca", "stranger"):
        openssl(
            "req", "-x509", *curve, "-keyout", f"{authority}-key.pem", "-out", f"{authority}.pem", "-subj", f"/CN={authority}"
        )
    (directory / "names").write_text("subjectAltName=IP:127.0.0.1\n")
    for name in ("server", "client"):
        openssl("req", *curve, "-keyout", f"{name}-key.pem", "-out", f"{name}.csr", "-subj", f"/CN={name}")
        openssl(
            "x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca-key.pem", "-CAcreateserial",
            "-out", f"{name}.pem", "-extfile", "names",
        )  # fmt: skip
    return directory


class TlsEngine:
    """An engine that lists containers, and echoes what attach sends once that has ended."""

    def __init__(self, certificates: Path) -> None:
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(certificates / "server.pem", certificates / "server-key.pem")
        self.context.load_verify_locations(certificates / "ca.pem")
        self.context.verify_mode = ssl.CERT_REQUIRED
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.host = f"tcp://127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                raw, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(raw,), daemon=True).start()

    def _serve(self, raw: socket.socket) -> None:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = self.context.wrap_bio(incoming, outgoing, server_side=True)
        with raw:
            try:
                self._converse(raw, incoming, outgoing, tls)
            except (ssl.SSLError, OSError):
                if data := outgoing.read():
                    raw.sendall(data)

    def _converse(self, raw: socket.socket, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO, tls: ssl.SSLObject) -> None:
        def pump(step: object) -> bytes:
            """Repeats a step of the machine until it needs no more bytes; the end of the peer's stream is empty."""
            assert callable(step)
            while True:
                try:
                    result = step()
                except ssl.SSLWantReadError:
                    raw.sendall(outgoing.read())
                    data = raw.recv(65536)
                    if not data:
                        return b""
                    incoming.write(data)
                    continue
                except ssl.SSLZeroReturnError:
                    return b""
                raw.sendall(outgoing.read())
                return result or b""

        def send(data: bytes) -> None:
            tls.write(data)
            raw.sendall(outgoing.read())

        pump(tls.do_handshake)
        text = b""
        while b"\r\n\r\n" not in text:
            received = pump(lambda: tls.read(65536))
            if not received:
                return
            text += received
        path = text.split(b" ")[1].partition(b"?")[0].decode().removeprefix("/v1.50")
        if path == "/containers/json":
            import json

            body = json.dumps(CONTAINERS).encode()
            send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s" % (len(body), body))
        elif path.endswith("/exec"):
            send(b"HTTP/1.1 201 Created\r\nContent-Length: 13\r\nConnection: close\r\n\r\n" + b'{"Id":"eeee"}')
        elif path.endswith("/start"):
            send(b"HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n")
            typed = b""
            while data := pump(lambda: tls.read(65536)):
                typed += data
            send(frame(1, b"%d %s" % (len(typed), typed[-5:])))
        else:
            send(b'HTTP/1.1 200 OK\r\nContent-Length: 14\r\nConnection: close\r\n\r\n{"ExitCode":6}')


@pytest.fixture
def engine(certificates: Path) -> Iterator[TlsEngine]:
    """The engine, listening."""
    tls = TlsEngine(certificates)
    yield tls
    tls.listener.close()


def flags(certificates: Path, ca: str = "ca.pem", client: str = "client") -> list[str]:
    names = (("--tlscacert", ca), ("--tlscert", f"{client}.pem"), ("--tlskey", f"{client}-key.pem"))
    return ["--tlsverify", *(word for flag, name in names for word in (flag, str(certificates / name)))]


def test_mutual_tls(engine: TlsEngine, certificates: Path) -> None:
    """Both certificates are of one authority: the list is printed."""
    done = run_docket("-H", engine.host, *flags(certificates), "ps", "-q")
    assert (done.returncode, done.stdout) == (0, f"{ID[:12]}\n{'b' * 12}\n"), done.stderr


def test_an_engine_of_another_authority_is_refused(engine: TlsEngine, certificates: Path) -> None:
    """The client sends nothing to an engine that cannot prove itself."""
    done = run_docket("-H", engine.host, *flags(certificates, ca="stranger.pem"), "ps")
    assert done.returncode == 1
    assert done.stderr.startswith("cannot speak TLS with the docket daemon at 127.0.0.1: ")
    assert len(done.stderr.splitlines()) == 1


def test_a_client_without_certificate_is_told_so(engine: TlsEngine, certificates: Path) -> None:
    """With TLS 1.3 the refusal comes with the first answer; it is one line all the same."""
    done = run_docket("-H", engine.host, "--tlsverify", "--tlscacert", str(certificates / "ca.pem"), "ps", HOME="/nonexistent")
    assert done.returncode == 1
    assert "TLS" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_input_ends_while_output_goes_on(engine: TlsEngine, certificates: Path) -> None:
    """The end of standard input is TLS's close_notify; the answer to it is still read."""
    done = run_docket("-H", engine.host, *flags(certificates), "exec", "-i", "web", "wc", stdin="x" * 199_995 + "fives")
    assert done.returncode == 6, done.stderr
    assert done.stdout == "200000 fives"


def test_files_that_are_missing(certificates: Path) -> None:
    """A wrong name of a file is told before anything is connected to it."""
    done = run_docket("-H", "tcp://127.0.0.1:1", "--tlsverify", "ps", HOME="/nonexistent")
    assert done.returncode == 1
    assert done.stderr.startswith("--tlsverify needs the authority's certificate")
