"""The client against a registry that does things wrong."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable

import pytest
import trio
from tests.registry.faulty import FaultyRegistry, Handler, basic_auth, digest_of, on, once

from docket.adapters.registry.port import Registries
from docket.domain.model.engine.settings import EngineSettings
from docket.domain.oci.descriptor import Descriptor
from docket.domain.oci.digest import parse_digest
from docket.domain.oci.reference import parse_reference
from docket.domain.registry import NOBODY, Credentials, RegistryError

SOMEBODY = Credentials(username="me", password="secret")
SETTINGS = EngineSettings()
LAYER = os.urandom(300_000)
SIZE = len(LAYER)


def described(data: bytes) -> Descriptor:
    return Descriptor("application/octet-stream", parse_digest(digest_of(data)), len(data))


async def fetch(registries: Registries, registry: FaultyRegistry, data: bytes = LAYER, offset: int = 0,
                credentials: Credentials = NOBODY) -> bytes:  # fmt: skip
    reference = parse_reference(f"{registry.host}/some/app:1")
    async with registries.open(reference, credentials, SETTINGS) as repository:
        return b"".join([chunk async for chunk in repository.blob(described(data), offset)])


async def manifest(registries: Registries, registry: FaultyRegistry, tag: str = "1", credentials: Credentials = NOBODY,
                   settings: EngineSettings = SETTINGS) -> bytes:  # fmt: skip
    async with registries.open(parse_reference(f"{registry.host}/some/app:1"), credentials, settings) as repository:
        return (await repository.manifest(tag)).data


def part(length: int, end: Callable[[Handler], None]) -> Callable[[Handler], None]:
    """Answers with the beginning of what is asked for, and ends in some way."""

    def answer(request: Handler) -> None:
        data = request.server.registry.blobs[digest_of(LAYER)]
        begin = int(request.headers.get("Range", "bytes=0-").removeprefix("bytes=").split("-")[0])
        request.send_response(206 if begin else 200)
        request.send_header("Content-Length", str(len(data) - begin))
        if begin:
            request.send_header("Content-Range", f"bytes {begin}-{len(data) - 1}/{len(data)}")
        request.end_headers()
        request.wfile.write(data[begin : begin + length])
        end(request)

    return answer


def shut(request: Handler) -> None:
    request.close_connection = True


async def test_a_blob_comes_whole(registries: Registries, registry: FaultyRegistry) -> None:
    """The bytes are those of the registry, from any offset on."""
    registry.add_blob(LAYER)
    assert await fetch(registries, registry) == LAYER
    assert await fetch(registries, registry, offset=1000) == LAYER[1000:]


@pytest.mark.parametrize("end", [shut, Handler.reset], ids=["truncated", "reset"])
async def test_a_cut_download_goes_on_where_it_was(
    registries: Registries, registry: FaultyRegistry, end: Callable[[Handler], None]
) -> None:
    """At 99 %, and again later: only the rest is asked for."""
    registry.add_blob(LAYER)
    registry.faults.append(once(on("GET .*/blobs/", part(SIZE * 99 // 100, end))))
    assert await fetch(registries, registry) == LAYER
    ranges = registry.heads("range")
    assert len(ranges) == 1
    assert int(ranges[0].removeprefix("bytes=").split("-")[0]) > 0


async def test_a_registry_without_ranges_is_read_from_the_start(registries: Registries, registry: FaultyRegistry) -> None:
    """What is known already is skipped."""
    registry.add_blob(LAYER)
    registry.ranges = False
    registry.faults.append(once(on("GET .*/blobs/", part(200_000, Handler.reset))))
    assert await fetch(registries, registry) == LAYER


async def test_a_download_that_is_always_cut_ends(registries: Registries, registry: FaultyRegistry) -> None:
    """After some tries without progress there is one clear error."""
    registry.add_blob(LAYER)
    registry.faults.append(on("GET .*/blobs/", part(10, Handler.reset)))
    with pytest.raises(RegistryError, match="the connection ended before the answer was whole"):
        await fetch(registries, registry)


async def test_a_slow_drip_does_not_hold_the_pull(registries: Registries, registry: FaultyRegistry) -> None:
    """A byte now and then is as good as none."""
    registry.add_blob(LAYER)
    stop = trio.Event()

    def drip(request: Handler) -> None:
        import time

        for _ in range(100):
            if stop.is_set():
                return
            request.wfile.write(b"x")
            request.wfile.flush()
            time.sleep(0.05)

    registry.faults.append(on("GET .*/blobs/", part(1, drip)))
    with pytest.raises(RegistryError, match=r"only .* bytes came|ended before"):
        await fetch(registries, registry)
    stop.set()


@pytest.mark.parametrize("status", [429, 500, 502, 503])
async def test_what_may_pass_is_asked_again(registries: Registries, registry: FaultyRegistry, status: int) -> None:
    """Too many requests and a registry in trouble: after a pause all is well."""
    registry.add_blob(LAYER)
    registry.add_raw_manifest("1", b"{}")
    registry.faults.append(once(on("GET .*/(blobs|manifests)/", lambda request: request.reply(status)), 2))
    assert await manifest(registries, registry) == b"{}"
    assert await fetch(registries, registry) == LAYER


async def test_trouble_that_stays_is_told(registries: Registries, registry: FaultyRegistry) -> None:
    """With the status that the registry gave, after as many tries as there are."""
    registry.faults.append(on("GET .*/manifests/", lambda request: request.reply(503)))
    with pytest.raises(RegistryError, match="received unexpected HTTP status: 503 Service Unavailable"):
        await manifest(registries, registry)
    assert len([path for _, path, _ in registry.requests if "manifests" in path]) == 3


async def test_s26_no_more_than_the_size_is_read(registries: Registries, registry: FaultyRegistry) -> None:
    """A blob that says it is longer, and one that does not say so, are refused; what was passed on is never too much."""
    registry.blobs[digest_of(LAYER)] = LAYER + b"more"
    with pytest.raises(RegistryError, match=f"has {SIZE + 4} bytes instead of {SIZE}"):
        await fetch(registries, registry)

    def endless(request: Handler) -> None:
        request.send_response(200)
        request.send_header("Connection", "close")
        request.end_headers()
        request.close_connection = True
        for _ in range(1000):
            request.wfile.write(b"x" * 100_000)

    registry.faults.append(on("GET .*/blobs/", endless))
    with pytest.raises(RegistryError, match=f"longer than the {SIZE} bytes"):
        await fetch(registries, registry)


async def test_s26_a_manifest_is_the_one_that_was_asked_for(registries: Registries, registry: FaultyRegistry) -> None:
    """Whatever the registry says its digest is."""
    wanted = parse_digest(registry.add_raw_manifest("1", b"{}"))
    registry.manifests[wanted] = registry.manifests["1"][0], b'{"other":1}'
    async with registries.open(parse_reference(f"{registry.host}/some/app"), NOBODY, SETTINGS) as repository:
        with pytest.raises(RegistryError, match=f"manifest verification failed for digest {wanted}"):
            await repository.manifest(wanted, digest=wanted)


async def test_s29_a_huge_manifest_is_not_read(registries: Registries, registry: FaultyRegistry) -> None:
    """4 MiB is the end."""
    registry.add_raw_manifest("1", b" " * (5 << 20))
    with pytest.raises(RegistryError, match="the answer is longer than 4194304 bytes"):
        await manifest(registries, registry)


# Who asks.


async def test_basic_credentials(registries: Registries, registry: FaultyRegistry) -> None:
    """They are sent when the registry wants them; without any, or with wrong ones, the error is Docker's."""
    registry.add_raw_manifest("1", b"{}")
    registry.wants = basic_auth("me", "secret")
    assert await manifest(registries, registry, credentials=SOMEBODY) == b"{}"
    with pytest.raises(RegistryError, match="no basic auth credentials") as failure:
        await manifest(registries, registry)
    assert failure.value.kind == "unauthorized"
    with pytest.raises(RegistryError, match="unauthorized: authentication required"):
        await manifest(registries, registry, credentials=Credentials(username="me", password="wrong"))


