"""The composition root: the only place that chooses adapters."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import msgspec
import trio

from docket.adapters.api.errors import to_response
from docket.adapters.api.info import API_VERSION
from docket.adapters.api.routes import router
from docket.adapters.files.port import ViewedFiles
from docket.adapters.host.inventory import HostInventory
from docket.adapters.http import Listener, Request, Server
from docket.adapters.images.content_store import ContentStore
from docket.adapters.images.layers import OverlaySnapshotter
from docket.adapters.images.layout_index import LayoutIndex
from docket.adapters.images.port import ImageImports
from docket.adapters.images.rootfs import OverlayRootfs
from docket.adapters.logs.reader import FileOutputLogs
from docket.adapters.registry.port import Registries
from docket.domain.drift import DriftWatch
from docket.domain.engine import Engine, Ports
from docket.domain.jobs import JOBS
from docket.domain.jobs.engine import identity_of
from docket.domain.model.engine.settings import EngineSettings
from docket.domain.model.state import EVENT_TYPES
from docket.domain.plan.settings import HostFiles, Places
from docket.domain.ports import Reporter
from docket.event_store.codec import Codec
from docket.event_store.recordings import RecordingLimits
from docket.event_store.sqlite import SqliteEventStore
from docket.kernel.history import KernelHistory
from docket.kernel.linux.kernel import LinuxKernel
from docket.kernel.linux.launching import Launcher
from docket.kernel.linux.sampling import read_text
from docket.kernel.linux.views import LinuxViews
from docket.kernel.recording.kernel import RecordingKernel

_STATE_SCHEMA = 2


class SystemClock:
    """Implements `docket.domain.ports.Clock`."""

    def now_ns(self) -> int:
        return time.time_ns()


class RandomIds:
    """Implements `docket.domain.ports.Ids`."""

    def new(self, digits: int = 64) -> str:
        return secrets.token_hex(digits // 2)


def make_directories(places: Places) -> None:
    """The engine's own directories, with their modes whatever the umask is (S39)."""
    wanted = (
        (places.data_root, 0o710),
        (f"{places.data_root}/containers", 0o710),
        (places.exec_root, 0o711),
        (f"{places.exec_root}/containers", 0o710),
        (f"{places.exec_root}/shims", 0o700),
        (places.rootfs, 0o700),
    )
    for path, mode in wanted:
        Path(path).mkdir(parents=True, exist_ok=True)
        os.chmod(path, mode)


@asynccontextmanager
async def open_engine(places: Places, launcher: Launcher, settings: EngineSettings, report: Reporter) -> AsyncIterator[Engine]:
    """An engine on the real kernel. Raises `StoreRefused` when the log cannot be opened."""
    make_directories(places)
    snapshotter = OverlaySnapshotter(places.data_root)
    content = ContentStore(f"{places.data_root}/content")
    rootfs = OverlayRootfs(snapshotter, lambda reason: report("warning", reason))
    limits = RecordingLimits(settings.recordings_max_bytes, settings.recordings_max_age_seconds)
    log = Path(places.data_root, "log.db")
    with SqliteEventStore(log, Codec(EVENT_TYPES), state_schema=_STATE_SCHEMA, recordings=limits) as store:
        clock, ids = SystemClock(), RandomIds()
        # Engines beside this one have cgroups of their own, also where they see the same path as their data root.
        places = msgspec.structs.replace(places, group=f"docket/{await identity_of(store, clock, ids)}")
        async with LinuxKernel.open(launcher) as kernel, trio.open_nursery() as nursery:
            outputs = FileOutputLogs()
            await nursery.start(outputs.run)
            files = HostFiles(read_text("/etc/resolv.conf"), read_text("/etc/hosts"))
            ports = Ports(
                store,
                RecordingKernel(kernel, store.save_recording, places, files) if limits.max_bytes else kernel,
                clock,
                ids,
                outputs,
                rootfs,
                ImageImports(content, snapshotter),
                places,
                files,
                settings,
                report,
                HostInventory(places, kernel.host().cgroup_root, content, snapshotter),
                Registries(os.environ),
                ViewedFiles(LinuxViews()),
            )
            engine = Engine(ports, nursery, JOBS)
            engine.spawn(rootfs.run)
            engine.spawn(LayoutIndex(engine, content).run)
            engine.spawn(DriftWatch(engine).run)
            yield engine
            engine.save_snapshot()
            nursery.cancel_scope.cancel()
    with suppress(OSError):
        content.close()
        snapshotter.close()


async def serve(
    engine: Engine, listeners: Sequence[Listener], *, task_status: trio.TaskStatus[Server] = trio.TASK_STATUS_IGNORED
) -> None:
    """Serve the API until the server is shut down."""
    headers = [("Api-Version", API_VERSION), ("Ostype", "linux"), ("Docker-Experimental", "false")]
    report = engine.ports.report

    def answered(request: Request, status: int) -> None:
        # Without the query: it may hold what must not be in a log (S54).
        report("debug", f"{request.method} {request.path}", status=status, actor=request.peer.actor)

    server = Server(
        router(engine, KernelHistory()),
        on_error=to_response,
        default_headers=headers,
        server_header="docket",
        log=lambda line: report("error", line),
        answered=answered,
    )
    async with trio.open_nursery() as nursery:
        await nursery.start(server.serve, listeners)
        task_status.started(server)
