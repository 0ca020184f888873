"""The multiplexed stream and the detach keys, in pieces of any size."""

from __future__ import annotations

import os
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from docket.cli.errors import CliError
from docket.cli.streams import Demultiplexer
from docket.cli.terminal import DetachFilter, parse_detach_keys

FRAMES = st.lists(st.tuples(st.sampled_from([1, 2]), st.binary(max_size=50)), max_size=8)


@given(FRAMES, st.lists(st.integers(min_value=1, max_value=30), min_size=1))
def test_frames_come_out_whole_whatever_the_pieces(frames: list[tuple[int, bytes]], sizes: list[int]) -> None:
    """Each stream's bytes arrive complete and in order."""
    written: dict[int, bytes] = {1: b"", 2: b""}

    def write(descriptor: int, data: bytes | memoryview) -> None:
        written[descriptor] += bytes(data)

    whole = b"".join(struct.pack(">BxxxL", stream, len(data)) + data for stream, data in frames)
    demultiplexer = Demultiplexer(write)
    at = index = 0
    while at < len(whole):
        size = sizes[index % len(sizes)]
        demultiplexer.feed(whole[at : at + size])
        at += size
        index += 1
    assert written == {stream: b"".join(data for number, data in frames if number == stream) for stream in (1, 2)}


def test_a_stream_that_is_none() -> None:
    """A header of no known stream is an error, not garbage on the screen."""
    with pytest.raises(CliError, match="unrecognized input header: 72"):
        Demultiplexer().feed(b"HTTP/1.1 400")


KEYS = parse_detach_keys("ctrl-p,ctrl-q")


@given(st.lists(st.binary(max_size=6).map(lambda data: data.replace(b"\x11", b"")), max_size=6))
def test_without_the_keys_nothing_is_lost(pieces: list[bytes]) -> None:
    """All that was typed goes on; only a first key at the very end is still held back."""
    watcher = DetachFilter(KEYS)
    passed = b""
    for piece in pieces:
        data, detached = watcher.feed(piece)
        assert not detached
        passed += data
    typed = b"".join(pieces)
    assert passed == (typed[:-1] if typed.endswith(b"\x10") else typed)


def test_keys_across_pieces() -> None:
    """The two keys may arrive apart; a repeated first key is passed on once."""
    watcher = DetachFilter(KEYS)
    assert watcher.feed(b"ab\x10") == (b"ab", False)
    assert watcher.feed(b"\x10") == (b"\x10", False)
    assert watcher.feed(b"\x11rest") == (b"", True)


def test_names_of_keys() -> None:
    """Letters, ctrl with a letter, and nothing else."""
    assert parse_detach_keys("a,ctrl-a,ctrl-[,ctrl-\\") == b"a\x01\x1b\x1c"
    for text in ("", "ctrl-", "ctrl-1", "ab", "a,"):
        with pytest.raises(CliError, match="invalid detach keys"):
            parse_detach_keys(text)


def test_writing_waits_for_a_full_pipe() -> None:
    """A descriptor that someone made non-blocking loses nothing."""
    import threading

    from docket.cli.context import write_all

    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    taken: list[bytes] = []

    def drain() -> None:
        while piece := os.read(reader, 65536):
            taken.append(piece)

    thread = threading.Thread(target=drain)
    thread.start()
    write_all(writer, b"x" * 1_000_000)
    os.close(writer)
    thread.join()
    os.close(reader)
    assert sum(map(len, taken)) == 1_000_000
