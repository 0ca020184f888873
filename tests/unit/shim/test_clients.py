"""Attached clients: detach keys, frames, and the seam between the past and the present."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from docket.kernel.shim.clients import LIMIT, Client, Detach
from docket.kernel.shim.output import OutputLog

SETTINGS = {"stdin": True, "stdout": True, "stderr": True, "multiplexed": False, "detach_keys": "", "early": ""}


def connected(**settings: object) -> tuple[Client, socket.socket]:
    ours, theirs = socket.socketpair()
    return Client(theirs.detach(), {**SETTINGS, **settings}), ours


@given(
    st.lists(st.sampled_from([b"\x10", b"\x11", b"a", b"\x10\x10", b"b\x10c"])),
    st.sampled_from([b"\x10\x11", b"aab", b"\x10\x10\x11"]),
)
def test_detach_keys_are_found_wherever_they_are(pieces: list[bytes], keys: bytes) -> None:
    """However the input is cut, what comes before the keys is passed on, and nothing behind them."""
    detach, passed, found = Detach(keys), b"", False
    for piece in pieces:
        more, found = detach.feed(piece)
        passed += more
        if found:
            break
    whole = b"".join(pieces)
    assert found == (keys in whole)
    if found:
        assert passed == whole[: whole.index(keys)]
    else:
        held = whole[len(passed) :]
        assert whole.startswith(passed)
        assert keys.startswith(held)


def test_a_first_key_is_held_back_until_the_next_byte_tells() -> None:
    """ctrl-p alone may be the beginning of the keys, and is input when it was not."""
    detach = Detach(b"\x10\x11")
    assert detach.feed(b"x\x10") == (b"x", False)
    assert detach.feed(b"y") == (b"\x10y", False)


def test_without_keys_everything_is_input() -> None:
    """Streams that are no terminal have no detach keys."""
    assert Detach(b"").feed(b"\x10\x11") == (b"\x10\x11", False)


def test_a_client_that_left_is_gone() -> None:
    """Writing to it fails, and it holds nothing any more."""
    client, ours = connected()
    ours.close()
    client.send(1, b"x")
    assert client.gone
    assert not client.pending


def test_the_past_comes_before_the_present_and_the_seam_is_exact(tmp_path: Path) -> None:
    """A slow client is still reading the past while output goes on and the log is rotated: it gets every byte once, in order."""
    log = OutputLog(str(tmp_path / "log"), 300_000, 40, 1)
    written = b""

    def write(number: int) -> bytes:
        data = b"%d " % number * 5000
        log.append(1, data)
        return data

    for number in range(40):
        written += write(number)
    client, ours = connected()
    client.send_past(log.past(-1))
    client.flush()
    assert client.pending
    for number in range(40, 60):
        data = write(number)
        written += data
        client.send(1, data)
    received = b""
    while client.pending:
        received += ours.recv(1 << 20)
        client.flush()
    ours.setblocking(False)
    while True:
        try:
            received += ours.recv(1 << 20)
        except BlockingIOError:
            break
    assert received == written
    before = len(os.listdir("/proc/self/fd"))
    client.close()
    assert len(os.listdir("/proc/self/fd")) == before - 1


def test_a_client_that_does_not_read_is_full(tmp_path: Path) -> None:
    """What it has not taken is bounded, the past and what came behind it together."""
    log = OutputLog(str(tmp_path / "log"), 10_000_000, 3, 1)
    log.append(1, b"x" * 4_000_000)
    client, _ours = connected()
    client.send_past(log.past(-1))
    client.flush()
    while not client.full:
        client.send(1, b"y" * 100_000)
    assert client.pending
    client.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(client.fileno())
    assert LIMIT == 1 << 20


def test_streams_that_were_not_asked_for_are_not_sent() -> None:
    """Frames tell the stream; a client without stderr never sees it."""
    client, ours = connected(stderr=False, multiplexed=True)
    client.send(2, b"no")
    client.send(1, b"yes")
    assert ours.recv(100) == b"\x01\0\0\0\0\0\0\x03yes"
