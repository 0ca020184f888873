"""A log as one file: what comes out goes in again, and what comes from elsewhere is refused unless it is whole (S57)."""

from __future__ import annotations

import gzip
import io
import json
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from docket.domain.errors import StoreFailed, StoreRefused
from docket.domain.log import Batch
from docket.event_store import bounded_lines, exchange
from docket.event_store.codec import Codec
from docket.event_store.exchange import import_log
from docket.event_store.memory import MemoryEventStore
from docket.event_store.read_only import ReadOnlyEventStore
from docket.event_store.sqlite import SqliteEventStore

Noted = Callable[..., Batch]


@pytest.fixture
def lines(codec: Codec, noted: Noted) -> list[bytes]:
    """The lines of a small exported log with two recordings and a secret."""
    store = MemoryEventStore(codec)
    trio.run(store.append, noted("one", "two", "\N{SNOWMAN} three", secrets={"ref": b"hunter2\0"}))
    store.save_recording("job-1", b'{"recording":1}\n{"call":"find"}\n')
    store.save_recording("job-2", b'{"recording":1}\n')
    return gzip.decompress(b"".join(store.export(secrets=True))).splitlines(keepends=True)


def imported(data: bytes, tmp_path: Path, codec: Codec) -> exchange.Imported:
    target = tmp_path / "log.db"
    try:
        return import_log(io.BytesIO(data), target, codec)
    finally:
        if target.exists():
            target.unlink()


async def test_positions_texts_hashes_and_recordings_come_back(tmp_path: Path, codec: Codec, noted: Noted) -> None:
    """An imported log reads as the one that was exported, and its chain verifies."""
    with SqliteEventStore(tmp_path / "own.db", codec) as own:
        await own.append(noted(*["text"] * 1_500))
        await own.append(noted("last", secrets={"ref": b"hunter2"}))
        own.save_recording("job-1", b'{"recording":1}\n')
        own.save_recording("job-2", b'{"recording":1}\n')
        own.save_recording("job-1", b'{"call":"find"}\n')
        await own.settle()
        data = b"".join(own.export())
        before = list(own.read())
    found = import_log(io.BytesIO(data), tmp_path / "log.db", codec)
    assert (found.events, found.recordings, found.secrets, found.hash) == (1_501, 3, 0, before[-1].hash)
    with ReadOnlyEventStore(tmp_path / "log.db", codec) as other:
        assert list(other.read()) == before
        assert other.recorded_jobs() == ["job-1", "job-2"]
        assert other.recording("job-1") == b'{"recording":1}\n{"call":"find"}\n'
        assert other.verify().events == other.head() == 1_501
        assert b"".join(other.export())[10:] == data[10:]


async def test_s54_secrets_come_along_only_when_asked_for(tmp_path: Path, codec: Codec, noted: Noted) -> None:
    """A bug report holds no environment values."""
    store = MemoryEventStore(codec)
    await store.append(noted("one", secrets={"ref": b"hunter2"}))
    plain = gzip.decompress(b"".join(store.export()))
    assert b"hunter2" not in plain
    assert b'["secret"' not in plain
    import_log(io.BytesIO(b"".join(store.export(secrets=True))), tmp_path / "log.db", codec)
    with ReadOnlyEventStore(tmp_path / "log.db", codec) as other:
        assert other.secret("ref") == b"hunter2"


async def test_s57_no_engine_opens_an_imported_log_as_its_own(
    tmp_path: Path, codec: Codec, lines: list[bytes], noted: Noted
) -> None:
    """It would decide what is removed here; and looking at it changes nothing."""
    import_log(io.BytesIO(b"".join(lines)), tmp_path / "log.db", codec)
    with pytest.raises(StoreRefused, match="was imported, it can only be looked at"):
        SqliteEventStore(tmp_path / "log.db", codec)
    with ReadOnlyEventStore(tmp_path / "log.db", codec) as store:
        for change in (
            lambda: store.submit(noted("more")),
            lambda: store.forget("ref"),
            lambda: store.save_recording("j", b""),
        ):
            with pytest.raises(StoreFailed, match="can only be looked at"):
                change()


def test_an_engine_may_have_the_log_open_that_is_looked_at(tmp_path: Path, codec: Codec) -> None:
    """The lock is the engine's alone."""
    with SqliteEventStore(tmp_path / "log.db", codec), ReadOnlyEventStore(tmp_path / "log.db", codec) as store:
        assert store.head() == 0


@pytest.mark.parametrize("name", ["missing.db", "foreign.db", "text.db"])
def test_what_is_no_log_is_refused(name: str, tmp_path: Path, codec: Codec) -> None:
    """And nothing is made where nothing was."""
    with sqlite3.connect(tmp_path / "foreign.db") as foreign:
        foreign.execute("CREATE TABLE t (x)")
    (tmp_path / "text.db").write_text("no database at all, " * 100)
    with pytest.raises(StoreRefused, match=f"event log .*{name}"):
        ReadOnlyEventStore(tmp_path / name, codec)
    assert not (tmp_path / "missing.db").exists()


def changed(line: bytes, index: int, value: object) -> bytes:
    columns = json.loads(line)
    columns[index] = value
    return json.dumps(columns).encode() + b"\n"


