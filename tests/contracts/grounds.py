"""Hosts below the kernels of the contract: the fake's model, and a temporary directory of the real one.

A `Ground` makes layers and files, and gives clients; it is the same for every kernel, so that a contract is written once.
"""

from __future__ import annotations

import shutil
import socket
from pathlib import Path
from typing import Protocol

import pytest
import trio

from docket.domain.output_log import BLOCK_BYTES, records
from docket.domain.ports import Endpoint, Kernel
from docket.kernel.fake.filesystem import File
from docket.kernel.fake.kernel import FakeKernel
from docket.kernel.fake.programs import SYSTEM_FILES
from docket.kernel.fake.streams import FakeEndpoint


class Client(Protocol):
    """The client's end of a connection, and the end that is handed over."""

    @property
    def endpoint(self) -> Endpoint: ...

    def send(self, data: bytes) -> None: ...

    def send_eof(self) -> None: ...

    async def receive_some(self) -> bytes: ...

    async def receive_all(self) -> bytes: ...

    def disconnected(self) -> bool:
        """Whether the other side has closed the connection, as of now."""
        ...


class Ground(Protocol):
    """The host below a kernel."""

    kernel: Kernel
    root: str
    """A directory that exists, for the engine's data root."""

    def layer(self) -> str:
        """A new layer directory with a small system; returns its path."""
        ...

    def make_directory(self, path: str) -> None: ...

    def write(self, path: str, content: bytes, mode: int = 0o644) -> None: ...

    def read(self, path: str) -> bytes: ...

    def exists(self, path: str) -> bool: ...

    def client(self) -> Client: ...

    def logged(self, path: str) -> list[tuple[int, bytes]]:
        """A log's records: stream and data."""
        ...

    def strays(self) -> list[str]:
        """Mounts in the host's namespace that were not there at first."""
        ...


class FakeClient:
    """A `FakeEndpoint`, from the client's side."""

    def __init__(self) -> None:
        self.endpoint = FakeEndpoint()
        self.send = self.endpoint.send
        self.send_eof = self.endpoint.send_eof
        self.receive_some = self.endpoint.receive_some
        self.receive_all = self.endpoint.receive_all

    def disconnected(self) -> bool:
        return self.endpoint.closed


class FakeGround:
    """The host of a fake kernel."""

    def __init__(self, kernel: FakeKernel) -> None:
        self.kernel = kernel
        self.root = "/var/lib/docket"
        self._layers = 0

    def layer(self) -> str:
        self._layers += 1
        return self.kernel.make_layer(f"/var/lib/docket/layers/{self._layers}")

    def make_directory(self, path: str) -> None:
        self.kernel.make_layer(path, system=False)

    def write(self, path: str, content: bytes, mode: int = 0o644) -> None:
        self.kernel.seed_host({path: File(mode, content)})

    def read(self, path: str) -> bytes:
        if path.startswith(self.kernel.host().cgroup_root):
            return self.kernel.model.cgroups.read(*path.rsplit("/", 1)).encode()
        return self.kernel.read_file(path)

    def exists(self, path: str) -> bool:
        if path.startswith(self.kernel.host().cgroup_root):
            return self.kernel.model.cgroups.exists(path)
        return self.kernel.has(path)

    def client(self) -> Client:
        return FakeClient()

    def logged(self, path: str) -> list[tuple[int, bytes]]:
        entries = self.kernel.logs.entries(path)
        return [(entry.stream, entry.data) for entry in entries]

    def strays(self) -> list[str]:
        return self.kernel.model.host_mounts.strays


class SocketClient:
    """A client on a socket pair."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        self.endpoint: Endpoint = theirs
        self._stream = trio.SocketStream(trio.socket.from_stdlib_socket(ours))
        self._socket = ours

    def send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def send_eof(self) -> None:
        self._socket.shutdown(socket.SHUT_WR)

    async def receive_some(self) -> bytes:
        return bytes(await self._stream.receive_some(65_536))

    async def receive_all(self) -> bytes:
        chunks = []
        while chunk := await self.receive_some():
            chunks.append(chunk)
        return b"".join(chunks)

    def disconnected(self) -> bool:
        try:
            return not self._socket.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False


class LinuxGround:
    """The real host, below a temporary directory."""

    def __init__(self, kernel: Kernel, directory: Path) -> None:
        self.kernel = kernel
        self.root = str(directory)
        self._layers = 0
        self._mounts = self._mountinfo()

    def layer(self) -> str:
        self._layers += 1
        layer = Path(self.root, "layers", str(self._layers))
        for name in ("bin", "dev", "proc", "sys", "tmp", "root", "etc"):
            (layer / name).mkdir(parents=True)
        busybox = shutil.which("busybox")
        if busybox is None:
            pytest.skip("needs a static busybox: install it")
        shutil.copy(busybox, layer / "bin/busybox")
        for path, content in SYSTEM_FILES.items():
            if path.startswith("/bin/") and path != "/bin/busybox":
                (layer / path[1:]).symlink_to("busybox")
            elif not path.startswith("/bin/"):
                (layer / path[1:]).write_bytes(content)
        return str(layer)

    def make_directory(self, path: str) -> None:
        Path(path).mkdir(parents=True)

    def write(self, path: str, content: bytes, mode: int = 0o644) -> None:
        Path(path).write_bytes(content)
        Path(path).chmod(mode)

    def read(self, path: str) -> bytes:
        return Path(path).read_bytes()

    def exists(self, path: str) -> bool:
        return Path(path).exists()

    def client(self) -> Client:
        return SocketClient()

    def logged(self, path: str) -> list[tuple[int, bytes]]:
        data = Path(path).read_bytes()
        blocks = (data[start : start + BLOCK_BYTES] for start in range(0, len(data), BLOCK_BYTES))
        return [(stream, piece) for block in blocks for _, _, stream, _, piece in records(block)]

    def strays(self) -> list[str]:
        return sorted(self._mountinfo() - self._mounts)

    @staticmethod
    def _mountinfo() -> set[str]:
        return set(Path("/proc/self/mounts").read_text().splitlines())
