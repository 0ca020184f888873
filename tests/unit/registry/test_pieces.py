"""The pure parts of the registry client: addresses, challenges, endpoints, proxies, errors."""

from __future__ import annotations

import subprocess
import sys

import pytest

from docket.adapters.registry.addresses import Gate, Reach, Trusted, is_loopback_name, reach_of
from docket.adapters.registry.authorization import may_know
from docket.adapters.registry.challenge import Challenge, parse_challenges
from docket.adapters.registry.endpoints import domain_of, endpoints_for
from docket.adapters.registry.failures import failure_of
from docket.adapters.registry.proxies import proxies_of
from docket.adapters.registry.urls import parse_url
from docket.domain.registry import Credentials, RegistryError


@pytest.mark.parametrize(
    ("address", "reach"),
    [
        ("8.8.8.8", Reach.PUBLIC), ("2606:4700::1", Reach.PUBLIC), ("10.0.0.1", Reach.PRIVATE), ("192.168.1.1", Reach.PRIVATE),
        ("100.64.0.1", Reach.PRIVATE), ("fd00::1", Reach.PRIVATE), ("127.0.0.1", Reach.LOOPBACK), ("::1", Reach.LOOPBACK),
        ("::ffff:127.0.0.1", Reach.LOOPBACK), ("64:ff9b::7f00:1", Reach.LOOPBACK), ("2002:7f00:1::", Reach.LOOPBACK),
        ("169.254.169.254", Reach.FORBIDDEN), ("::ffff:169.254.169.254", Reach.FORBIDDEN), ("fe80::1%eth0", Reach.FORBIDDEN),
        ("0.0.0.0", Reach.FORBIDDEN), ("::", Reach.FORBIDDEN), ("224.0.0.1", Reach.FORBIDDEN),
    ],
)  # fmt: skip
def test_s28_how_far_inside(address: str, reach: Reach) -> None:
    """An IPv4 address counts as what it is, however it is written."""
    assert reach_of(address) is reach


@pytest.mark.parametrize(
    ("registry", "target", "allowed"),
    [
        ("8.8.8.8", "1.1.1.1", True), ("8.8.8.8", "10.0.0.1", False), ("8.8.8.8", "127.0.0.1", False),
        ("10.0.0.1", "1.1.1.1", True), ("10.0.0.1", "10.0.0.2", True), ("10.0.0.1", "127.0.0.1", False),
        ("127.0.0.1", "127.0.0.2", True), ("127.0.0.1", "169.254.169.254", False), ("10.0.0.1", "169.254.169.254", False),
    ],
)  # fmt: skip
def test_s28_a_registry_points_no_further_inside_than_itself(registry: str, target: str, allowed: bool) -> None:
    """Unless the operator named the target."""
    gate = Gate(Trusted([]))
    gate.check("registry.example", 443, registry, derived=False)
    if allowed:
        gate.check("target.example", 443, target, derived=True)
        return
    with pytest.raises(RegistryError):
        gate.check("target.example", 443, target, derived=True)
    gate = Gate(Trusted(["target.example:443"]))
    gate.check("registry.example", 443, registry, derived=False)
    gate.check("target.example", 443, target, derived=True)


@pytest.mark.parametrize(
    "text",
    ["file:///etc/passwd", "unix:///run/x", "gopher://x/", "http://user:pw@x/", "http://x:70000/", "http:///x", "http://a b/", "",
     "http://127.1/", "http://0x7f000001/", "http://0177.0.0.1/", "http://2130706433/", "http://[::1%25eth0]/", "http://x\\y/",
     "http://exa\u212ample/", "http://a..b/", "http://-a/", "//x/y", "http://x/\r\nHost: y"],
)  # fmt: skip
def test_s28_addresses_with_two_readings(text: str) -> None:
    """What programs read differently is refused by all of them here."""
    with pytest.raises(RegistryError):
        parse_url(text)


def test_an_address_is_read_as_it_is_written() -> None:
    """Relative ones too; what is shown to people has no query, where signatures stand."""
    url = parse_url("https://Registry.Example:443/v2/x?sig=secret")
    assert (url.scheme, url.host, url.port, url.target) == ("https", "registry.example", 443, "/v2/x?sig=secret")
    assert url.shown == "https://registry.example/v2/x"
    assert str(parse_url("../y?z", url)) == "https://registry.example/y?z"
    assert parse_url("http://[::1]:5000/").authority == "[::1]:5000"


def test_challenges_are_read() -> None:
    """Several in one header, quoted or not."""
    bearer = 'Bearer realm="https://auth.example/token?a=b",service="x, y",scope="repository:a/b:pull,push"'
    header = f"Negotiate, {bearer}, Basic realm=q"
    assert parse_challenges(header) == [
        Challenge("negotiate"),
        Challenge(
            "bearer", {"realm": "https://auth.example/token?a=b", "service": "x, y", "scope": "repository:a/b:pull,push"}
        ),
        Challenge("basic", {"realm": "q"}),
    ]
    assert parse_challenges("Bearer") == [Challenge("bearer")]
    assert parse_challenges("=,=\x00") == []
    assert parse_challenges("a" * 10_000) == []