def wants_token(registry: FaultyRegistry, realm: str) -> None:
    registry.challenge = f'Bearer realm="{realm}",service="tests",scope="repository:some/app:pull"'
    registry.wants = lambda request: (
        request.path.startswith("/token") or request.headers.get("Authorization") == f"Bearer {registry.token}"
    )


async def test_a_token_for_the_scope(registries: Registries, registry: FaultyRegistry) -> None:
    """Asked for once, for this repository and no more than pulling, with the credentials; sent with every request."""
    registry.add_raw_manifest("1", b"{}")
    registry.add_blob(LAYER)
    wants_token(registry, f"{registry.url}/token")
    async with registries.open(parse_reference(f"{registry.host}/some/app:1"), SOMEBODY, SETTINGS) as repository:
        await repository.manifest("1")
        assert b"".join([chunk async for chunk in repository.blob(described(LAYER))]) == LAYER
    assert registry.token_queries == [{"service": ["tests"], "scope": ["repository:some/app:pull"], "account": ["me"]}]


async def test_an_expired_token_is_replaced(registries: Registries, registry: FaultyRegistry) -> None:
    """In the middle of a job, without anybody noticing."""
    registry.add_raw_manifest("1", b"{}")
    wants_token(registry, f"{registry.url}/token")
    async with registries.open(parse_reference(f"{registry.host}/some/app:1"), NOBODY, SETTINGS) as repository:
        await repository.manifest("1")
        registry.token = "another-token"
        await repository.manifest("1")
    assert len(registry.token_queries) == 2


