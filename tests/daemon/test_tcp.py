"""tcp:// of a real daemon: mutual TLS says who is who, and nothing less is served unless asked for (S44)."""

from __future__ import annotations

import http.client
import json
import shutil
import ssl
import subprocess
from pathlib import Path
from typing import Any

import pytest
from docket_program import run_docket

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl to make certificates: it is not installed"),
]

Start = Any


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An authority with a server and a client, and a stranger who signed his own client."""
    directory = tmp_path_factory.mktemp("certificates")

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=directory, check=True, capture_output=True, timeout=60)

    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    (directory / "names").write_text("subjectAltName=IP:127.0.0.1\n")
    for authority, names in (("ca", ("server", "client")), ("stranger", ("intruder",))):
        openssl(
            "req", "-x509", *curve, "-keyout", f"{authority}-key.pem", "-out", f"{authority}.pem", "-subj", f"/CN={authority}"
        )
        for name in names:
            openssl("req", *curve, "-keyout", f"{name}-key.pem", "-out", f"{name}.csr", "-subj", f"/O=ops/CN={name}")
            openssl(
                "x509", "-req", "-in", f"{name}.csr", "-CA", f"{authority}.pem", "-CAkey", f"{authority}-key.pem",
                "-CAcreateserial", "-out", f"{name}.pem", "-extfile", "names",
            )  # fmt: skip
    return directory


def server_flags(certificates: Path, ca: str = "ca.pem") -> list[str]:
    names = (("--tlscacert", ca), ("--tlscert", "server.pem"), ("--tlskey", "server-key.pem"))
    return [word for flag, name in names for word in (flag, str(certificates / name))]


def client(
    certificates: Path, address: str, *arguments: str, name: str = "client", stdin: str = ""
) -> subprocess.CompletedProcess[str]:
    names = (("--tlscacert", "ca.pem"), ("--tlscert", f"{name}.pem"), ("--tlskey", f"{name}-key.pem"))
    flags = [word for flag, file in names for word in (flag, str(certificates / file))]
    return run_docket("-H", address, "--tlsverify", *flags, *arguments, stdin=stdin)


def address_of(daemon: Any) -> str:
    line: str = daemon.wait_for("API listen on tcp://")
    return "tcp://" + line.partition("tcp://")[2].rstrip('"')


def test_mutual_tls_end_to_end(start: Start, certificates: Path) -> None:
    """A client of the authority runs a container, streams included, and is the actor by its certificate's subject (S56)."""
    daemon = start("-H", "tcp://127.0.0.1:0", "--tlsverify", *server_flags(certificates)).ready()
    address = address_of(daemon)
    done = client(certificates, address, "run", "--rm", "docket/base", "sh", "-c", "echo out; echo err >&2; exit 3")
    assert (done.stdout, done.stderr, done.returncode) == ("out\n", "err\n", 3)
    typed = client(certificates, address, "run", "-i", "--rm", "docket/base", "wc", "-c", stdin="x" * 200_000)
    assert (typed.stdout.strip(), typed.stderr) == ("200000", "")
    client(certificates, address, "run", "-d", "--name", "web", "docket/base", "sleep", "100")
    assert client(certificates, address, "exec", "web", "echo", "inside").stdout == "inside\n"
    assert client(certificates, address, "exec", "web", "nosuch").returncode == 127
    failed = client(certificates, address, "run", "--rm", "docket/base", "nosuch")
    assert failed.returncode == 127
    log = [json.loads(line) for line in client(certificates, address, "log", "--json").stdout.splitlines()]
    assert "tls subject=O=ops,CN=client" in {entry["actor"] for entry in log}
    assert not [each for each in daemon.get("/info")["Warnings"] if "API is accessible" in each]


def test_who_is_not_known_is_not_served(start: Start, certificates: Path) -> None:
    """A stranger's certificate, none at all, and plain HTTP end in the handshake; the log says so and the daemon goes on."""
    daemon = start("-H", "tcp://127.0.0.1:0", "--tlsverify", *server_flags(certificates)).ready()
    address = address_of(daemon)
    assert client(certificates, address, "ps", name="intruder").returncode == 1
    daemon.wait_for('level=error msg="connection on tcp://127.0.0.1:')
    bare = run_docket("-H", address, "--tlsverify", "--tlscacert", str(certificates / "ca.pem"), "ps", HOME="/nonexistent")
    assert bare.returncode == 1
    assert run_docket("-H", address, "ps").returncode == 1
    assert client(certificates, address, "ps", "-q").returncode == 0


