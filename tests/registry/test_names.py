"""Names and what they resolve to: TLS, plain http, and addresses that must not be reached (S28)."""

from __future__ import annotations

import socket
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trio
from tests.registry.conftest import HASTY
from tests.registry.faulty import FaultyRegistry, digest_of, on
from tests.registry.test_client import LAYER, described

from docket.adapters.registry.port import Registries
from docket.domain.model.engine.settings import EngineSettings
from docket.domain.oci.reference import parse_reference
from docket.domain.registry import NOBODY, Credentials, RegistryError

SETTINGS = EngineSettings()


class Names:
    """A resolver that knows what it is told. Each name's answers are given in turn, the last one for ever."""

    def __init__(self) -> None:
        self.answers: dict[str, list[str]] = {}

    async def getaddrinfo(self, host: Any, port: Any, family: int = 0, type: int = 0, proto: int = 0, flags: int = 0) -> Any:
        name = host.decode() if isinstance(host, bytes) else host
        known = self.answers.get(name)
        if not known:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        address = known.pop(0) if len(known) > 1 else known[0]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, int(port)))]

    async def getnameinfo(self, sockaddr: Any, flags: int) -> Any:
        raise NotImplementedError


@pytest.fixture
async def names() -> Names:
    found = Names()
    trio.socket.set_custom_hostname_resolver(found)  # type: ignore[arg-type]
    return found


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate of its own for registry.example."""
    folder = tmp_path_factory.mktemp("certificates")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "key.pem",
         "-out", "cert.pem", "-subj", "/CN=registry.example", "-addext", "subjectAltName=DNS:registry.example"],
        cwd=folder, check=True, capture_output=True,
    )  # fmt: skip
    return folder


@pytest.fixture
def secure(registry: FaultyRegistry, certificates: Path) -> Iterator[FaultyRegistry]:
    """A registry with TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates / "cert.pem", certificates / "key.pem")
    registry._server.socket = context.wrap_socket(registry._server.socket, server_side=True)
    registry.add_raw_manifest("1", b"{}")
    yield registry


async def ask(
    registries: Registries, name: str, settings: EngineSettings = SETTINGS, credentials: Credentials = NOBODY
) -> bytes:
    async with registries.open(parse_reference(name), credentials, settings) as repository:
        return (await repository.manifest("1")).data


def trusting(tmp_path: Path, host: str, certificate: Path) -> Registries:
    """Registries that trust one more authority for one host."""
    folder = tmp_path / "certs.d" / host
    folder.mkdir(parents=True)
    (folder / "ca.crt").write_bytes(certificate.read_bytes())
    return Registries({}, str(tmp_path / "certs.d"), HASTY)


async def test_a_certificate_must_be_right(
    names: Names, registries: Registries, secure: FaultyRegistry, certificates: Path, tmp_path: Path
) -> None:
    """One of an unknown authority is refused, unless it is in certs.d for this very host or the registry is insecure."""
    names.answers["registry.example"] = ["127.0.0.1"]
    host = f"registry.example:{secure.port}"
    with pytest.raises(RegistryError, match="tls: failed to verify certificate: x509"):
        await ask(registries, f"{host}/app")
    assert secure.requests == []
    assert await ask(registries, f"{host}/app", EngineSettings(insecure_registries=(host,))) == b"{}"
    assert await ask(trusting(tmp_path, host, certificates / "cert.pem"), f"{host}/app") == b"{}"


async def test_a_certificate_is_for_its_name(names: Names, secure: FaultyRegistry, certificates: Path, tmp_path: Path) -> None:
    """Another name that leads to the same place is refused."""
    names.answers["other.example"] = ["127.0.0.1"]
    host = f"other.example:{secure.port}"
    with pytest.raises(RegistryError, match="tls: failed to verify certificate"):
        await ask(trusting(tmp_path, host, certificates / "cert.pem"), f"{host}/app")


async def test_plain_http_is_for_insecure_registries(names: Names, registries: Registries, registry: FaultyRegistry) -> None:
    """A name is spoken to with TLS, whatever it resolves to; naming it, or its network, makes the exception."""
    registry.add_raw_manifest("1", b"{}")
    names.answers["registry.example"] = ["127.0.0.1"]
    host = f"registry.example:{registry.port}"
    with pytest.raises(RegistryError, match="server gave HTTP response to HTTPS client"):
        await ask(registries, f"{host}/app")
    for named in (host, "registry.example", "127.0.0.0/8"):
        assert await ask(registries, f"{host}/app", EngineSettings(insecure_registries=(named,))) == b"{}"


async def test_a_loopback_registry_with_tls(registries: Registries, secure: FaultyRegistry) -> None:
    """On this very machine any certificate will do, as with Docker."""
    assert await ask(registries, f"{secure.host}/app") == b"{}"


async def test_s28_nobody_is_at_a_link_local_address(names: Names, registries: Registries) -> None:
    """Where clouds keep their metadata, whatever the name."""
    names.answers["registry.example"] = ["169.254.169.254"]
    for name in ("registry.example/app", "169.254.169.254/app"):
        if name.startswith("169"):
            names.answers["169.254.169.254"] = ["169.254.169.254"]
        with pytest.raises(RegistryError, match="is refused: no registry is there"):
            await ask(registries, name)


async def test_s28_a_name_whose_answer_changes(
    names: Names, secure: FaultyRegistry, certificates: Path, tmp_path: Path
) -> None:
    """The registry redirects to a name that is public when it is looked at, and this machine when it is connected to."""
    host = f"registry.example:{secure.port}"
    names.answers |= {"registry.example": ["127.0.0.1"], "blobs.example": ["127.0.0.1"], "inside.example": ["10.1.2.3"]}
    registries = trusting(tmp_path, host, certificates / "cert.pem")
    secure.add_blob(LAYER)

    async def blob(location: str) -> None:
        secure.faults[:] = [on("GET .*/blobs/", lambda request: request.reply(302, b"", {"Location": location}))]
        async with registries.open(parse_reference(f"{host}/app"), NOBODY, SETTINGS) as repository:
            await repository.manifest("1")
            # From now on the registry is known by its outermost address: as if it had first lied about itself.
            repository._client._gate.check("registry.example", secure.port, "8.8.8.8", derived=False)
            async for _ in repository.blob(described(LAYER)):
                pass

    for name in ("blobs.example", "inside.example"):
        with pytest.raises(RegistryError, match="points to a machine that lies further inside"):
            await blob(f"https://{name}:{secure.port}/v2/app/blobs/{digest_of(LAYER)}")


async def test_an_unknown_name_is_told(names: Names, registries: Registries) -> None:
    """In Go's words."""
    with pytest.raises(
        RegistryError, match=r'Get "https://nosuch\.example/v2/app/manifests/1": dial tcp: lookup nosuch\.example'
    ):
        await ask(registries, "nosuch.example/app")
