"""``docket daemon``: compose the engine, recover, serve, and end when told to. Containers live on.

    options ► pid file ► log opened, state folded ► recovery ► sockets ► serving … SIGTERM or SIGINT
                                                                 └ SIGHUP: settings are read again

Whatever stops a start is one line on standard error and exit code 1.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from docket.kernel.linux.launching import Launcher

if TYPE_CHECKING:
    import trio

    from docket.adapters.http import Listener, Server
    from docket.cli.daemon_log import DaemonLog
    from docket.cli.daemon_options import DaemonOptions
    from docket.domain.engine import Engine

_OLDEST_KERNEL = (5, 12)
"""mount_setattr(2), for mounts that are made read-only with all that is below them."""


def run(flags: dict[str, Any], given: frozenset[str]) -> int:
    """Run the daemon with flags as the command line gave them; returns its exit status."""
    from docket.cli.daemon_options import OptionsRefused, read_options

    read = partial(read_options, flags, given)
    if flags["validate"]:
        try:
            read()
        except OptionsRefused as error:
            return _refuse(str(error), error.status)
        sys.stderr.write("configuration OK\n")
        return 0
    reason = _why_not_here()
    if reason:
        return _refuse(reason)
    _keep_passed_sockets()
    launcher = Launcher()  # before anything that starts a thread
    try:
        options = read()
    except OptionsRefused as error:
        launcher.close()
        return _refuse(str(error), error.status)
    return _serve(options, read, launcher)


def _why_not_here() -> str:
    if os.geteuid() != 0:
        return "the daemon needs root: it makes namespaces, mounts and cgroups"
    release = os.uname().release
    numbers = [int(part) if part.isdigit() else 0 for part in release.partition("-")[0].split(".")[:2]]
    if tuple(numbers) < _OLDEST_KERNEL:
        oldest = ".".join(str(number) for number in _OLDEST_KERNEL)
        return f"this kernel is Linux {release}, docket needs {oldest} or newer (mount_setattr): boot a newer kernel"
    return ""


def _keep_passed_sockets() -> None:
    """Sockets that systemd passes are the daemon's: launcher, shims and containers must not inherit them."""
    count = os.environ.get("LISTEN_FDS", "")
    if os.environ.get("LISTEN_PID") == str(os.getpid()) and count.isascii() and count.isdigit():
        for descriptor in range(3, 3 + int(count)):
            os.set_inheritable(descriptor, False)


def _serve(options: DaemonOptions, read: Callable[[], DaemonOptions], launcher: Launcher) -> int:
    import trio

    from docket.adapters.http import ListenError
    from docket.cli.daemon_log import DaemonLog
    from docket.cli.pidfile import remove_pidfile, write_pidfile
    from docket.domain.errors import PortError, StoreError

    log = DaemonLog(options.settings.log_level)
    log.take_library_logs()
    status = 0
    try:
        if options.pidfile:
            write_pidfile(options.pidfile)
        trio.run(_main, options, read, launcher, log)
    except* (StoreError, PortError, ListenError, OSError) as group:
        status = _refuse(str(_first(group)))
    finally:
        launcher.close()
        if options.pidfile:
            remove_pidfile(options.pidfile)
    return status


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _refuse(message: str, status: int = 1) -> int:
    sys.stderr.write(f"docket daemon: {message}\n")
    return status


async def _main(options: DaemonOptions, read: Callable[[], DaemonOptions], launcher: Launcher, log: DaemonLog) -> None:
    import trio

    from docket import __version__
    from docket.cli.bootstrap import make_directories, open_engine
    from docket.domain.plan.settings import Places
    from docket.domain.sweeping import sweep_later

    log("info", "Starting up", version=__version__, pid=os.getpid(), data_root=options.data_root, config=options.config_file)
    places = Places(options.data_root, options.exec_root)
    make_directories(places)
    if options.settings.id_maps is not None:
        _require_id_mapping(options)
    if options.settings.cgroup_driver == "systemd":
        _require_systemd()
    launcher.rehearse(f"{places.exec_root}/rehearsal")
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
        async with open_engine(places, launcher, options.settings, log) as engine:
            await _recover(engine, log)
            listeners = _listen(options, engine)
            async with trio.open_nursery() as nursery:
                server: Server = await nursery.start(_run_api, engine, listeners)
                for listener in listeners:
                    log("info", f"API listen on {listener.address}")
                log("info", "Daemon has completed initialization")
                engine.spawn(sweep_later, engine)  # blobs and layers that came under a job which the last engine did not end
                await _until_told_to_end(signals, engine, read, log)
                nursery.start_soon(_cut_at_the_second, signals, nursery)
                await server.shutdown(deadline_seconds=engine.settings.shutdown_timeout_seconds)
                nursery.cancel_scope.cancel()
    log("info", "Daemon shutdown complete")


