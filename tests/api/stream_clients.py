"""Clients of byte streams: docker-py, the docker CLI in pipes, and the docker CLI on a terminal of its own."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import termios
import tty
from collections.abc import Iterator
from contextlib import contextmanager

import docker
from docker_daemon import Daemon

IMAGE = "docket/base"
_SECONDS = 30


@contextmanager
def connect(daemon: Daemon) -> Iterator[docker.DockerClient]:
    """A docker-py client of the daemon."""
    client = docker.DockerClient(base_url=daemon.host, timeout=60)
    try:
        yield client
    finally:
        client.close()


def environment_of(daemon: Daemon) -> dict[str, str]:
    return {**os.environ, "DOCKER_HOST": daemon.host, "DOCKER_CONFIG": f"{daemon.root}/client", "TERM": "xterm"}


@contextmanager
def begun(daemon: Daemon, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """The docker CLI with its streams in pipes; killed at the end if it still runs."""
    pipe = subprocess.PIPE
    process = subprocess.Popen(["docker", *arguments], env=environment_of(daemon), stdin=pipe, stdout=pipe, stderr=pipe)
    with process:
        try:
            yield process
        finally:
            process.kill()


class Terminal:
    """The docker CLI on a terminal: what a person would type and see."""

    def __init__(self, daemon: Daemon, *arguments: str, rows: int = 24, columns: int = 80) -> None:
        self._master, slave = pty.openpty()
        tty.setraw(slave)  # the CLI does the same; until then nothing may be echoed or translated
        self.resize(rows, columns, signalled=False)
        self.process = subprocess.Popen(
            ["docker", *arguments],
            env=environment_of(daemon),
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
        )
        os.close(slave)
        self.seen = b""

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._master)

    def resize(self, rows: int, columns: int, *, signalled: bool = True) -> None:
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        if signalled:
            self.process.send_signal(signal.SIGWINCH)

    def type(self, data: bytes) -> None:
        os.write(self._master, data)

    def read_until(self, text: bytes) -> bytes:
        """Read until a text has been seen, and forget everything up to it; returns what came before it."""
        while text not in self.seen:
            assert self._read(), f"the terminal ended; seen: {self.seen!r}"
        before, _, self.seen = self.seen.partition(text)
        return before

    def read_all(self) -> bytes:
        """Everything until the CLI has ended."""
        while self._read():
            pass
        self.process.wait(_SECONDS)
        return self.seen

    def _read(self) -> bool:
        ready, _, _ = select.select([self._master], [], [], _SECONDS)
        assert ready, f"nothing came; seen: {self.seen!r}"
        try:
            data = os.read(self._master, 65_536)
        except OSError:
            return False  # EIO: nobody has the other side open
        self.seen += data
        return bool(data)


def demultiplexed(data: bytes) -> list[tuple[int, bytes]]:
    """The frames of a multiplexed stream."""
    frames = []
    while data:
        length = int.from_bytes(data[4:8], "big")
        frames.append((data[0], data[8 : 8 + length]))
        data = data[8 + length :]
    return frames