HOSTILE: dict[str, Callable[[list[bytes]], list[bytes]]] = {
    "nothing": lambda lines: [],
    "no header": lambda lines: lines[1:],
    "another version": lambda lines: [lines[0].replace(b'"docket_log":1', b'"docket_log":2'), *lines[1:]],
    "cut off": lambda lines: lines[:-1],
    "cut off in a line": lambda lines: [*lines[:-1], lines[-1][:-5]],
    "more behind the end": lambda lines: [*lines, lines[-1]],
    "an event missing": lambda lines: [*lines[:2], *lines[3:]],
    "an event twice": lambda lines: [*lines[:2], *lines[1:]],
    "events exchanged": lambda lines: [lines[0], lines[2], lines[1], *lines[3:]],
    "another text": lambda lines: [lines[0], changed(lines[1], 6, '{"note":"x","text":"other"}'), *lines[2:]],
    "an unknown type": lambda lines: [lines[0], changed(lines[1], 4, "Unknown"), *lines[2:]],
    "a position as text": lambda lines: [lines[0], changed(lines[1], 1, "1"), *lines[2:]],
    "a position out of range": lambda lines: [lines[0], changed(lines[1], 1, 1 << 70), *lines[2:]],
    "a time out of range": lambda lines: [lines[0], changed(lines[1], 7, 1 << 63), *lines[2:]],
    "a hash that is none": lambda lines: [lines[0], changed(lines[1], 11, "zz"), *lines[2:]],
    "one column more": lambda lines: [lines[0], lines[1][:-2] + b",1]\n", *lines[2:]],
    "an unknown kind": lambda lines: [lines[0], b'["pickle","gASV"]\n', *lines[1:]],
    "no text": lambda lines: [lines[0], b'["secret","\xff","aa"]\n', *lines[1:]],
    "deep": lambda lines: [lines[0], b"[" * 100_000 + b"]" * 100_000 + b"\n", *lines[1:]],
    "a secret that is no base64": lambda lines: [*lines[:-1], b'["secret","r2","?"]\n', lines[-1]],
    "a secret twice": lambda lines: [*lines[:-2], lines[-2], lines[-2], lines[-1]],
    "a recording without lines": lambda lines: [*lines[:-1], b'["recording","j",0,1000000]\n', lines[-1]],
    "negative lines": lambda lines: [*lines[:-1], b'["recording","j",0,-1]\n', lines[-1]],
}


@pytest.mark.parametrize("what", HOSTILE)
async def test_s57_a_hostile_file_is_one_clear_error(what: str, lines: list[bytes], tmp_path: Path, codec: Codec) -> None:
    """Refused as a whole, and nothing of it is left."""
    with pytest.raises(StoreRefused, match="log cannot be imported"):
        import_log(io.BytesIO(b"".join(HOSTILE[what](lines))), tmp_path / "log.db", codec)
    assert list(tmp_path.iterdir()) == []


async def test_s57_sizes_are_limited_whatever_the_compression(
    lines: list[bytes], tmp_path: Path, codec: Codec, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A small file that unpacks to a large one, in one line or many, ends at the limit."""
    monkeypatch.setattr(bounded_lines, "MAX_LINE_BYTES", 1_000_000)
    monkeypatch.setattr(bounded_lines, "MAX_BYTES", 5_000_000)
    monkeypatch.setattr(exchange, "MAX_LINES", 100_000)
    for bomb in (
        bytes(50_000_000),
        lines[0] + b'["recording","j",0,40]\n' + (b" " * 900_000 + b"\n") * 40,
        lines[0] + b'["recording","j",0,1]\nx\n' * 200_000,
    ):
        with pytest.raises(StoreRefused, match=r"longer than|larger than|more than"):
            import_log(io.BytesIO(gzip.compress(bomb)), tmp_path / "log.db", codec)


async def test_s57_what_is_appended_to_the_compressed_file_is_refused(lines: list[bytes], tmp_path: Path, codec: Codec) -> None:
    """No second file rides along, and a damaged one is named."""
    data = gzip.compress(b"".join(lines))
    for wrong in (data + b"x", data + data, data[:-4], data[:40] + bytes([data[40] ^ 0xFF]) + data[41:]):
        with pytest.raises(StoreRefused, match="log cannot be imported"):
            import_log(io.BytesIO(wrong), tmp_path / "log.db", codec)
    with pytest.raises(StoreRefused, match="name a place where nothing is yet"):
        (tmp_path / "log.db").touch()
        import_log(io.BytesIO(data), tmp_path / "log.db", codec)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_s57_any_change_of_any_byte_is_noticed_or_harmless(
    data: st.DataObject, lines: list[bytes], tmp_path: Path, codec: Codec
) -> None:
    """Whatever is done to a file, it is refused in one sentence, or it is the same log."""
    whole = bytearray(b"".join(lines))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(whole) - 1))
        how = data.draw(st.sampled_from(["flip", "cut", "insert", "repeat"]))
        if how == "flip":
            whole[at] ^= data.draw(st.integers(1, 255))
        elif how == "cut":
            del whole[at : at + data.draw(st.integers(1, 60))]
        elif how == "insert":
            whole[at:at] = data.draw(st.binary(min_size=1, max_size=20))
        else:
            whole[at:at] = whole[at : at + data.draw(st.integers(1, 200))]
        if not whole:
            break
    try:
        found = imported(bytes(whole), tmp_path, codec)
    except StoreRefused as refused:
        assert str(refused).startswith("log cannot be imported")
    else:
        assert found.hash.hex().encode() in lines[-1]