def _require_id_mapping(options: DaemonOptions) -> None:
    """Refuse at once what would fail at every start of a container. Raises `Unavailable`."""
    from docket.domain.errors import Unavailable
    from docket.kernel.linux.id_mapping import why_not_mapped

    reason = why_not_mapped(f"{options.data_root}/containers")
    if reason:
        needed = "id-mapped mounts need Linux 5.19 and a filesystem that has them, such as ext4, xfs or btrfs"
        raise Unavailable(f"userns-remap: {options.data_root} cannot have other ids: {reason}: {needed}")


def _require_systemd() -> None:
    """Raises `Unavailable`."""
    from docket.domain.errors import Unavailable
    from docket.kernel.linux.facts import cgroup_root
    from docket.kernel.linux.systemd import why_no_systemd

    reason = why_no_systemd() or ("" if cgroup_root() else "no cgroup2 hierarchy is mounted")
    if reason:
        raise Unavailable(f"native.cgroupdriver=systemd: {reason}: use native.cgroupdriver=cgroupfs")


async def _recover(engine: Engine, log: DaemonLog) -> None:
    from docket.domain.jobs.images import ensure_base
    from docket.domain.recovery import recover
    from docket.domain.verification import verify_log

    before = engine.state.position
    open_jobs = len(engine.state.jobs)
    await recover(engine)
    state = engine.state
    log(
        "info",
        "Recovery done",
        id=state.engine,
        events=state.position,
        containers=len(state.containers),
        running=sum(container.alive for container in state.containers.values()),
        settled=state.position - before,
        interrupted_jobs=open_jobs,
    )
    await ensure_base(engine, engine.job("import", ("docket/base",), "engine"))
    engine.spawn(verify_log, engine)
    engine.compaction.consider()


def _listen(options: DaemonOptions, engine: Engine) -> list[Listener]:
    """Open every address, or none. Raises `ListenError`."""
    import msgspec

    from docket.adapters.http import TlsConfig, open_listeners

    tls = TlsConfig(options.tlscacert, options.tlscert, options.tlskey) if options.tls else None
    group = int(options.group) if options.group.isascii() and options.group.isdigit() else options.group or None
    listeners: list[Listener] = []
    try:
        for address in options.hosts:
            listeners += open_listeners(address, tls=tls, insecure_tcp=options.insecure_tcp, socket_group=group)
    except BaseException:
        for listener in listeners:
            listener.close()
        raise
    anybody = tuple(listener.address for listener in listeners if listener.is_open_to_anybody)
    engine.settings = msgspec.structs.replace(engine.settings, open_addresses=anybody)
    return listeners


async def _run_api(engine: Engine, listeners: list[Listener], *, task_status: trio.TaskStatus[Server]) -> None:
    from docket.cli.bootstrap import serve

    job = engine.job("serveapi", [listener.address for listener in listeners], "engine")
    job.request = partial(serve, engine, listeners, task_status=task_status)
    await engine.run(job)


async def _until_told_to_end(
    signals: AsyncIterator[int], engine: Engine, read: Callable[[], DaemonOptions], log: DaemonLog
) -> None:
    async for number in signals:
        if number != signal.SIGHUP:
            log("info", f"Processing signal '{signal.strsignal(number)}'")
            return
        await _reload(engine, read, log)


async def _cut_at_the_second(signals: AsyncIterator[int], nursery: trio.Nursery) -> None:
    async for number in signals:
        if number != signal.SIGHUP:
            nursery.cancel_scope.cancel()


async def _reload(engine: Engine, read: Callable[[], DaemonOptions], log: DaemonLog) -> None:
    """Read the settings again. What is wrong with them is logged, and everything stays as it was."""
    import msgspec

    from docket.cli.daemon_options import OptionsRefused
    from docket.domain.errors import StoreError
    from docket.domain.model.engine.settings import RELOADABLE

    try:
        options = read()
        log("info", "Got signal to reload configuration", config=options.config_file)
        await engine.run(engine.job("reload", (options.config_file,), "engine", options.settings))
    except (OptionsRefused, StoreError) as error:
        log("error", "Error reconfiguring the daemon", error=error)
        return
    log.set_level(engine.settings.log_level)
    shown = {name.removesuffix("_seconds").replace("_", "-"): getattr(engine.settings, name) for name in RELOADABLE}
    log("info", f"Reloaded configuration: {msgspec.json.encode(shown).decode()}")
