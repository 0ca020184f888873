"""The roles that the domain needs filled, and the values that cross them.

Adapters implement these protocols; only the composition root in ``cli/bootstrap.py`` chooses them. A port raises `PortError`
and its subclasses (the store: `StoreError`), never an exception of the library behind it.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from typing import Protocol

import msgspec
import trio

from docket.domain.errors import KernelError
from docket.domain.event_store_port import EventStore as EventStore
from docket.domain.event_store_port import Ticket as Ticket
from docket.domain.image_ports import Images as Images
from docket.domain.image_ports import Ingest as Ingest
from docket.domain.image_ports import LoadedImage as LoadedImage
from docket.domain.image_ports import SavedImage as SavedImage
from docket.domain.image_ports import StoredImage as StoredImage
from docket.domain.image_ports import Swept as Swept
from docket.domain.image_ports import Usage as Usage
from docket.domain.plan.operations import Operation, OperationResult, Plan

# The operator.


class Reporter(Protocol):
    """Lines for the operator, apart from the log of events: ``level`` is debug, info, warning or error."""

    def __call__(self, level: str, message: str, /, **fields: object) -> None: ...


def silent(level: str, message: str, /, **fields: object) -> None:
    """A `Reporter` that nobody listens to."""


# The kernel.


class HostFacts(msgspec.Struct, frozen=True):
    """What the host is, read once when the engine starts."""

    boot_id: str
    kernel_release: str
    architecture: str
    hostname: str
    operating_system: str
    cpus: int
    memory_bytes: int
    cgroup_root: str
    """The mount point of the cgroup2 hierarchy."""
    controllers: tuple[str, ...]
    """The controllers that the cgroup2 hierarchy can give to a child."""
    capabilities: int
    """The engine's own bounding set as a mask: no container can get more."""
    seccomp: bool
    apparmor: bool
    possible_cpus: int = 1
    apparmor_default: bool = False
    """Whether AppArmor has a profile docker-default."""
    time_namespaces: bool = False
    """Linux has them since 5.6, when they were built in."""
    swap_bytes: int = 0
    swap_accounting: bool = True
    """Whether a memory cgroup can limit swap."""
    cgroup_v1_controllers: tuple[str, ...] = ()
    """Controllers that the host has bound to version 1, and that cgroup2 therefore lacks."""
    huge_page_sizes: tuple[str, ...] = ()
    """Such as ``2MB``, as the names of hugetlb's files have them."""
    rdma_devices: tuple[str, ...] = ()


class HostDevice(msgspec.Struct, frozen=True):
    """A device node of the host; ``kind`` is ``b`` or ``c``."""

    path: str
    kind: str
    major: int
    minor: int
    mode: int = 0o600


class ProcessIdentity(msgspec.Struct, frozen=True):
    """Which process it was: a pid alone may be somebody else's by now (S15)."""

    pid: int
    start_time: int
    """Field 22 of /proc/pid/stat: clock ticks after boot."""
    boot_id: str


class LogSettings(msgspec.Struct, frozen=True):
    """Where a container's output is kept: ``path``, then ``path.1`` … up to ``files`` files of at most ``max_bytes``."""

    path: str
    max_bytes: int = 10_000_000
    files: int = 3


class Endpoint(Protocol):
    """One end of a client's byte stream that can be handed to the process's shim; closing it is the shim's from then on."""

    def fileno(self) -> int: ...

    def close(self) -> None: ...


class Attachment(msgspec.Struct, frozen=True):
    """A client attached to the streams of a process."""

    endpoint: Endpoint
    stdin: bool = False
    stdout: bool = True
    stderr: bool = True
    multiplexed: bool = True
    """Frame the output with Docker's 8-byte headers; never with a terminal."""
    detach_keys: bytes = b""
    early: bytes = b""
    """Bytes of stdin that came before the stream was handed over."""
    past_after: int | None = None
    """Send first what the runs behind this one have written to the log (-1: all of it), and lose or repeat nothing at the seam."""


