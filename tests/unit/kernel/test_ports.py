"""The small fakes: logs that can be followed, a clock, ids, root filesystems."""

import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from docket.domain.ports import LogEntry, LogSettings
from docket.kernel.fake.kernel import FakeKernel
from docket.kernel.fake.ports import FakeClock, FakeOutputLogs, FakeRootfs, SequentialIds

SETTINGS = LogSettings("/log", max_bytes=10, files=2)


async def test_following_a_log_ends_with_its_writer(nursery: trio.Nursery) -> None:
    """What was written and what comes, in order, until the writer has closed."""
    logs, seen = FakeOutputLogs(), []

    async def follow() -> None:
        seen.extend([entry.data async for entry in logs.lines("/log", run=1, until=trio.Event())])
        seen.append(b"end")

    logs.open("/log")
    nursery.start_soon(follow)
    await wait_all_tasks_blocked()
    logs.append(SETTINGS, LogEntry(1, 1, b"a\n"))
    await wait_all_tasks_blocked()
    logs.append(SETTINGS, LogEntry(2, 2, b"b"))
    logs.close("/log")
    await wait_all_tasks_blocked()
    assert seen == [b"a\n", b"b", b"end"]


async def test_a_full_log_loses_its_oldest_entries() -> None:
    """As rotation does; a reader goes on with what is left."""
    logs = FakeOutputLogs()
    logs.open("/log")
    for number in range(6):
        logs.append(SETTINGS, LogEntry(number, 1, b"12345"))
    assert [entry.time_ns async for entry in logs.read("/log")] == [2, 3, 4, 5]
    await logs.remove("/log")
    assert [entry async for entry in logs.read("/log")] == []


async def test_the_clock_follows_the_mock_clock(mock_clock: MockClock) -> None:
    """Modelled time passes when the test says so."""
    clock = FakeClock(1000)
    assert clock.now_ns() == 1000
    mock_clock.jump(2)
    assert clock.now_ns() == 1000 + 2_000_000_000
    clock.advance(5)
    assert clock.now_ns() == 1000 + 2_000_000_005


def test_ids_depend_on_the_seed_only() -> None:
    """Equal runs get equal ids, of the length that was asked for."""
    first, second = SequentialIds(), SequentialIds()
    ids = [first.new(), first.new(32)]
    assert ids == [second.new(), second.new(32)]
    assert [len(text) for text in ids] == [64, 32]
    assert SequentialIds("other").new() != ids[0]


async def test_layers_are_seeded_when_they_are_asked_for() -> None:
    """The lowest layer is a small system; top-most comes first; removing a tree removes it."""
    kernel = FakeKernel()
    rootfs = FakeRootfs(kernel)
    top, low = rootfs.lowerdirs(["sha256:aa", "sha256:bb"])
    assert (kernel.has(f"{low}/bin/sh"), kernel.has(top), kernel.has(f"{top}/bin")) == (True, True, False)
    await rootfs.remove(top)
    await rootfs.remove(top)
    assert not kernel.has(top)
