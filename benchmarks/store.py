"""Prints what the event store does in a second, beside the targets: ``python benchmarks/store.py [directory]``.

Nothing here is a test: figures depend on the disk and on what else the machine does. CPU time is that of all threads of
this process. The directory should lie on the disk that will hold data roots; the default is a temporary one.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import trio

from docket.domain.log import Batch, Event, Metadata
from docket.event_store.codec import Codec
from docket.event_store.sqlite import SqliteEventStore

APPENDERS = 100
APPENDS_EACH = 300
LONG = 1_000_000
START = 100_000


class Started(Event, frozen=True, gc=False):
    """An event of the usual size."""

    container: str
    pid: int
    address: str

    @property
    def stream(self) -> str:
        return f"container-{self.container}"


class Exited(Event, frozen=True, gc=False):
    """A small event."""

    container: str
    exit_code: int

    @property
    def stream(self) -> str:
        return f"container-{self.container}"


CODEC = Codec([Started, Exited])


def _container(number: int) -> str:
    return hashlib.sha256(b"%d" % number).hexdigest()


def _batch(number: int) -> Batch:
    container = _container(number // 2)
    event = Exited(container, 0) if number % 2 else Started(container, number, "172.17.0.2")
    return Batch((event,), Metadata(time.time_ns(), job=container[:32], actor="uid=0"))


def _report(what: str, wall: float, cpu: float, target: str) -> None:
    print(f"{what:<62} {wall:8.3f} s wall {cpu:8.3f} s CPU   target {target}")


def _measure(what: str, target: str, work: Callable[[], object]) -> float:
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    _report(what, wall, cpu, target)
    return wall


def _appends(path: Path) -> None:
    async def appender(store: SqliteEventStore, first: int) -> None:
        for number in range(first, first + APPENDS_EACH):
            await store.append(_batch(number))

    async def appenders(store: SqliteEventStore) -> None:
        async with trio.open_nursery() as nursery:
            for first in range(0, APPENDERS * APPENDS_EACH, APPENDS_EACH):
                nursery.start_soon(appender, store, first)

    with SqliteEventStore(path, CODEC) as store:
        wall = _measure(
            f"{APPENDERS * APPENDS_EACH} durable appends by {APPENDERS} appenders", "3 s", lambda: trio.run(appenders, store)
        )
    print(f"    {APPENDERS * APPENDS_EACH / wall:,.0f} appends a second, target 10,000")


def _fill(path: Path, events: int) -> None:
    async def fill(store: SqliteEventStore) -> None:
        for first in range(0, events, 1000):
            for number in range(first, first + 999):
                store.submit(_batch(number))
            await store.append(_batch(first + 999))

    with SqliteEventStore(path, CODEC) as store:
        trio.run(fill, store)
        store.save_snapshot(events, bytes(1_000_000))


def _fold(store: SqliteEventStore) -> int:
    state: dict[str, int] = {}

    def started(event: Started, time_ns: int) -> None:
        state[event.container] = event.pid

    def exited(event: Exited, time_ns: int) -> None:
        state.pop(event.container)

    evolve: dict[type[Event], Callable[..., None]] = {Started: started, Exited: exited}
    count = 0
    for event, time_ns, _ in store.read_for_fold():
        evolve[type(event)](event, time_ns)
        count += 1
    return count


def _imports(module: str) -> None:
    command = [sys.executable, "-c", f"import time; t = time.process_time(); import {module}; print(time.process_time() - t)"]
    cpu = min(float(subprocess.run(command, check=True, capture_output=True, text=True).stdout) for _ in range(5))
    print(f"import {module:<55} {'':15} {cpu:8.3f} s CPU")


def main() -> None:
    """Run all measurements."""
    with tempfile.TemporaryDirectory(dir=sys.argv[1] if len(sys.argv) > 1 else None) as directory:
        root = Path(directory)
        for module in ("trio", "docket.event_store.sqlite", "docket.event_store.migrations"):
            _imports(module)
        for _ in range(3):
            _appends(root / f"appends-{time.time_ns()}.db")
        _fill(root / "start.db", START)
        _measure(
            f"open with {START} events, state snapshot at the end",
            "as little as can be",
            lambda: SqliteEventStore(root / "start.db", CODEC).close(),
        )
        with SqliteEventStore(root / "start.db", CODEC, state_schema=2):
            pass
        _measure(
            f"open with {START} events, no fitting snapshot",
            "-",
            lambda: SqliteEventStore(root / "start.db", CODEC, state_schema=2).close(),
        )
        _fill(root / "long.db", LONG)
        print(f"    {LONG} events take {os.stat(root / 'long.db').st_size / 1e6:,.0f} MB")
        with SqliteEventStore(root / "long.db", CODEC) as store:
            for _ in range(3):
                _measure(f"{LONG} events read, decoded and folded", "1.5 s", lambda: _fold(store))
            _measure(f"{LONG} events verified, with the database's structure", "-", store.verify)


if __name__ == "__main__":
    main()
