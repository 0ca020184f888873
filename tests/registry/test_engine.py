"""The daemon with registries: Debian's, asked through both command lines, and the faulty one, asked through the API."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from http.client import HTTPException
from pathlib import Path
from typing import Any

import pytest
from docker_daemon import DAEMON, Daemon
from tests.registry.debian import HTPASSWD, DebianRegistry, needs_registry
from tests.registry.faulty import FaultyRegistry, Handler, digest_of, on, once
from tests.registry.tokens import TokenService

pytestmark = [pytest.mark.root, pytest.mark.long]


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    running = Daemon(tmp_path_factory.mktemp("docket"))
    running.out("run", "--rm", "docket/base", "true")
    yield running
    running.stop()


@pytest.fixture
def client(daemon: Daemon, tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs a command line with a configuration of its own: ``client("docker", "pull", …)``."""

    def run(program: str, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        words = ["docker"] if program == "docker" else [sys.executable, "-c", DAEMON]
        environment = {**os.environ, "DOCKER_HOST": daemon.host, "DOCKER_CONFIG": f"{tmp_path}/config"}
        return subprocess.run(
            [*words, *arguments], env=environment, input=stdin, text=True, capture_output=True, timeout=60, check=False
        )

    return run


@pytest.fixture(scope="module")
def debian(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., DebianRegistry]]:
    started: list[DebianRegistry] = []

    def start(auth: str = "", tls: tuple[Path, Path] | None = None) -> DebianRegistry:
        started.append(DebianRegistry(tmp_path_factory.mktemp("registry"), auth, tls))
        return started[-1]

    yield start
    for each in started:
        each.close()


@pytest.fixture
def registry() -> Iterator[FaultyRegistry]:
    running = FaultyRegistry()
    yield running
    running.close()


PROGRAMS = pytest.mark.parametrize("program", ["docker", "docket"])


@needs_registry
@PROGRAMS
def test_an_image_goes_there_and_back(daemon: Daemon, client: Any, debian: Any, program: str) -> None:
    """Pushed, removed, pulled and run; the digest is the same everywhere, and what is there is not sent again."""
    host = debian().host
    name = f"{host}/some/app:1"
    daemon.out("tag", "docket/base", name)
    pushed = client(program, "push", name)
    assert pushed.returncode == 0, pushed.stderr
    assert f"The push refers to repository [{host}/some/app]" in pushed.stdout
    digest = pushed.stdout.split("digest: ", 1)[1].split()[0]
    assert "Layer already exists" in client(program, "push", name).stdout
    daemon.out("rmi", name)
    pulled = client(program, "pull", name)
    assert pulled.returncode == 0, pulled.stderr
    assert f"Digest: {digest}\nStatus: Downloaded newer image for {name}\n" in pulled.stdout
    assert f"Status: Image is up to date for {name}" in client(program, "pull", name).stdout
    assert daemon.out("run", "--rm", f"{host}/some/app@{digest}", "echo", "hello") == "hello"
    daemon.out("rmi", "-f", name)
    by_digest = client(program, "pull", f"{host}/some/app@{digest}")
    assert by_digest.returncode == 0, by_digest.stderr
    assert f"Digest: {digest}" in by_digest.stdout
    assert client(program, "run", "--rm", name, "echo", "hello").stdout.endswith("hello\n")
    assert "some/app" in client(program, "search", f"{host}/app").stdout
    if shutil.which("skopeo"):
        told = subprocess.run(
            ["skopeo", "inspect", "--tls-verify=false", f"docker://{name}"],
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        assert json.loads(told.stdout)["Digest"] == digest
    daemon.out("rmi", "-f", name)


@needs_registry
@PROGRAMS
def test_a_registry_that_wants_a_password(daemon: Daemon, client: Any, debian: Any, tmp_path: Path, program: str) -> None:
    """Login, push, pull, logout. The password is in no file of the engine's."""
    (tmp_path / "htpasswd").write_text(HTPASSWD)
    host = debian(f"auth:\n  htpasswd:\n    realm: tests\n    path: {tmp_path}/htpasswd\n").host
    name = f"{host}/app:1"
    daemon.out("tag", "docket/base", name)
    refused = client(program, "pull", name)
    assert refused.returncode == 1
    assert "no basic auth credentials" in refused.stderr
    assert "no basic auth credentials" in client(program, "push", name).stderr
    wrong = client(program, "login", "-u", "me", "--password-stdin", host, stdin="wrong")
    assert wrong.returncode == 1
    assert "401 Unauthorized" in wrong.stderr
    told = client(program, "login", "-u", "me", "--password-stdin", host, stdin="secret\n")
    assert "Login Succeeded" in told.stdout, told.stderr
    assert client(program, "push", name).returncode == 0
    assert client(program, "pull", name).returncode == 0
    assert f"Removing login credentials for {host}" in client(program, "logout", host).stdout
    assert client(program, "pull", name).returncode == 1
    daemon.out("rmi", name)
    packed = b"bWU6c2VjcmV0"  # me:secret
    for file in (daemon.root / "data").glob("log.db*"):
        data = file.read_bytes()
        assert b"secret" not in data.replace(b"secrets", b"")
        assert packed not in data


@needs_registry
def test_a_registry_that_wants_tokens(daemon: Daemon, client: Any, debian: Any, tmp_path: Path) -> None:
    """The tokens are for exactly what is done; what everybody may have is pulled without a login."""
    service = TokenService(tmp_path / "issuer")
    try:
        host = debian(service.configuration).host
        for name in (f"{host}/public/app:1", f"{host}/private/app:1"):
            daemon.out("tag", "docket/base", name)
        assert client("docker", "push", f"{host}/public/app:1").returncode == 1
        refused = client("docker", "login", "-u", "me", "-p", "wrong", host)
        assert "unauthorized: incorrect username or password" in refused.stderr
        assert "Login Succeeded" in client("docker", "login", "-u", "me", "-p", "secret", host).stdout
        service.requests.clear()
        pushed = client("docker", "push", f"{host}/public/app:1")
        assert pushed.returncode == 0, pushed.stderr
        assert {("me", "repository:public/app:pull,push")} == {(name, *scopes) for name, scopes in service.requests}
        moved = client("docket", "push", f"{host}/private/app:1")
        assert "Mounted from public/app" in moved.stdout
        client("docker", "logout", host)
        assert client("docker", "pull", f"{host}/public/app:1").returncode == 0
        denied = client("docker", "pull", f"{host}/private/app:1")
        assert denied.returncode == 1
        assert "denied" in denied.stderr or "unauthorized" in denied.stderr
    finally:
        service.close()


@needs_registry
def test_a_registry_with_tls(daemon: Daemon, client: Any, debian: Any, tmp_path: Path) -> None:
    """On loopback any certificate will do; `tests/registry/test_names.py` has the others."""
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "key.pem",
         "-out", "cert.pem", "-subj", "/CN=tests"],
        cwd=tmp_path, check=True, capture_output=True,
    )  # fmt: skip
    host = debian(tls=(tmp_path / "cert.pem", tmp_path / "key.pem")).host
    daemon.out("tag", "docket/base", f"{host}/app:1")
    assert client("docker", "push", f"{host}/app:1").returncode == 0
    assert client("docker", "pull", f"{host}/app:1").returncode == 0


