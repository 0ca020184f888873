"""Programs that a modelled process can execute: a small system's worth, scripted in Python.

A program is an async function from a `Running` to an exit status, and is known by the last part of the path that it is executed
by, as with busybox. Whatever it waits for goes through `Running`, which is where a frozen or stopped process is held up.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import trio

from docket.kernel.fake.linux_errno import CallFailed, strerror
from docket.kernel.fake.processes import Process
from docket.kernel.fake.streams import Streams


@dataclass(eq=False)
class System:
    """What programs ask of the kernel, for the process that asks."""

    read: Callable[[Process, str], bytes]
    write: Callable[[Process, str, bytes], None]
    names: Callable[[Process, str], list[str]]
    make_directory: Callable[[Process, str], None]
    change_directory: Callable[[Process, str], None]
    working_directory: Callable[[Process], str]
    accounts: Callable[[Process], dict[int, str]]
    spawn: Callable[[Running, list[str]], Running]
    kill: Callable[[Process, int, int], None]
    executable: Callable[[Process, str, dict[str, str]], None]


@dataclass(eq=False)
class Running:
    """A process as its program sees it."""

    process: Process
    streams: Streams
    system: System
    args: list[str]
    find: Callable[[str], Program | None]
    input: bytearray = field(default_factory=bytearray)
    """Input that was read and not used."""
    stdout: Callable[[bytes], None] | None = None
    """Set while output is redirected."""

    def out(self, text: str | bytes) -> None:
        """Write to standard output."""
        data = text.encode() if isinstance(text, str) else text
        if self.stdout is not None:
            self.stdout(data)
        else:
            self.streams.write(1, data)

    def err(self, text: str) -> None:
        """Write to standard error."""
        self.streams.write(2, text.encode())

    async def going(self) -> None:
        """Wait while the process is frozen or stopped."""
        while not self.process.going.is_set():
            await self.process.going.wait()

    async def sleep(self, seconds: float) -> None:
        """Sleep; the time of a frozen process passes too."""
        await trio.sleep(seconds)
        await self.going()

    async def read(self) -> bytes:
        """Input; empty at its end."""
        if self.input:
            data = bytes(self.input)
            self.input.clear()
        else:
            data = await self.streams.read()
        await self.going()
        return data

    async def read_line(self) -> bytes:
        """One line of input with its newline, or what is left at the end."""
        while b"\n" not in self.input:
            data = await self.streams.read()
            await self.going()
            if not data:
                break
            self.input += data
        line, newline, rest = bytes(self.input).partition(b"\n")
        self.input[:] = rest
        return line + newline


Program = Callable[[Running], Awaitable[int]]


async def true(running: Running) -> int:
    return 0


async def false(running: Running) -> int:
    return 1


async def echo(running: Running) -> int:
    words = running.args[1:]
    newline = words[:1] != ["-n"]
    running.out(" ".join(words if newline else words[1:]) + ("\n" if newline else ""))
    return 0


async def sleep(running: Running) -> int:
    word = running.args[1] if len(running.args) > 1 else ""
    try:
        seconds = float("inf") if word in ("inf", "infinity") else float(word)
    except ValueError:
        running.err(f"sleep: invalid number '{word}'\n")
        return 1
    await (trio.sleep_forever() if seconds == float("inf") else running.sleep(seconds))
    return 0


async def cat(running: Running) -> int:
    status = 0
    for path in running.args[1:] or ["-"]:
        if path == "-":
            while data := await running.read():
                running.out(data)
            continue
        try:
            running.out(running.system.read(running.process, path))
        except CallFailed as failure:
            running.err(f"cat: can't open '{path}': {strerror(failure.errno)}\n")
            status = 1
    return status


async def touch(running: Running) -> int:
    return _each_path(running, lambda process, path: running.system.write(process, path, b""), "touch: {}: {}\n")


async def mkdir(running: Running) -> int:
    return _each_path(running, running.system.make_directory, "mkdir: can't create directory '{}': {}\n")


def _each_path(running: Running, act: Callable[[Process, str], None], complaint: str) -> int:
    status = 0
    for path in running.args[1:]:
        try:
            act(running.process, path)
        except CallFailed as failure:
            running.err(complaint.format(path, strerror(failure.errno)))
            status = 1
    return status


async def ls(running: Running) -> int:
    for path in running.args[1:] or ["."]:
        try:
            running.out("".join(f"{name}\n" for name in running.system.names(running.process, path)))
        except CallFailed as failure:
            running.err(f"ls: {path}: {strerror(failure.errno)}\n")
            return 1
    return 0


async def identity(running: Running) -> int:
    process = running.process
    option = running.args[1] if len(running.args) > 1 else ""
    groups = list(dict.fromkeys((process.gid, *process.groups)))
    if option in ("-u", "-g"):
        running.out(f"{process.uid if option == '-u' else process.gid}\n")
    elif option == "-G":
        running.out(" ".join(str(group) for group in groups) + "\n")
    else:
        name = running.system.accounts(process).get(process.uid)
        running.out(f"uid={process.uid}{f'({name})' if name else ''} gid={process.gid} groups={','.join(map(str, groups))}\n")
    return 0


async def env(running: Running) -> int:
    running.out("".join(f"{name}={value}\n" for name, value in running.process.environment.items()))
    return 0


async def hostname(running: Running) -> int:
    running.out(running.process.namespaces["uts"].hostname + "\n")
    return 0


async def pwd(running: Running) -> int:
    running.out(running.system.working_directory(running.process) + "\n")
    return 0


async def stty(running: Running) -> int:
    if not running.streams.terminal:
        running.err("stty: standard input: Inappropriate ioctl for device\n")
        return 1
    running.out(f"{running.streams.rows} {running.streams.columns}\n")
    return 0


async def kill(running: Running) -> int:
    """kill [-SIGNAL] PID…, with numbers and the commonest names."""
    words = running.args[1:]
    signal = 15
    if words and words[0].startswith("-"):
        name = words.pop(0)[1:].removeprefix("SIG")
        signal = SIGNAL_NAMES.get(name) or int(name)
    for word in words:
        try:
            running.system.kill(running.process, int(word), signal)
        except CallFailed as failure:
            running.err(f"kill: can't kill pid {word}: {strerror(failure.errno)}\n")
            return 1
        await trio.lowlevel.checkpoint()
    return 0


SIGNAL_NAMES = {
    "HUP": 1,
    "INT": 2,
    "QUIT": 3,
    "KILL": 9,
    "USR1": 10,
    "USR2": 12,
    "TERM": 15,
    "CONT": 18,
    "STOP": 19,
    "WINCH": 28,
}

PROGRAMS: dict[str, Program] = {
    "true": true,
    "false": false,
    "echo": echo,
    "sleep": sleep,
    "cat": cat,
    "touch": touch,
    "mkdir": mkdir,
    "ls": ls,
    "id": identity,
    "env": env,
    "hostname": hostname,
    "pwd": pwd,
    "stty": stty,
    "kill": kill,
}
"""The scripted programs by name; `docket.kernel.fake.shell` adds ``sh``."""

SYSTEM_FILES: dict[str, bytes] = {
    "/etc/passwd": (
        b"root:x:0:0:root:/root:/bin/sh\ndaemon:x:1:1:daemon:/usr/sbin:/bin/false\nnobody:x:65534:65534:nobody:/:/bin/false\n"
    ),
    "/etc/group": b"root:x:0:\ndaemon:x:1:\nwheel:x:10:root\nusers:x:100:\nnogroup:x:65534:\n",
    "/etc/hostname": b"localhost\n",
    **{f"/bin/{name}": b"\x7fELF" for name in (*PROGRAMS, "sh", "busybox")},
}
"""The files of the small system that layers are seeded with."""
