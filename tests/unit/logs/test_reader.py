"""What a shim writes, read back: every byte once, in whole lines, from any place, over rotations and while it is written."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import aclosing
from pathlib import Path

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import wait_all_tasks_blocked

from docket.adapters.logs.reader import FileOutputLogs
from docket.domain.output_lines import HELD_BYTES, LineAssembler
from docket.domain.output_log import BLOCK_BYTES, HEADER_BYTES
from docket.domain.ports import LogEntry
from docket.kernel.shim.output import OutputLog

PIECES = st.one_of(
    st.sampled_from([b"a\n", b"no newline", b"\n", b"two\nlines\n", b"whole\nand half", b"x" * 30 + b"\n"]),
    st.integers(1, 4).map(lambda number: b"y" * (BLOCK_BYTES - HEADER_BYTES - number) + b"\n"),
    st.just(b"z" * 150_000 + b"\n"),
    st.just(b"0123456\n" * 20_000),
)
RUNS = st.lists(st.lists(st.tuples(st.sampled_from([1, 2]), PIECES), max_size=12), min_size=1, max_size=3)


@pytest.fixture
def path(tmp_path: Path) -> Iterator[str]:
    yield str(tmp_path / "container.log")


async def read(logs: FileOutputLogs, path: str, **how: object) -> list[LogEntry]:
    async with aclosing(logs.lines(path, **how)) as entries:  # type: ignore[arg-type]
        return [entry async for entry in entries]


def split(entries: list[LogEntry]) -> list[tuple[int, bytes]]:
    """Lines one by one, with pieces of one line put together."""
    lines: list[tuple[int, bytes]] = []
    for entry in entries:
        for number, line in enumerate(entry.data.splitlines(keepends=True)):
            if entry.continues and not number:
                last = max(index for index, (stream, _) in enumerate(lines) if stream == entry.stream)
                lines[last] = (entry.stream, lines[last][1] + line)
            else:
                lines.append((entry.stream, line))
    return lines


def write(path: str, runs: list[list[tuple[int, bytes]]], max_bytes: int = 100_000, files: int = 1000) -> None:
    for number, run in enumerate(runs):
        log = OutputLog(path, max_bytes, files, number + 1)
        for stream, data in run:
            log.append(stream, data)
        log.close()


def expected(runs: list[list[tuple[int, bytes]]]) -> list[tuple[int, bytes]]:
    """The lines of all runs, written plainly: what is unfinished ends with its run."""
    lines = []
    for run in runs:
        held = {1: b"", 2: b""}
        for stream, data in run:
            *whole, held[stream] = (held[stream] + data).split(b"\n")
            lines += [(stream, line + b"\n") for line in whole]
        lines += [(stream, rest) for stream, rest in held.items() if rest]
    return lines


@settings(max_examples=40)
@given(runs=RUNS, max_bytes=st.sampled_from([1_000, 70_000, 150_000, 10_000_000]), wanted=st.integers(0, 30))
def test_every_line_comes_once_and_a_tail_is_the_end_of_it(
    tmp_path_factory: pytest.TempPathFactory, runs: list[list[tuple[int, bytes]]], max_bytes: int, wanted: int
) -> None:
    """Over blocks, files and runs: nothing is lost, repeated, cut or joined; `tail` gives the same lines as reading all."""
    path = str(tmp_path_factory.mktemp("log") / "container.log")
    write(path, runs, max_bytes)
    logs = FileOutputLogs()
    everything = split(trio.run(lambda: read(logs, path)))
    by_stream = [[line for stream, line in everything if stream == number] for number in (1, 2)]
    model = expected(runs)
    assert by_stream == [[line for stream, line in model if stream == number] for number in (1, 2)]
    tail = split(trio.run(lambda: read(logs, path, tail=wanted)))
    assert len(tail) == min(wanted, len(everything))
    assert sorted(tail) == sorted(model[len(model) - len(tail) :])


async def test_an_unfinished_line_waits_for_the_end_of_its_run(path: str) -> None:
    """As with Docker: `docker logs` of a running container does not show the prompt that it has just printed."""
    write(path, [[(1, b"one\ntwo")]])
    logs = FileOutputLogs()
    assert split(await read(logs, path, run=1)) == [(1, b"one\n")]
    assert split(await read(logs, path)) == [(1, b"one\n"), (1, b"two")]
    assert split(await read(logs, path, tail=1)) == [(1, b"two")]
    assert split(await read(logs, path, run=1, tail=1)) == [(1, b"one\n")]


async def test_a_tail_reads_the_end_only(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """However large a log is, its last lines cost a block."""
    write(path, [[(1, b"0123456\n" * 8000)] * 100], 100_000_000)
    import os

    read_bytes, pread = 0, os.pread

    def counting(fd: int, length: int, offset: int) -> bytes:
        nonlocal read_bytes
        data = pread(fd, length, offset)
        read_bytes += len(data)
        return data

    monkeypatch.setattr(os, "pread", counting)
    assert split(await read(FileOutputLogs(), path, tail=3)) == [(1, b"0123456\n")] * 3
    assert read_bytes < 4 * BLOCK_BYTES


async def test_a_long_line_comes_in_pieces(path: str) -> None:
    """A line that never ends must not cost memory; together the pieces are the line."""
    write(path, [[(1, b"x" * 50_000)] * 10 + [(1, b"end\nnext\n")]])
    entries = await read(FileOutputLogs(), path)
    assert max(len(entry.data) for entry in entries) < HELD_BYTES + BLOCK_BYTES
    assert split(entries) == [(1, b"x" * 500_000 + b"end\n"), (1, b"next\n")]
    assert split(await read(FileOutputLogs(), path, tail=2)) == split(entries)


@pytest.mark.parametrize("listening", [True, False])
async def test_a_follower_gets_everything_over_rotations(path: str, nursery: trio.Nursery, listening: bool) -> None:
    """It is told of changes, keeps its place while files are renamed, and ends with what was written before it was told to."""
    logs, until, seen = FileOutputLogs(), trio.Event(), []
    if listening:
        await nursery.start(logs.run)
    log = OutputLog(path, 20_000, 50, 1)
    log.append(1, b"before\n")
    done = trio.Event()

    async def follow() -> None:
        seen.extend(split(await read(logs, path, run=1, until=until)))
        done.set()

    nursery.start_soon(follow)
    numbers = [b"%d %s\n" % (number, b"x" * 100) for number in range(2000)]
    for index, line in enumerate(numbers):
        log.append(1, line)
        if index % 300 == 0:
            await wait_all_tasks_blocked()
    log.append(1, b"rest")
    until.set()
    await done.wait()
    assert seen == [(1, b"before\n"), *((1, line) for line in numbers), (1, b"rest")]
    nursery.cancel_scope.cancel()


async def test_a_follower_ends_where_the_next_run_begins(path: str, nursery: trio.Nursery) -> None:
    """A container that is restarted at once: `logs -f` ends with the process that it followed."""
    logs, until, seen = FileOutputLogs(), trio.Event(), []
    await nursery.start(logs.run)
    write(path, [[(1, b"first\n")]])
    done = trio.Event()

    async def follow() -> None:
        seen.extend(split(await read(logs, path, run=1, until=until)))
        done.set()

    nursery.start_soon(follow)
    await wait_all_tasks_blocked()
    second = OutputLog(path, 100_000, 3, 2)
    second.append(1, b"second\n")
    await done.wait()
    assert seen == [(1, b"first\n")]
    nursery.cancel_scope.cancel()


async def test_a_reader_that_is_slower_than_rotation_goes_on_with_what_is_left(path: str) -> None:
    """Files that are dropped under a reader are lost to it, and nothing else is."""
    log = OutputLog(path, 1000, 3, 1)
    log.append(1, b"old\n")
    logs, until = FileOutputLogs(), trio.Event()
    async with aclosing(logs.lines(path, run=1, until=until)) as entries:
        assert (await anext(entries)).data == b"old\n"
        for number in range(200):
            log.append(1, b"%d\n" % number)
        until.set()
        numbers = [int(line) async for entry in entries for line in entry.data.split()]
    assert numbers == sorted(set(numbers))
    assert numbers[-1] == 199


async def test_a_torn_record_is_cut_off_before_the_next_is_written(path: str) -> None:
    """After a power cut half a record may end the file; what the next run writes can be read nevertheless."""
    write(path, [[(1, b"whole\n"), (1, b"torn\n")]])
    with open(path, "r+b") as file:
        file.truncate(Path(path).stat().st_size - 2)
    write(path, [[(1, b"after\n")]])
    assert split(await read(FileOutputLogs(), path)) == [(1, b"whole\n"), (1, b"after\n")]


async def test_no_log_has_no_lines(path: str) -> None:
    """A container that has not written yet, or whose directory is gone."""
    assert await read(FileOutputLogs(), path, tail=5) == []
    assert await read(FileOutputLogs(), f"{path}/gone/log") == []


async def test_reading_what_was_written_since_a_run(path: str) -> None:
    """An attach that has sent the past of stopped runs asks for newer ones only."""
    write(path, [[(1, b"one")], [(2, b"two")], [(1, b"three")]])
    logs = FileOutputLogs()
    for after, expected_data in ((-1, [b"one", b"two", b"three"]), (1, [b"two", b"three"]), (3, [])):
        async with aclosing(logs.read(path, after_run=after)) as entries:
            assert [entry.data async for entry in entries] == expected_data


async def test_removing_a_log_removes_every_file(path: str) -> None:
    """Rotated ones too, and nothing else."""
    write(path, [[(1, b"x" * 100)] * 20], 200)
    other = Path(path).with_name("container.log.old")
    other.touch()
    await FileOutputLogs().remove(path)
    assert list(Path(path).parent.iterdir()) == [other]


def test_skipped_lines_are_counted_in_the_order_of_their_ends() -> None:
    """What a tail leaves out is the lines that were finished first."""
    assembler = LineAssembler(skip=2)
    assert assembler.feed(LogEntry(1, 1, b"long")) == []
    assert assembler.feed(LogEntry(2, 2, b"a\nb\nc")) == []
    assert assembler.feed(LogEntry(3, 1, b" line\n")) == [LogEntry(3, 1, b"long line\n")]
    assert assembler.flush() == [LogEntry(2, 2, b"c")]