# The faulty registry.


def layer(name: str, content: bytes) -> tuple[bytes, str]:
    """A gzipped layer of one file, and its diff id."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        member = tarfile.TarInfo(name)
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    plain = buffer.getvalue()
    return gzip.compress(plain, 1, mtime=0), "sha256:" + hashlib.sha256(plain).hexdigest()


def add_image(registry: FaultyRegistry, tag: str, *contents: bytes) -> list[str]:
    """An image of as many layers; returns the digests of the blobs."""
    layers = [layer(f"file{number}", content) for number, content in enumerate(contents)]
    registry.add_image(tag, [blob for blob, _ in layers], [diff_id for _, diff_id in layers])
    return [digest_of(blob) for blob, _ in layers]


def pull(daemon: Daemon, registry: FaultyRegistry, tag: str, query: str = "") -> tuple[int, list[dict[str, Any]]]:
    """Status and messages of ``POST /images/create``."""
    connection = daemon_connection(daemon)
    connection.request("POST", f"/images/create?fromImage={registry.host}/app&tag={tag}{query}")
    answer = connection.getresponse()
    lines = [json.loads(line) for line in answer.read().splitlines() if line.strip()]
    connection.close()
    return answer.status, lines


def daemon_connection(daemon: Daemon) -> Any:
    from docker_daemon import _Connection

    return _Connection(f"{daemon.root}/docket.sock")


def raw(daemon: Daemon, path: str) -> bytes:
    connection = daemon_connection(daemon)
    connection.request("GET", path)
    data: bytes = connection.getresponse().read()
    connection.close()
    return data


def present(daemon: Daemon, registry: FaultyRegistry, tag: str) -> bool:
    return daemon.request("GET", f"/images/{registry.host}/app:{tag}/json")[0] == 200


def test_progress_is_told_layer_by_layer(daemon: Daemon, registry: FaultyRegistry) -> None:
    """Docker's messages, in Docker's order for each layer."""
    blobs = add_image(registry, "steps", os.urandom(600_000), os.urandom(10))
    status, told = pull(daemon, registry, "steps")
    assert status == 200
    assert told[0] == {"status": "Pulling from app", "id": "steps"}
    for blob in blobs:
        steps = [each["status"] for each in told if each.get("id") == blob[7:19]]
        assert list(dict.fromkeys(steps)) == [
            "Pulling fs layer", "Downloading", "Verifying Checksum", "Download complete", "Pull complete",
        ]  # fmt: skip
    moving = [each for each in told if each["status"] == "Downloading"]
    assert all(0 < each["progressDetail"]["current"] <= each["progressDetail"]["total"] for each in moving)
    assert all(each["progress"].startswith("[") for each in moving)
    assert [each["status"].split(":")[0] for each in told[-2:]] == ["Digest", "Status"]
    assert present(daemon, registry, "steps")


def corrupted(at: int) -> Callable[[Handler], None]:
    """Answers with another byte at one place."""

    def answer(request: Handler) -> None:
        data = bytearray(request.server.registry.blobs[request.path.rsplit("/", 1)[1]])
        data[at] ^= 1
        request.reply(200, bytes(data))

    return answer


@pytest.mark.parametrize(
    ("at", "reason"),
    [(4, "filesystem layer verification failed for digest"), (-1, "failed to register layer")],
    ids=["time", "end"],
)
def test_s26_a_layer_that_is_not_what_it_should_be(daemon: Daemon, registry: FaultyRegistry, at: int, reason: str) -> None:
    """Nothing of the image is seen, the failure is in the stream and in the log, and a good answer mends it."""
    good = os.urandom(1000)
    add_image(registry, "good", good)
    assert pull(daemon, registry, "good")[0] == 200
    first, second = add_image(registry, "bad", good, os.urandom(100_000))
    registry.faults.append(on(f"GET .*{second}", corrupted(at)))
    status, told = pull(daemon, registry, "bad")
    assert status == 200
    assert f"{reason} {second}" in told[-1]["error"]
    assert told[-1]["errorDetail"]["message"] == told[-1]["error"]
    assert not present(daemon, registry, "bad")
    registry.faults.clear()
    registry.requests.clear()
    status, told = pull(daemon, registry, "bad")
    assert "error" not in told[-1]
    assert {"status": "Already exists", "progressDetail": {}, "id": first[7:19]} in told
    assert not any(first in path for _, path, _ in registry.requests)


def test_a_failure_ends_the_other_layers(daemon: Daemon, registry: FaultyRegistry) -> None:
    """A layer that the registry does not have: one error, and the engine is as it was."""
    blobs = add_image(registry, "gone", *[os.urandom(200_000) for _ in range(5)])
    del registry.blobs[blobs[2]]
    _, told = pull(daemon, registry, "gone")
    assert told[-1]["error"] == "blob unknown: blob unknown to registry"
    assert not present(daemon, registry, "gone")


@pytest.mark.parametrize(
    ("tag", "query", "status", "text"),
    [
        ("nope", "", 404, "manifest for {host}/app:nope not found: manifest unknown: manifest unknown"),
        ("here", "&platform=linux/s390x", 404,
         "image with reference {host}/app:here was found but does not match the specified platform: "
         "wanted linux/s390x, actual: linux/amd64"),
        ("here", "&platform=a/b/c/d", 400, "'a/b/c/d': platform specifier component must match os[/architecture[/variant]]"),
        ("UP/case", "", 400, "invalid tag format"),
    ],
)  # fmt: skip
def test_errors_before_anything_was_fetched(
    daemon: Daemon, registry: FaultyRegistry, tag: str, query: str, status: int, text: str
) -> None:
    """They have a status of their own, which clients act on."""
    add_image(registry, "here", b"x")
    found, told = pull(daemon, registry, tag, query)
    assert (found, told[0]["message"]) == (status, text.format(host=registry.host))


def test_other_statuses(daemon: Daemon, registry: FaultyRegistry) -> None:
    """Who may not, and a registry that is not well."""
    registry.faults[:] = [on("manifests", lambda request: request.reply(403, registry.error("DENIED", "no")))]
    assert pull(daemon, registry, "x")[0] == 404
    registry.faults.clear()
    registry.wants = lambda request: False
    status, told = pull(daemon, registry, "x")
    assert (status, told[0]["message"]) == (
        500, f'Get "http://{registry.host}/v2/app/manifests/x": no basic auth credentials'
    )  # fmt: skip
    status, answer = daemon.request("POST", "/auth", {"username": "a", "password": "b", "serveraddress": registry.host})
    assert (status, answer["message"]) == (
        401,
        f"login attempt to http://{registry.host}/v2/ failed with status: 401 Unauthorized",
    )


def test_the_pull_of_an_engine_that_is_killed(tmp_path: Path, registry: FaultyRegistry) -> None:
    """Half-way there is nothing of the image; the next engine says that the pull failed, and its pull goes on where it was."""
    (digest,) = add_image(registry, "cut", os.urandom(8_000_000))
    blob = registry.blobs[digest]
    half, release = threading.Event(), threading.Event()

    def stall(request: Handler) -> None:
        request.send_response(200)
        request.send_header("Content-Length", str(len(blob)))
        request.end_headers()
        request.wfile.write(blob[: len(blob) // 2])
        request.wfile.flush()
        half.set()
        release.wait(30)
        request.close_connection = True

    registry.faults.append(once(on(f"GET .*{digest}", stall)))
    daemon = Daemon(tmp_path / "root")
    partial = daemon.root / "data" / "content" / "ingest" / f"partial-{digest[7:]}"
    try:
        client = threading.Thread(target=lambda: _ignored(daemon, registry))
        client.start()
        assert half.wait(30)
        while not partial.exists() or partial.stat().st_size < 1_000_000:
            assert client.is_alive()
            time.sleep(0.01)
        daemon.stop(signal.SIGKILL)
        release.set()
        client.join(30)
        daemon.start()
        assert not present(daemon, registry, "cut")
        assert b"the engine ended before the transfer did" in raw(daemon, "/docket/log")
        registry.requests.clear()
        _, told = pull(daemon, registry, "cut")
        assert "error" not in told[-1]
        assert present(daemon, registry, "cut")
        (resumed,) = registry.heads("range")
        assert int(resumed.removeprefix("bytes=").split("-")[0]) >= 1_000_000
    finally:
        daemon.stop()


def _ignored(daemon: Daemon, registry: FaultyRegistry) -> None:
    try:
        pull(daemon, registry, "cut")
    except (OSError, ValueError, HTTPException):
        return


def test_s31_labels_of_an_image_steer_nothing(daemon: Daemon, registry: FaultyRegistry) -> None:
    """Whatever they are called, they are data."""
    blob, diff_id = layer("x", b"x")
    labels = {"io.docket.privileged": "true", "com.docker.volumes": "/:/host", "devices": "/dev/sda"}
    registry.add_image("labels", [blob], [diff_id], config={"Cmd": ["true"], "Labels": labels, "Mounts": [{"Source": "/"}]})
    assert pull(daemon, registry, "labels")[0] == 200
    status, made = daemon.request("POST", "/containers/create", {"Image": f"{registry.host}/app:labels"})
    assert status == 201
    _, told = daemon.request("GET", f"/containers/{made['Id']}/json")
    assert told["Mounts"] == []
    assert told["HostConfig"]["Privileged"] is False
    assert told["HostConfig"]["Devices"] in ([], None)
    assert told["Config"]["Labels"] == labels
    daemon.out("rm", made["Id"])


def test_a_mirror_that_fails_is_left_in_the_middle_of_a_pull(tmp_path: Path) -> None:
    """Of two layers one comes from the first mirror and one in two halves; the image is whole, and the failure is no event."""
    first, second = FaultyRegistry(), FaultyRegistry()
    daemon = Daemon(tmp_path, options=("--registry-mirror", first.url, "--registry-mirror", second.url))
    try:
        content = os.urandom(400_000)
        for each in (first, second):
            _, large = add_image(each, "1", b"small", content)
        left = [1]

        def cut(request: Handler) -> None:
            """Half of the layer once, and then nothing any more."""
            data = first.blobs[large]
            if not left[0]:
                request.reply(404)
                return
            left[0] = 0
            request.send_response(200)
            request.send_header("Content-Length", str(len(data)))
            request.end_headers()
            request.wfile.write(data[: len(data) // 2])
            request.close_connection = True

        first.faults.append(on(f"GET .*{large}", cut))
        daemon.out("pull", "-q", "some/app:1")
        assert daemon.request("GET", "/images/some/app:1/json")[0] == 200
        ranges = [(path, headers["range"]) for _, path, headers in second.requests if "range" in headers]
        (resumed,) = [begin for path, begin in ranges if path.endswith(large)]
        assert int(resumed.removeprefix("bytes=").split("-")[0]) > 0
        events = [json.loads(line)["type"] for line in raw(daemon, "/docket/log").splitlines()]
        assert events.count("LayerFetched") == 2
        assert "ImagePullFailed" not in events
    finally:
        daemon.stop()
        first.close()
        second.close()
