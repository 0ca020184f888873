"""Contracts of a process that is launched beside another one: the fake and the real kernel agree on each."""

from __future__ import annotations

from errno import ENOENT, ESRCH

import msgspec
import pytest
from tests.contracts.kernels import Bench

from docket.domain.errors import Unavailable
from docket.domain.plan import operations as op


async def test_an_exec_joins_the_containers_namespaces(bench: Bench) -> None:
    """Host name, files and processes are the container's."""
    plan = bench.plan("sh", "-c", "echo x > /tmp/mark; echo up; sleep 1000; true", mounts=(op.MountInRoot("tmpfs", "/tmp"),))
    running = await bench.start(plan)
    await bench.lines(running)
    script = "hostname; cat /tmp/mark; cat /proc/1/comm"
    outcome = await bench.finish(await bench.start_exec(running, "sh", "-c", script))
    assert outcome.stdout == b"box\nx\nsh\n"
    await bench.kill(running)


async def test_an_exec_ends_with_its_container(bench: Bench) -> None:
    """The end of process 1 is the end of everything in its pid namespace; how the exec ended is known, too."""
    running = await bench.start(bench.plan("sleep", "1000"))
    other = await bench.start_exec(running, "sh", "-c", "echo up; sleep 1000")
    await bench.lines(other)
    await bench.kill(running)
    assert (await bench.finish(other)).code == 137


async def test_execs_have_streams_and_ends_of_their_own(bench: Bench) -> None:
    """Several run at once in one container; each is answered by itself, and the container goes on."""
    running = await bench.start(bench.plan("sh", "-c", "echo up; read line; echo $line; exit 3"), stdin=True)
    await bench.lines(running)
    first = await bench.start_exec(running, "sh", "-c", "echo ready; read line; echo $line; exit 4", key="first", stdin=True)
    await bench.lines(first)
    second = await bench.finish(await bench.start_exec(running, "sh", "-c", "echo two; exit 5", key="second"))
    assert (second.code, second.stdout) == (5, b"two\n")
    first.client.send(b"one\n")
    outcome = await bench.finish(first)
    assert (outcome.code, outcome.stdout) == (4, b"ready\none\n")
    running.client.send(b"last\n")
    outcome = await bench.finish(running)
    assert (outcome.code, outcome.stdout) == (3, b"up\nlast\n")


async def test_an_exec_that_fails_harms_nobody(bench: Bench) -> None:
    """A missing command fails at execve, leaves nothing, and the container and the next exec are as before."""
    running = await bench.start(bench.plan("sleep", "1000"))
    failure = await bench.fails(bench.exec_plan(running.identity, "nothing-of-this-name"), "exec", beside="box")
    assert (failure.syscall, failure.errno) == ("execve", ENOENT)
    assert not bench.ground.exists(f"{bench.ground.root}/shims/exec")
    assert (await bench.finish(await bench.start_exec(running, "true", key="next"))).code == 0
    assert (await bench.kill(running)).code == 137


async def test_an_exec_beside_what_nobody_keeps_is_refused(bench: Bench) -> None:
    """Without a shim that is known there is nobody to ask."""
    running = await bench.start(bench.plan("sleep", "1000"))
    with pytest.raises(Unavailable):
        await bench.start(bench.exec_plan(running.identity, "true"), "exec", beside="another")
    assert not bench.ground.exists(f"{bench.ground.root}/shims/exec")
    await bench.kill(running)


async def test_s15_namespaces_of_another_process_are_not_joined(bench: Bench) -> None:
    """An exec into a container whose first process was replaced fails with ESRCH."""
    running = await bench.start(bench.plan("sleep", "1000"))
    other = msgspec.structs.replace(running.identity, start_time=1)
    failure = await bench.fails(bench.exec_plan(other, "true"), "exec", beside="box")
    assert failure.errno == ESRCH
    assert failure.operation == f"join namespaces pid of process {other.pid}"
    await bench.kill(running)