@pytest.mark.parametrize("tls", [False, True])
def test_s44_tcp_without_client_certificates_is_refused(start: Start, certificates: Path, tls: bool) -> None:
    """Plain, or with TLS that only encrypts: whoever connects would be root."""
    flags = ["--tls", *server_flags(certificates)] if tls else []
    status, text = start("-H", "tcp://127.0.0.1:0", *flags, hosts=False).ended()
    assert status == 1
    assert text.splitlines()[-1] == (
        "docket daemon: cannot listen on 'tcp://127.0.0.1:0' without client certificates: whoever connects would be root on this "
        "host; ask for certificates with --tlsverify, or allow it with --insecure-tcp"
    )


def test_s44_web_pages_do_not_reach_the_engine(start: Start) -> None:
    """Asked for, TCP is open; a browser that a page sends there, or a name that was rebound, is not served all the same."""
    daemon = start("-H", "tcp://127.0.0.1:0", "--insecure-tcp").ready()
    host, _, port = address_of(daemon).removeprefix("tcp://").rpartition(":")
    evil = ({"Origin": "http://evil.example"}, {"Host": "evil.example"}, {"Sec-Fetch-Site": "cross-site"})
    for headers, status in (({}, 200), *((header, 403) for header in evil)):
        connection = http.client.HTTPConnection(host, int(port), timeout=30)
        connection.request("GET", "/info", headers=headers)
        assert connection.getresponse().status == status
        connection.close()


def test_encryption_without_certificates_when_asked_for(start: Start, certificates: Path) -> None:
    """--tls with --insecure-tcp encrypts; nobody is asked who he is, and `info` warns of it."""
    daemon = start("-H", "tcp://127.0.0.1:0", "--tls", "--insecure-tcp", *server_flags(certificates)).ready()
    address = address_of(daemon)
    host, _, port = address.removeprefix("tcp://").rpartition(":")
    context = ssl.create_default_context(cafile=str(certificates / "ca.pem"))
    connection = http.client.HTTPSConnection(host, int(port), timeout=30, context=context)
    connection.request("GET", "/info")
    warnings = json.loads(connection.getresponse().read())["Warnings"]
    connection.close()
    assert any(f"API is accessible on {address} without client certificates" in each for each in warnings)


def test_tls_files_that_do_not_fit_are_named(start: Start, certificates: Path, tmp_path: Path) -> None:
    """A file that is missing, or a key of another certificate: one line that names the files."""
    status, text = start("-H", "tcp://127.0.0.1:0", "--tlsverify", *server_flags(certificates, ca="nosuch.pem")).ended()
    assert status == 1
    assert "cannot use the TLS files (ca '" in text.splitlines()[-1]
    # Files that are not named are looked for where the client has them.
    status, text = start("-H", "tcp://127.0.0.1:0", "--tlsverify").ended()
    assert status == 1
    assert f"ca '{tmp_path}/.docket/ca.pem'" in text.splitlines()[-1]


def test_s41_no_container_reaches_the_api(start: Start, certificates: Path) -> None:
    """Neither its sockets nor its port, whichever network the container has (CVE-2025-9074); with the host's network it is the
    certificate that keeps it out."""
    daemon = start("-H", "tcp://127.0.0.1:0", "--tlsverify", *server_flags(certificates)).ready()
    port = address_of(daemon).rpartition(":")[2]
    daemon.out("run", "-d", "--name", "peer", "docket/base", "sleep", "1000")
    request = "GET /v1.44/version HTTP/1.1\\r\\nHost: localhost\\r\\n\\r\\n"
    script = (
        f"ls {daemon.socket} {daemon.root}/exec /run/docket 2>/dev/null; grep -o '@.*docket.*' /proc/net/unix;"
        f" for at in 127.0.0.1 localhost ::1; do printf '{request}' | nc -w 2 $at {port} 2>/dev/null; done; echo end"
    )
    for network in ("none", "container:peer", "host"):
        seen = daemon.docket("run", "--rm", "--network", network, "docket/base", "sh", "-c", script)
        assert seen.returncode == 0, seen.stderr
        assert "HTTP/1.1 200" not in seen.stdout
        assert "ApiVersion" not in seen.stdout
        assert "/docket" not in seen.stdout.replace("end", "")
        assert "@" not in seen.stdout
    process = f"/proc/{daemon.process.pid}"
    look = f"ls {process}/root/ 2>/dev/null; cat {process}/environ 2>/dev/null; readlink {process}/fd/*; echo end"
    assert daemon.out("run", "--rm", "--pid", "host", "docket/base", "sh", "-c", look) == "end"