async def test_an_identity_token_takes_the_passwords_place(registries: Registries, registry: FaultyRegistry) -> None:
    """What a login got is exchanged for a token."""
    registry.add_raw_manifest("1", b"{}")
    wants_token(registry, f"{registry.url}/token")
    assert await manifest(registries, registry, credentials=Credentials(identity_token="identity")) == b"{}"
    assert registry.token_queries[0]["refresh_token"] == ["identity"]


async def test_s27_credentials_do_not_follow_a_redirect(
    registries: Registries, registry: FaultyRegistry, another: Callable[[], FaultyRegistry]
) -> None:
    """Another port is another host: it is asked without any credential, and gets none when it wants some."""
    second = another()
    second.add_blob(LAYER)
    registry.wants = basic_auth("me", "secret")
    registry.faults.append(
        on("GET .*/blobs/", lambda request: request.reply(307, b"", {"Location": f"{second.url}{request.path}"}))
    )
    assert await fetch(registries, registry, credentials=SOMEBODY) == LAYER
    second.wants = basic_auth("me", "secret")
    with pytest.raises(RegistryError, match="unauthorized"):
        await fetch(registries, registry, credentials=SOMEBODY)
    assert registry.heads("authorization")
    assert second.requests
    assert second.heads("authorization") == []


async def test_s27_a_foreign_realm_sees_no_credential(
    registries: Registries, registry: FaultyRegistry, another: Callable[[], FaultyRegistry]
) -> None:
    """The service is asked for a token as nobody; if it wants somebody, the error says why it did not get to know."""
    second = another()
    registry.add_raw_manifest("1", b"{}")
    wants_token(registry, f"http://localhost:{second.port}/token")
    assert await manifest(registries, registry, credentials=SOMEBODY) == b"{}"
    second.wants = basic_auth("me", "secret")
    with pytest.raises(RegistryError, match=r"names localhost:.* credentials are not sent there"):
        await manifest(registries, registry, credentials=SOMEBODY)
    assert second.heads("authorization") == []
    assert "account" not in second.token_queries[0]


