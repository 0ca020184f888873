"""``sh -c``: the few words of it that tests write.

Commands separated by ``;``, ``&``, ``&&``, ``||`` or new lines; ``>``, ``>>`` to a file and ``>&2``; ``$NAME ${NAME} $$ $? $!``;
the builtins ``exit cd read trap wait umask exec : export``. Quoting joins words, but does not protect ``$``, or a separator that
stands alone. Traps run between commands and interrupt ``wait``, as in a real shell: ``sleep`` in the foreground is waited for.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable

import trio

from docket.kernel.fake.linux_errno import ENOENT, CallFailed, strerror
from docket.kernel.fake.programs import SIGNAL_NAMES, Running

_SEPARATORS = frozenset({";", "&", "&&", "||", "\n"})
_VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+)|([$?!]))")
_NOT_EXECUTABLE = 126
_NOT_FOUND = 127


class _Exit(Exception):
    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


async def sh(running: Running) -> int:
    """The program: ``sh -c SCRIPT [NAME]``, or ``sh`` with commands from its input."""
    shell = _Shell(running)
    try:
        if running.args[1:2] == ["-c"] and len(running.args) > 2:
            await shell.run(running.args[2])
        else:
            while line := await running.read_line():
                await shell.run(line.decode(errors="replace"))
    except _Exit as end:
        return end.status
    return shell.status


class _Shell:
    def __init__(self, running: Running) -> None:
        self._running = running
        self.status = 0
        self._background: list[Running] = []
        self._trapped: list[int] = []
        self._traps: dict[int, str] = {}
        self._interrupt = trio.Event()

    async def run(self, script: str) -> None:
        """Run a script. Raises `_Exit`."""
        command: list[str] = []
        skip = False
        for token in [*_tokens(script), ";"]:
            if token not in _SEPARATORS:
                command.append(token)
                continue
            if command and not skip:
                await (self._start(command) if token == "&" else self._command(command))
            skip = (token == "&&" and self.status != 0) or (token == "||" and self.status == 0)
            command = []
            await self._run_traps()

    async def _run_traps(self) -> None:
        while self._trapped:
            await self.run(self._traps[self._trapped.pop(0)])

    async def _command(self, words: list[str]) -> None:
        words = [self._expanded(word) for word in words]
        words, redirect = _redirection(words)
        if not words:
            words = [":"]
        assignment = re.fullmatch(r"(\w+)=(.*)", words[0], re.DOTALL)
        if assignment:
            self._running.process.environment[assignment[1]] = assignment[2]
            return
        written = bytearray()
        if redirect is not None:
            self._running.stdout = written.extend
        try:
            self.status = await self._perform(words)
        finally:
            self._running.stdout = None
        if redirect is not None:
            self._redirect(redirect, bytes(written))
        await self._running.going()
        await trio.lowlevel.checkpoint()

    def _redirect(self, target: tuple[str, str], data: bytes) -> None:
        operator, path = target
        if operator == ">&":
            self._running.streams.write(2 if path == "2" else 1, data)
            return
        process, system = self._running.process, self._running.system
        try:
            before = system.read(process, path) if operator == ">>" else b""
        except CallFailed as failure:
            before = b""
            if failure.errno != ENOENT:
                raise
        try:
            system.write(process, path, before + data)
        except CallFailed as failure:
            self._running.err(f"sh: can't create {path}: {strerror(failure.errno)}\n")
            self.status = 1

    async def _perform(self, words: list[str]) -> int:
        builtins: dict[str, Callable[[list[str]], int]] = {
            ":": lambda _: 0,
            "export": self._export,
            "exit": self._exit,
            "cd": self._cd,
            "trap": self._trap,
            "umask": self._umask,
        }
        if words[0] in builtins:
            return builtins[words[0]](words[1:])
        if words[0] == "read":
            return await self._read(words[1:])
        if words[0] == "wait":
            return await self._wait()
        if words[0] == "exec":
            raise _Exit(await self._program(words[1:]))
        return await self._program(words)

    async def _program(self, words: list[str]) -> int:
        running = self._running
        try:
            running.system.executable(running.process, words[0], running.process.environment)
        except CallFailed as failure:
            missing = failure.errno == ENOENT
            running.err(f"sh: {words[0]}: {'not found' if missing else strerror(failure.errno)}\n")
            return _NOT_FOUND if missing else _NOT_EXECUTABLE
        program = running.find(words[0].rpartition("/")[2])
        if program is None:
            running.err(f"sh: {words[0]}: Exec format error\n")
            return _NOT_EXECUTABLE
        outer, running.args = running.args, words
        try:
            return await program(running)
        finally:
            running.args = outer

    async def _start(self, words: list[str]) -> None:
        self._background.append(self._running.system.spawn(self._running, [self._expanded(word) for word in words]))
        await trio.lowlevel.checkpoint()

    async def _wait(self) -> int:
        for child in self._background:
            while child.process.alive:
                if self._trapped:
                    return 128 + self._trapped[0]
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(_first, child.process.ended, nursery.cancel_scope)
                    nursery.start_soon(_first, self._interrupt, nursery.cancel_scope)
        return 0

    async def _read(self, names: list[str]) -> int:
        line = await self._running.read_line()
        self._running.process.environment[names[0] if names else "REPLY"] = line.decode(errors="replace").rstrip("\n")
        return 0 if line.endswith(b"\n") else 1

    def _exit(self, words: list[str]) -> int:
        raise _Exit(int(words[0]) & 0xFF if words else self.status)

    def _export(self, words: list[str]) -> int:
        for word in words:
            name, equals, value = word.partition("=")
            if equals:
                self._running.process.environment[name] = value
        return 0

    def _cd(self, words: list[str]) -> int:
        try:
            self._running.system.change_directory(self._running.process, words[0] if words else "/")
        except CallFailed as failure:
            self._running.err(f"sh: cd: can't cd to {words[0]}: {strerror(failure.errno)}\n")
            return 1
        return 0

    def _umask(self, words: list[str]) -> int:
        if words:
            self._running.process.umask = int(words[0], 8)
        else:
            self._running.out(f"{self._running.process.umask:04o}\n")
        return 0

    def _trap(self, words: list[str]) -> int:
        for name in words[1:]:
            signal = SIGNAL_NAMES.get(name.removeprefix("SIG")) or int(name)
            self._traps[signal] = words[0]
            self._running.process.handlers[signal] = self._caught
        return 0

    def _caught(self, signal: int) -> None:
        if self._traps[signal]:
            self._trapped.append(signal)
            self._interrupt.set()
            self._interrupt = trio.Event()

    def _expanded(self, word: str) -> str:
        def value(match: re.Match[str]) -> str:
            special = {
                "$": lambda: str(self._running.process.inner_pid),
                "?": lambda: str(self.status),
                "!": lambda: str(self._background[-1].process.inner_pid) if self._background else "",
            }
            if match[3]:
                return special[match[3]]()
            return self._running.process.environment.get(match[1] or match[2], "")

        return _VARIABLE.sub(value, word)


async def _first(event: trio.Event, scope: trio.CancelScope) -> None:
    await event.wait()
    scope.cancel()


def _tokens(script: str) -> list[str]:
    lexer = shlex.shlex(script.replace("\n", " ; "), posix=True, punctuation_chars=";&|<>")
    lexer.whitespace_split = True
    lexer.commenters = ""
    return list(lexer)


def _redirection(words: list[str]) -> tuple[list[str], tuple[str, str] | None]:
    for operator in (">", ">>", ">&"):
        if operator in words:
            at = words.index(operator)
            return words[:at] + words[at + 2 :], (operator, words[at + 1])
    return words, None