class Launch(msgspec.Struct, frozen=True):
    """Everything that makes one process: a container's init, or an exec in it."""

    key: str
    """The container's or exec's id: what the kernel port knows the process by."""
    plan: Plan
    directory: str
    """The shim's own directory under the exec root, made by the port and removed by `Kernel.release`."""
    exit_file: str
    """Where the exit status is kept until `Kernel.release`: it survives the engine."""
    environment: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ()
    """Replaces the arguments of the plan's `Execve` when it has none."""
    terminal: bool = False
    stdin: bool = False
    stdin_once: bool = False
    log: LogSettings | None = None
    run: int = 0
    """Which run of the container it is; the log tells runs apart by it."""
    attachments: tuple[Attachment, ...] = ()
    cgroup: str = ""
    """The cgroup that the process's out-of-memory kills are read from."""
    beside: str = ""
    """The key of the process whose shim is to keep this one too (an exec's container); empty: a shim of its own."""


class Launched(msgspec.Struct, frozen=True):
    identity: ProcessIdentity
    results: tuple[OperationResult, ...]


class LaunchFailed(KernelError):
    """A plan failed at an operation; everything before it was undone. ``results`` ends with the failed one."""

    def __init__(self, error: KernelError, results: tuple[OperationResult, ...]) -> None:
        super().__init__(error.operation, error.syscall, error.errno, error.path, error.reason)
        self.results = results


class Exit(msgspec.Struct, frozen=True):
    """How a process ended. ``code`` is the exit status, or 128 + the signal that killed it."""

    code: int
    oom_killed: bool = False
    time_ns: int = 0


class Found(msgspec.Struct, frozen=True):
    """What recovery found of a process: it runs (``identity``), or it ended (``exit``), or neither is known."""

    identity: ProcessIdentity | None = None
    exit: Exit | None = None


class Remains(msgspec.Struct, frozen=True):
    """What is left on the host, of processes that run and of some that ended: see `Kernel.remains`."""

    names: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()


class ProcessRow(msgspec.Struct, frozen=True):
    """One process of a container, as ``top`` shows it."""

    pid: int
    parent: int
    uid: int
    command: str
    start_time_ns: int
    cpu_ns: int
    terminal: str


class Statistics(msgspec.Struct, frozen=True):
    """One sample of a cgroup; what no controller measures is None."""

    time_ns: int
    cpu_ns: int | None = None
    cpu_user_ns: int | None = None
    cpu_system_ns: int | None = None
    system_cpu_ns: int = 0
    memory_bytes: int | None = None
    memory_limit_bytes: int | None = None
    memory: dict[str, int] = {}
    pids: int | None = None
    pids_limit: int | None = None
    io: tuple[tuple[int, int, str, int], ...] = ()
    """``(major, minor, op, bytes)``."""
    networks: dict[str, dict[str, int]] = {}
    throttling: tuple[int, int, int] | None = None
    """Periods of the CPU quota, how many of them were throttled, and for how many nanoseconds (cpu.stat)."""
    hugepages: dict[str, dict[str, int]] = {}
    """Of each page size: bytes in use, and how often the limit was hit."""
    rdma: dict[str, dict[str, int]] = {}
    """Of each device: handles and objects in use."""
    pressure: dict[str, dict[str, dict[str, float]]] = {}
    """``cpu memory io`` → ``some full`` → averages in per cent and the total in microseconds (PSI)."""


class Kernel(Protocol):
    """Linux, as far as the engine uses it. Processes are known by the key they were launched with."""

    def host(self) -> HostFacts: ...

    async def exists(self, path: str) -> bool:
        """Whether the host has a file or directory with this path; links are followed."""
        ...

    async def devices(self, path: str) -> tuple[HostDevice, ...]:
        """The device nodes at or below a host path, by path; a link that is ``path`` itself is followed, none below it is."""
        ...

    async def launch(self, launch: Launch) -> Launched:
        """Perform the plan. Raises `LaunchFailed`; then nothing of the plan is left."""
        ...

    async def find(self, key: str, directory: str, exit_file: str) -> Found:
        """Recovery: take up the shim of a process that an earlier engine launched, or what it left behind."""
        ...

    async def remains(self, directories: Sequence[str], paths: Sequence[str]) -> Remains:
        """Recovery: the names of the directories in ``directories``, and which of ``paths`` (files, cgroups) exist; both sorted."""
        ...

    async def exited(self, key: str) -> Exit:
        """Wait until the process has ended and all its output is written. Its clients stay connected until `release`."""
        ...

    async def release(self, key: str, directory: str, exit_file: str, operations: Sequence[Operation]) -> None:
        """The end is in the log: let the clients go, remove the shim's traces and perform the plan's undos."""
        ...

    async def signal(self, key: str, identity: ProcessIdentity, signal: int) -> bool:
        """Send a signal; False when that very process is gone."""
        ...

    async def configure(self, key: str, operations: Sequence[Operation]) -> None:
        """Perform operations for a running process, such as writing its cgroup, up to the first failure. Raises `KernelError`."""
        ...

    async def freeze(self, cgroup: str) -> None: ...

    async def thaw(self, cgroup: str) -> None: ...

    async def attach(self, key: str, attachment: Attachment) -> None: ...

    async def resize(self, key: str, rows: int, columns: int) -> None: ...

    async def processes(self, cgroup: str) -> tuple[ProcessRow, ...]: ...

    async def statistics(self, cgroup: str, pid: int) -> Statistics: ...