async def test_s27_a_mirror_sees_no_credential(registries: Registries, registry: FaultyRegistry) -> None:
    """They are Docker Hub's."""
    registry.add_raw_manifest("1", b"{}")
    settings = EngineSettings(registry_mirrors=(f"{registry.url}/",))
    async with registries.open(parse_reference("some/app:1"), SOMEBODY, settings) as repository:
        assert (await repository.manifest("1")).data == b"{}"
    assert registry.heads("authorization") == []


@pytest.mark.parametrize("end", [shut, Handler.reset, lambda request: request.reply(500)], ids=["truncated", "reset", "500"])
async def test_a_mirror_that_fails_in_the_middle_is_left_for_the_next(
    registries: Registries, registry: FaultyRegistry, another: Callable[[], FaultyRegistry], end: Callable[[Handler], None]
) -> None:
    """What it has sent is not asked for again, and nothing else goes there any more."""
    second = another()
    for each in (registry, second):
        each.add_blob(LAYER)
        each.add_raw_manifest("1", b"{}")
    registry.faults.append(once(on("GET .*/blobs/", part(SIZE // 2, shut))))
    registry.faults.append(on("GET .*/blobs/", end))
    settings = EngineSettings(registry_mirrors=(registry.url, second.url))
    async with registries.open(parse_reference("some/app:1"), SOMEBODY, settings) as repository:
        await repository.manifest("1")
        assert second.requests == []
        assert b"".join([chunk async for chunk in repository.blob(described(LAYER))]) == LAYER
        asked = len(registry.requests)
        await repository.manifest("1", digest=parse_digest(digest_of(b"{}")))
        assert len(registry.requests) == asked
    (begin,) = second.heads("range")
    assert int(begin.removeprefix("bytes=").split("-")[0]) == SIZE // 2
    assert second.heads("authorization") == []


async def test_a_mirror_without_a_manifest_of_the_index_is_left_for_the_next(
    registries: Registries, registry: FaultyRegistry, another: Callable[[], FaultyRegistry]
) -> None:
    """It has what the tag means, and not what that leads to. Where there is no other, its own error is told."""
    second = another()
    registry.add_raw_manifest("1", b"{}")
    digest = parse_digest(second.add_raw_manifest("2", b"[]"))
    settings = EngineSettings(registry_mirrors=(registry.url, second.url))
    async with registries.open(parse_reference("some/app:1"), SOMEBODY, settings) as repository:
        await repository.manifest("1")
        assert (await repository.manifest(digest, digest=digest)).data == b"[]"


async def test_the_registry_itself_is_left_for_nobody(registries: Registries, registry: FaultyRegistry) -> None:
    """Only mirrors have others behind them."""
    registry.add_blob(LAYER)
    registry.faults.append(on("GET .*/blobs/", lambda request: request.reply(404)))
    with pytest.raises(RegistryError) as failure:
        await fetch(registries, registry)
    assert failure.value.kind == "not found"
    assert sum("/blobs/" in path for _, path, _ in registry.requests) == 1


@pytest.mark.parametrize(
    "location",
    ["http://169.254.169.254/latest/meta-data", "http://[fe80::1]/x", "http://0.0.0.0/x", "file:///etc/passwd", "unix:///run/x.sock",
     "http://10.0.0.1/x", "http://user@127.0.0.1/x", "http://127.1/x", "http://2130706433/x", "http://127.0.0.1:99999/x",
     "ftp://127.0.0.1/x", "http://127.0.0.1\\@evil.example/", ""],
)  # fmt: skip
async def test_s28_redirects_lead_nowhere_inside(registries: Registries, registry: FaultyRegistry, location: str) -> None:
    """Nor does a token realm: refused before anything is connected to."""
    registry.add_blob(LAYER)
    registry.faults.append(on("GET .*/blobs/", lambda request: request.reply(302, b"", {"Location": location})))
    with pytest.raises(RegistryError, match=r"refused|no location|not encrypted") as failure:
        await fetch(registries, registry)
    assert failure.value.kind == "invalid"
    registry.faults.clear()
    wants_token(registry, location)
    with pytest.raises(RegistryError, match=r"refused|not encrypted"):
        await fetch(registries, registry)


async def test_s28_a_redirect_loop_ends(registries: Registries, registry: FaultyRegistry) -> None:
    """After a few steps."""
    registry.faults.append(on("GET .*/blobs/", lambda request: request.reply(302, b"", {"Location": request.path + "x"})))
    with pytest.raises(RegistryError, match="stopped after 5 redirects"):
        await fetch(registries, registry)


# Push.


def content(data: bytes) -> Callable[[int], AsyncIterator[bytes]]:
    async def pieces(offset: int) -> AsyncIterator[bytes]:
        for start in range(offset, len(data), 8192):
            await trio.lowlevel.checkpoint()
            yield data[start : start + 8192]

    return pieces


async def push(registries: Registries, registry: FaultyRegistry, data: bytes = LAYER) -> None:
    reference = parse_reference(f"{registry.host}/some/app:1")
    async with registries.open(reference, NOBODY, SETTINGS, push=True) as repository:
        await repository.upload(described(data), content(data))


@pytest.mark.parametrize("data", [LAYER, b"", b"x", b"xy"], ids=["chunks", "empty", "one byte", "two bytes"])
async def test_a_blob_is_pushed(registries: Registries, registry: FaultyRegistry, data: bytes) -> None:
    """In chunks, and afterwards it is there."""
    await push(registries, registry, data)
    assert registry.blobs == {digest_of(data): data}


async def test_a_cut_upload_goes_on_where_it_was(registries: Registries, registry: FaultyRegistry) -> None:
    """The registry is asked how much it has; no byte of that is sent again."""

    def half(request: Handler) -> None:
        key = request.path.rsplit("/", 1)[1].partition("?")[0]
        registry.uploads[key] += request.sent[:1000]
        request.reset()

    registry.faults.append(once(on("PATCH", half)))
    await push(registries, registry)
    assert registry.blobs == {digest_of(LAYER): LAYER}
    assert sum(int(length) for length in registry.heads("content-length")) == SIZE + 70_000 - 1000


async def test_a_forgotten_upload_begins_anew(registries: Registries, registry: FaultyRegistry) -> None:
    """As when the registry was started again."""

    def forget(request: Handler) -> None:
        registry.uploads.clear()
        registry.uploads["old"] = bytearray()
        request.reset()

    registry.faults.append(once(on("PATCH", forget)))
    await push(registries, registry)
    assert registry.blobs == {digest_of(LAYER): LAYER}


async def test_a_blob_is_mounted_from_another_repository(registries: Registries, registry: FaultyRegistry) -> None:
    """Or it is not, and then nothing of the attempt is left at the registry."""
    registry.add_blob(LAYER)
    registry.mounts = True
    digest = parse_digest(digest_of(LAYER))
    async with registries.open(parse_reference(f"{registry.host}/some/app"), NOBODY, SETTINGS, push=True) as repository:
        assert await repository.has_blob(digest)
        assert await repository.mount(digest, "other/app")
        registry.mounts = False
        assert not await repository.mount(digest, "other/app")
    assert registry.uploads == {}


async def test_nobody_answers(registries: Registries, registry: FaultyRegistry) -> None:
    """One line in Docker's words."""
    registry.close()
    with pytest.raises(RegistryError) as failure:
        await manifest(registries, registry)
    assert str(failure.value) == (
        f'Get "http://{registry.host}/v2/some/app/manifests/1": dial tcp {registry.host}: connect: connection refused'
    )
