"""The daemon's end of one keeper's control socket; `docket.kernel.shim.keeper` has the messages."""

from __future__ import annotations

import array
import socket
from collections.abc import Sequence
from typing import Any

import msgspec
import trio

from docket.domain.errors import Unavailable
from docket.domain.ports import Attachment, Exit
from docket.kernel.linux.launching import rights_of

_MESSAGE = 262_144


class ShimConnection:
    """What the daemon knows of one process that a shim keeps."""

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self.answered = trio.Event()
        self.answer: dict[str, Any] = {}
        self.ended = trio.Event()
        self.exit: Exit | None = None
        self.broken = ""

    def hear(self, message: dict[str, Any]) -> None:
        """Take in what the shim has told."""
        if "exited" in message:
            told = message["exited"]
            self.exit = Exit(told["code"], told["oom"], told["time_ns"])
            self.ended.set()
        elif "broken" in message:
            self.broken = f" ({message['broken']})"
        else:
            self.answer = message
            self.answered.set()

    def lost(self) -> None:
        """The shim is gone: nobody waits for it any longer."""
        self.answered.set()
        self.ended.set()

    async def listen(self) -> None:
        """Hear what the shim tells until it is gone."""
        decoder = msgspec.json.Decoder(dict[str, Any])
        while True:
            try:
                message = await self.receive()
            except (OSError, trio.ClosedResourceError):
                message = b""
            if not message:
                self.lost()
                return
            self.hear(decoder.decode(message))

    async def attach(self, attachment: Attachment) -> None:
        """Send the client's descriptor to the shim, and close the daemon's own. Raises `Unavailable`."""
        settings = {
            "stdin": attachment.stdin,
            "stdout": attachment.stdout,
            "stderr": attachment.stderr,
            "multiplexed": attachment.multiplexed,
            "detach_keys": attachment.detach_keys.hex(),
            "early": attachment.early.hex(),
            "past_after": attachment.past_after,
        }
        descriptor = attachment.endpoint.fileno().to_bytes(4, "little")
        rights: list[tuple[int, int, bytes | array.array[int]]] = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, descriptor)]
        try:
            await self.send({"attach": settings}, rights)
        except (OSError, trio.ClosedResourceError) as error:
            raise Unavailable("the process has ended") from error
        finally:
            attachment.endpoint.close()

    async def launch(self, control: socket.socket, request: bytes) -> None:
        """Have the shim keep one more process, which is asked by ``control``. Raises as `send`."""
        with rights_of(control, request) as rights:
            await self.send({"launch": True}, rights)

    async def receive(self) -> bytes:
        """The next message; empty when the shim is gone. Raises `OSError` and trio.ClosedResourceError."""
        await trio.lowlevel.wait_readable(self.socket)
        return self.socket.recv(_MESSAGE)

    async def send(self, message: dict[str, Any], rights: Sequence[tuple[int, int, bytes | array.array[int]]] = ()) -> None:
        """Send a message; waits only while the shim has not read the ones before. Raises as `receive`."""
        data = msgspec.json.encode(message)
        while True:
            try:
                self.socket.sendmsg([data], rights)
                return
            except BlockingIOError:
                await trio.lowlevel.wait_writable(self.socket)

    def close(self) -> None:
        """Let the shim go; whoever receives from it is told."""
        trio.lowlevel.notify_closing(self.socket)
        self.socket.close()
