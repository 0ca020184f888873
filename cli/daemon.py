"""``docket daemon``: compose the engine, recover, serve, and end when told to. Containers live on."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from docket.kernel.linux.launching import Launcher

if TYPE_CHECKING:
    from docket.adapters.http import Server, TlsConfig

DEFAULT_SOCKET = "unix:///run/docket/docket.sock"


def run(options: dict[str, Any]) -> int:
    """Run the daemon with parsed options; returns its exit status."""
    if os.geteuid() != 0:
        return _refuse("the daemon needs root: it makes namespaces, mounts and cgroups")
    launcher = Launcher()  # before anything that starts a thread
    import trio

    from docket.adapters.http import ListenError
    from docket.domain.errors import PortError, StoreError

    status = 0
    try:
        trio.run(_main, options, launcher)
    except* (StoreError, PortError, ListenError, OSError) as group:
        status = _refuse(str(_first(group)))
    return status


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _refuse(message: str) -> int:
    sys.stderr.write(f"docket daemon: {message}\n")
    return 1


def _tls(options: dict[str, Any]) -> TlsConfig | None:
    from docket.adapters.http import TlsConfig

    if not options.get("tlsverify"):
        return None
    return TlsConfig(options["tlscacert"], options["tlscert"], options["tlskey"])


async def _main(options: dict[str, Any], launcher: Launcher) -> None:
    import trio

    from docket.adapters.http import open_listeners
    from docket.cli.bootstrap import make_directories, open_engine, serve
    from docket.domain.jobs.images import ensure_base
    from docket.domain.plan.settings import Places
    from docket.domain.recovery import recover

    places = Places(options.get("data_root") or "/var/lib/docket", options.get("exec_root") or "/run/docket")
    make_directories(places)
    launcher.rehearse(f"{places.exec_root}/rehearsal")
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async with open_engine(places, launcher) as engine:
            await recover(engine)
            await ensure_base(engine, engine.job("import", ("docket/base",), "engine"))
            listeners = [
                listener
                for address in options.get("hosts") or [DEFAULT_SOCKET]
                for listener in open_listeners(
                    address,
                    tls=_tls(options),
                    insecure_tcp=bool(options.get("insecure_tcp")),
                    socket_group=options.get("group") or None,
                )
            ]
            pidfile = options.get("pidfile")
            if pidfile:
                with open(pidfile, "w", encoding="ascii") as file:
                    file.write(f"{os.getpid()}\n")

            async def serveapi(task_status: trio.TaskStatus[Server]) -> None:
                job = engine.job("serveapi", [listener.address for listener in listeners], "engine")
                job.request = partial(serve, engine, listeners, task_status=task_status)
                await engine.run(job)

            async with trio.open_nursery() as nursery:
                server = await nursery.start(serveapi)
                async for _ in signals:
                    break
                await server.shutdown(deadline_seconds=2)
            if pidfile:
                with suppress(FileNotFoundError):
                    os.unlink(pidfile)