# The rest.


class Clock(Protocol):
    def now_ns(self) -> int: ...


class Ids(Protocol):
    """Randomness, which the domain has none of."""

    def new(self, digits: int = 64) -> str:
        """A random id of lower-case hexadecimal digits."""
        ...


class LogEntry(msgspec.Struct, frozen=True):
    """A piece of a container's output. ``stream`` is 1 (stdout) or 2 (stderr); 0 is the beginning of a run (`output_log`)."""

    time_ns: int
    stream: int
    data: bytes
    continues: bool = False
    """The piece continues a line whose beginning was an entry before it."""


class OutputLogs(Protocol):
    """Containers' output as the shims wrote it. Reading costs no more memory than a piece, or a line, however long the log is."""

    def read(self, path: str, *, after_run: int = -1) -> AsyncGenerator[LogEntry, None]:
        """The pieces that have been written, as they were written, by the runs behind ``after_run``."""
        ...

    def lines(
        self, path: str, *, run: int = 0, tail: int | None = None, until: trio.Event | None = None
    ) -> AsyncGenerator[LogEntry, None]:
        """Whole lines, several in one entry where they came together.

        ``run`` is the run that goes on: its unfinished line is held back; 0 when none does. ``tail`` lines from the end at most.
        With ``until`` also the lines to come, until it is set, everything written before that was given, and the rest of an
        unfinished line too; or until the next run begins.
        """
        ...

    async def remove(self, path: str) -> None: ...


class Rootfs(Protocol):
    """Container root filesystems: the unpacked layers of images and the writable layer of each container."""

    def lowerdirs(self, diff_ids: Sequence[str]) -> tuple[str, ...]:
        """The directories of an image's layers, top-most first."""
        ...

    async def remove(self, path: str) -> None:
        """Move a directory out of sight and delete it in the background, never across a mount or a link (S16)."""
        ...


class Belongings(msgspec.Struct, frozen=True):
    """Names of what is on the host in the engine's own places, sorted."""

    containers: tuple[str, ...] = ()
    """Containers' lasting directories."""
    runtimes: tuple[str, ...] = ()
    """Their volatile ones."""
    shims: tuple[str, ...] = ()
    """Directories of shims, by the key of the process."""
    cgroups: tuple[str, ...] = ()
    """Cgroups of containers, those of other engines on the host too."""


class ImageCheck(msgspec.Struct, frozen=True):
    """``damage`` is what is wrong with each image, by id; ``strangers`` are blobs and layers that no image needs."""

    damage: dict[str, tuple[str, ...]] = {}
    strangers: tuple[str, ...] = ()


class Standing(msgspec.Struct, frozen=True):
    """What a process has around itself: the path of its cgroup, and the mount points in its mount namespace."""

    cgroup: str
    mounts: frozenset[str]


class Inventory(Protocol):
    """Looks at what the engine has made, and changes nothing."""

    async def belongings(self) -> Belongings: ...

    async def check_images(self, images: Sequence[StoredImage]) -> ImageCheck:
        """Check blobs and layers of images, every byte against its digest."""
        ...

    async def usage(self, images: Sequence[StoredImage], directories: Sequence[str]) -> Usage:
        """Measure the layers of images, and directories; one that is not there takes nothing."""
        ...

    async def standing(self, identity: ProcessIdentity) -> Standing | None:
        """Where a process stands now; None when that very process has ended."""
        ...