@pytest.mark.parametrize(
    ("realm", "registry", "known"),
    [
        ("https://auth.docker.io/token", "https://registry-1.docker.io/", True),
        ("https://gitlab.example.com/jwt/auth", "https://registry.example.com/", True),
        ("https://registry.example:5001/auth", "https://registry.example:5000/", True),
        ("http://127.0.0.1:5001/auth", "http://127.0.0.1:5000/", True),
        ("http://registry.example/auth", "https://registry.example/", False),
        ("http://auth.docker.io/token", "https://registry-1.docker.io/", False),
        ("https://evil.example/token", "https://registry.docker.io/", False),
        ("https://docker.io.evil.example/token", "https://registry-1.docker.io/", False),
        ("https://evil.co.uk/token", "https://registry.co.uk/", False),
        ("https://127.0.0.2/token", "https://127.0.0.1/", False),
        ("https://10.1.2.3/token", "https://10.9.2.3/", False),
    ],
)
def test_s27_which_token_service_may_know_the_credentials(realm: str, registry: str, known: bool) -> None:
    """The registry's own: the same host, or the same domain with TLS."""
    assert may_know(parse_url(realm), parse_url(registry)) is known


def test_credentials_are_not_shown() -> None:
    """However they get into a message."""
    credentials = Credentials(username="me", password="secret", identity_token="token")
    assert "secret" not in f"{credentials} {credentials!r}"


def test_endpoints_are_dockers() -> None:
    """Docker Hub has another host and may have mirrors; insecure registries are tried with TLS first."""

    def shown(domain: str, insecure: bool = False, mirrors: tuple[str, ...] = ()) -> list[tuple[str, bool]]:
        return [(str(each.url), each.verify) for each in endpoints_for(domain, insecure=insecure, mirrors=mirrors)]

    assert shown("docker.io") == [("https://registry-1.docker.io/", True)]
    assert shown("docker.io", mirrors=("https://mirror.example/",)) == [
        ("https://mirror.example/", True), ("https://registry-1.docker.io/", True),
    ]  # fmt: skip
    assert shown("quay.io", mirrors=("https://mirror.example/",)) == [("https://quay.io/", True)]
    assert shown("localhost:5000", insecure=True) == [("https://localhost:5000/", False), ("http://localhost:5000/", False)]
    assert shown("localhost", insecure=True) == [("https://localhost/", False), ("http://localhost/", False)]


@pytest.mark.parametrize(
    ("address", "domain"),
    [("", "docker.io"), ("https://index.docker.io/v1/", "docker.io"), ("docker.io", "docker.io"), ("Quay.io", "quay.io"),
     ("https://host:5000/v2/", "host:5000")],
)  # fmt: skip
def test_what_a_logins_address_means(address: str, domain: str) -> None:
    """As clients write it."""
    assert domain_of(address) == domain


@pytest.mark.parametrize(
    ("host", "loopback"),
    [("localhost", True), ("a.localhost", True), ("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("localhost.evil", False),
     ("127.0.0.1.nip.io", False), ("10.0.0.1", False)],
)  # fmt: skip
def test_which_host_is_this_machine(host: str, loopback: bool) -> None:
    """By its name alone: what a name resolves to is somebody else's to say."""
    assert is_loopback_name(host) is loopback


def test_proxies_are_chosen_as_by_everybody() -> None:
    """Names in lower case win; exclusions are names, suffixes, ports and networks; loopback goes direct."""
    proxies = proxies_of(
        {"HTTPS_PROXY": "proxy.example:3128", "http_proxy": "http://plain.example", "HTTP_PROXY": "http://loses.example",
         "NO_PROXY": "corp.example, .inner.example,10.0.0.0/8,port.example:5000"}
    )  # fmt: skip
    chosen = {
        text: proxies.for_url(parse_url(text))
        for text in (
            "https://quay.io/", "http://quay.io/", "https://corp.example/", "https://a.corp.example/", "https://inner.example/",
            "https://a.inner.example/", "https://10.1.1.1/", "https://port.example:5000/", "https://port.example/",
            "https://localhost/",
        )
    }  # fmt: skip
    https = "http://proxy.example:3128"
    assert list(chosen.values()) == [https, "http://plain.example", "", "", https, "", "", "", https, ""]
    assert proxies_of({"HTTPS_PROXY": "http://p", "NO_PROXY": "*"}).for_url(parse_url("https://quay.io/")) == ""


@pytest.mark.parametrize(
    ("status", "body", "text", "kind"),
    [
        (404, b'{"errors":[{"code":"MANIFEST_UNKNOWN","message":"unknown"}]}', "manifest unknown: unknown", "not found"),
        (401, b"", "unauthorized: authentication required", "unauthorized"),
        (401, b'{"details":"incorrect username or password"}', "unauthorized: incorrect username or password", "unauthorized"),
        (403, b'{"errors":[{"code":"DENIED","message":"no"}]}', "denied: no", "denied"),
        (500, b"<html>", "received unexpected HTTP status: 500 Internal Server Error", "failed"),
        (400, b'{"errors":[{"code":"A","message":"\\u001b[31mred\\n"},{"code":"B"}]}', "errors:\na: [31mred\nb\n", "failed"),
        (400, b"[" * 60_000, "received unexpected HTTP status: 400 Bad Request", "failed"),
        (400, b'{"errors":[1,null]}', "received unexpected HTTP status: 400 Bad Request", "failed"),
    ],
)  # fmt: skip
def test_errors_are_told_as_docker_tells_them(status: int, body: bytes, text: str, kind: str) -> None:
    """In one line for each, without control characters."""
    error = failure_of(status, body)
    assert (str(error), error.kind) == (text, kind)


def test_http_is_imported_at_the_first_use() -> None:
    """An engine that pulls nothing does not pay for it."""
    program = "import docket.cli.bootstrap, sys; sys.exit('httpcore2' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False, timeout=60).returncode == 0
