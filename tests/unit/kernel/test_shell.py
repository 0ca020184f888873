"""The modelled shell: what contract tests and job tests write in ``sh -c``."""

import pytest
import trio
from trio.testing import MockClock

from docket.kernel.fake.kernel import FakeKernel
from docket.kernel.fake.programs import SYSTEM_FILES
from docket.kernel.fake.streams import Streams


async def shell(script: str) -> tuple[int, bytes, bytes]:
    """Run a script as a process of the host."""
    kernel = FakeKernel()
    kernel.seed_host(SYSTEM_FILES)
    written: dict[int, bytes] = {1: b"", 2: b""}

    def keep(stream: int, data: bytes) -> None:
        written[stream] += data

    process = kernel.model.processes.fork(kernel.model.init, (), 0, into={})
    process.execute(("sh", "-c", script), {"HOME": "/root", "PATH": "/bin"})
    kernel.model.run(process, Streams(terminal=False, stdin=False, stdin_once=False, write_log=keep))
    await process.ended.wait()
    assert process.exit_code is not None
    return process.exit_code, written[1], written[2]


@pytest.mark.parametrize(
    ("script", "status", "output"),
    [
        ("echo a; echo b", 0, b"a\nb\n"),
        ("false && echo no; echo yes", 0, b"yes\n"),
        ("false || echo yes", 0, b"yes\n"),
        ("true || echo no", 0, b""),
        ("exit 300", 44, b""),
        ("false; echo $?", 0, b"1\n"),
        ("X=1; echo $X-${HOME}", 0, b"1-/root\n"),
        ("cd /etc; pwd", 0, b"/etc\n"),
        ("cd /nowhere; echo $?", 0, b"1\n"),
        ("echo one > /tmp/f; echo two >> /tmp/f; cat /tmp/f", 0, b"one\ntwo\n"),
        ("umask 077; umask", 0, b"0077\n"),
        ("mkdir /tmp/d; ls /tmp", 0, b"d\n"),
        ("exec echo done; echo never", 0, b"done\n"),
        ("trap 'exit 7' TERM; kill $$; echo never", 7, b""),
        ("sleep 5 & wait; echo after", 0, b"after\n"),
    ],
)
async def test_scripts_do_what_a_shell_does(script: str, status: int, output: bytes, autojump_clock: MockClock) -> None:
    """Exit status and output of the subset."""
    code, written, _ = await shell(script)
    assert (code, written) == (status, output)


async def test_errors_are_told_on_standard_error() -> None:
    """A missing command is 127, one without the bit 126."""
    assert await shell("nothing-of-this-name") == (127, b"", b"sh: nothing-of-this-name: not found\n")
    assert await shell("/etc/passwd") == (126, b"", b"sh: /etc/passwd: Permission denied\n")


async def test_a_foreground_command_delays_the_trap(autojump_clock: MockClock) -> None:
    """As in a real shell, a trap runs after the command that runs; this is why `docker stop` takes ten seconds so often."""
    started = trio.current_time()
    code, _, _ = await shell("trap 'exit 7' TERM; sh -c 'sleep 1; kill $$' & sleep 30")
    assert (code, trio.current_time() - started) == (7, 30)
