"""`AbsentKernel`: stands where the kernel stands while a log is only looked at. It knows a host, and does nothing."""

from __future__ import annotations

from collections.abc import Sequence

from docket.domain.errors import Unavailable
from docket.domain.plan.operations import Operation
from docket.domain.ports import (
    Attachment,
    EventStore,
    Exit,
    Found,
    HostDevice,
    HostFacts,
    Launch,
    Launched,
    ProcessIdentity,
    ProcessRow,
    Remains,
    Statistics,
)
from docket.kernel.recording.format import RecordingInvalid, decode

UNKNOWN_HOST = HostFacts(
    boot_id="", kernel_release="unknown", architecture="unknown", hostname="unknown", operating_system="unknown", cpus=0,
    memory_bytes=0, cgroup_root="", controllers=(), capabilities=0, seccomp=False, apparmor=False,
)  # fmt: skip


def recorded_host(store: EventStore) -> HostFacts:
    """The host that the last recording was made on; an unknown one when there is none that can be read."""
    for job in reversed(store.recorded_jobs()):
        try:
            header, _ = decode(store.recording(job) or b"")
        except RecordingInvalid:
            continue
        return header.host
    return UNKNOWN_HOST


class AbsentKernel:
    """Implements `docket.domain.ports.Kernel`: everything but `host` is unavailable."""

    def __init__(self, host: HostFacts) -> None:
        self._host = host

    def host(self) -> HostFacts:
        return self._host

    async def exists(self, path: str) -> bool:
        raise _absent()

    async def launch(self, launch: Launch) -> Launched:
        raise _absent()

    async def find(self, key: str, directory: str, exit_file: str) -> Found:
        raise _absent()

    async def devices(self, path: str) -> tuple[HostDevice, ...]:
        raise _absent()

    async def remains(self, directories: Sequence[str], paths: Sequence[str]) -> Remains:
        raise _absent()

    async def exited(self, key: str) -> Exit:
        raise _absent()

    async def release(self, key: str, directory: str, exit_file: str, operations: Sequence[Operation]) -> None:
        raise _absent()

    async def configure(self, key: str, operations: Sequence[Operation]) -> None:
        raise _absent()

    async def signal(self, key: str, identity: ProcessIdentity, signal: int) -> bool:
        raise _absent()

    async def freeze(self, cgroup: str) -> None:
        raise _absent()

    async def thaw(self, cgroup: str) -> None:
        raise _absent()

    async def attach(self, key: str, attachment: Attachment) -> None:
        raise _absent()

    async def resize(self, key: str, rows: int, columns: int) -> None:
        raise _absent()

    async def processes(self, cgroup: str) -> tuple[ProcessRow, ...]:
        raise _absent()

    async def statistics(self, cgroup: str, pid: int) -> Statistics:
        raise _absent()


def _absent() -> Unavailable:
    return Unavailable("the log is only looked at: there is no kernel behind it")
