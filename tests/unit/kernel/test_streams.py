"""Standard streams of the model: framing, input, terminal, detaching."""

import pytest
import trio

from docket.domain.ports import Attachment
from docket.kernel.fake.streams import FakeEndpoint, Streams


def streams(**options: bool) -> Streams:
    return Streams(**{"terminal": False, "stdin": True, "stdin_once": False, **options})


async def test_output_is_framed_for_those_who_want_it() -> None:
    """Multiplexed clients get Docker's headers, others the bytes; each only the streams it asked for."""
    made = streams()
    framed, plain = FakeEndpoint(), FakeEndpoint()
    made.attach(Attachment(framed))
    made.attach(Attachment(plain, stdout=False, multiplexed=False))
    made.write(1, b"out")
    made.write(2, b"err")
    assert bytes(framed.received) == b"\1\0\0\0\0\0\0\3out\2\0\0\0\0\0\0\3err"
    assert bytes(plain.received) == b"err"


async def test_the_end_of_input_counts_once_only_when_asked() -> None:
    """Without stdin_once a client's half-close leaves stdin open for the next client."""
    made = streams()
    first, second = FakeEndpoint(), FakeEndpoint()
    made.attach(Attachment(first, stdin=True))
    first.send_eof()
    made.attach(Attachment(second, stdin=True))
    second.send(b"more")
    assert await made.read() == b"more"
    once = streams(stdin_once=True)
    once.attach(Attachment(first := FakeEndpoint(), stdin=True))
    first.send(b"last")
    first.send_eof()
    assert (await once.read(), await once.read()) == (b"last", b"")


@pytest.mark.parametrize("pieces", [[b"a\x10\x11b"], [b"a\x10", b"\x11b"], [b"a", b"\x10", b"\x11", b"b"]])
async def test_detach_keys_are_found_however_they_arrive(pieces: list[bytes]) -> None:
    """The keys are no input, and what comes after them is nobody's."""
    made, endpoint = streams(), FakeEndpoint()
    made.attach(Attachment(endpoint, stdin=True, detach_keys=b"\x10\x11"))
    for piece in pieces:
        endpoint.send(piece)
    assert (await made.read(), endpoint.closed, made.clients) == (b"a", True, 0)


async def test_the_first_detach_key_alone_is_input() -> None:
    """ctrl-p must still work in a shell."""
    made, endpoint = streams(), FakeEndpoint()
    made.attach(Attachment(endpoint, stdin=True, detach_keys=b"\x10\x11"))
    endpoint.send(b"\x10\x10x")
    assert (await made.read(), endpoint.closed) == (b"\x10\x10x", False)


async def test_a_terminal_echoes_and_merges() -> None:
    """One stream, CR LF, typed input comes back, ^D ends it."""
    made, endpoint = streams(terminal=True), FakeEndpoint()
    made.attach(Attachment(endpoint, stdin=True, multiplexed=False))
    endpoint.send(b"ls\r")
    made.write(2, b"no\n")
    endpoint.send(b"\x04")
    assert (await made.read(), await made.read()) == (b"ls\n", b"")
    assert bytes(endpoint.received) == b"ls\r\nno\r\n"


async def test_a_reader_of_an_endpoint_wakes_up(nursery: trio.Nursery) -> None:
    """Waiting for output ends with output, and at the close with nothing."""
    made, endpoint = streams(), FakeEndpoint()
    made.attach(Attachment(endpoint, multiplexed=False))
    got: list[bytes] = []

    async def receive() -> None:
        got.append(await endpoint.receive_all())

    nursery.start_soon(receive)
    await trio.testing.wait_all_tasks_blocked()
    made.write(1, b"one")
    await trio.testing.wait_all_tasks_blocked()
    made.write(1, b"two")
    made.close()
    await trio.testing.wait_all_tasks_blocked()
    assert got == [b"onetwo"]
