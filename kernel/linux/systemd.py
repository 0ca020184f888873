"""Scopes of systemd: a container's part of the cgroup tree, asked of the one who manages the tree.

    <slice>/docket-<id>.scope/            made by systemd, which leaves alone what is in it (Delegate=yes)
    <slice>/docket-<id>.scope/shim        the shim, without which systemd would have no process to make the scope of
    <slice>/docket-<id>.scope/container   the container, with its limits; made by docket as with cgroupfs

systemd removes a scope when its last process has ended, so nobody has to: the shim is in it as long as the container is, and reads
of out-of-memory kills before it goes. Only a group with no processes of its own hands controllers on, hence the two groups.
The shim ignores SIGTERM: whoever stops the scope ends the container, whose end the shim still has to tell.

It speaks to systemd's own socket (systemd(1), /run/systemd/private), as systemctl does for root: no bus need run. There, signals
are sent to everybody, without a subscription.
"""

from __future__ import annotations

import _signal
import os
from errno import EIO, ENOENT, ETIMEDOUT
from typing import Any

from docket.kernel.linux import dbus
from docket.kernel.linux.context import Context
from docket.kernel.linux.host import nap, read_small_file, write_control
from docket.kernel.linux.syscalls import SyscallError

BOOTED = "/run/systemd/system"
"""sd_booted(3): the directory is there when systemd is the init."""
SOCKET = "/run/systemd/private"
_SECONDS = 30.0
_NAME, _PATH, _MANAGER = "org.freedesktop.systemd1", "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager"
_UNIT_EXISTS = "org.freedesktop.systemd1.UnitExists"
_ATTEMPTS = 500
"""How often a scope of an earlier run that is just ending is waited for, some milliseconds each time."""
_NO_LIMIT = (1 << 64) - 1


def why_no_systemd(booted: str = BOOTED, socket: str = SOCKET) -> str:
    """Why no scopes can be asked of systemd here; empty when they can."""
    if not os.path.isdir(booted):
        return f"this host was not booted with systemd: there is no {booted}"
    try:
        dbus.Connection(socket, _SECONDS).close()
    except (OSError, dbus.DBusError) as error:
        return f"systemd cannot be reached at {socket}: {getattr(error, 'strerror', None) or error}"
    return ""


def start_scope(context: Context, path: str, unit: str, slice_: str) -> None:
    """Put this process into a new scope ``unit`` below ``slice_``, which must come to lie at ``path``, and there into ``shim``."""
    home = own_cgroup()
    _signal.signal(_signal.SIGTERM, _signal.SIG_IGN)
    try:
        connection = dbus.Connection(SOCKET, _SECONDS)
        try:
            start_unit(connection, unit, slice_)
        finally:
            connection.close()
    except dbus.DBusError as error:
        raise SyscallError(f"systemd did not start {unit}: {error}", EIO) from error
    except TimeoutError as error:
        raise SyscallError(f"systemd did not start {unit} within {_SECONDS:.0f} seconds", ETIMEDOUT) from error
    except OSError as error:
        raise SyscallError("connect", error.errno or ENOENT, SOCKET) from error
    given = own_cgroup()
    if not path.endswith(given) or given == "/":
        raise SyscallError(f"systemd put {unit} at {given} and not at {path}", EIO)
    context.home_cgroup = f"{path.removesuffix(given)}{home}".rstrip("/")
    os.mkdir(f"{path}/shim", 0o755)
    write_control(f"{path}/shim/cgroup.procs", "0")


def own_cgroup() -> str:
    """This process's cgroup, below the root of the hierarchy."""
    for line in read_small_file("/proc/self/cgroup").splitlines():
        if line.startswith("0::"):
            return line[3:]
    raise SyscallError("open", ENOENT, "/proc/self/cgroup")


def start_unit(connection: dbus.Connection, unit: str, slice_: str) -> None:
    """StartTransientUnit, and the end of its job (org.freedesktop.systemd1(5)). Raises `DBusError` and `OSError`."""
    for attempt in range(_ATTEMPTS):
        try:
            (job,) = _manager(connection, "StartTransientUnit", "ssa(sv)a(sa(sv))", unit, "fail", _properties(unit, slice_), [])
            break
        except dbus.DBusError as error:
            if error.name != _UNIT_EXISTS or attempt == _ATTEMPTS - 1:
                raise
            if attempt == 0:
                _forget_failed(connection, unit)
            nap()
    while True:
        message = connection.signal()
        if message.member == "JobRemoved" and message.body[1] == job:
            if message.body[3] != "done":
                raise dbus.DBusError("", f"its job ended as {message.body[3]}")
            return


def _forget_failed(connection: dbus.Connection, unit: str) -> None:
    """A unit that failed stays known by its name until it is reset; one that is only just ending refuses, and is waited for."""
    try:
        _manager(connection, "ResetFailedUnit", "s", unit)
    except dbus.DBusError:
        return


def _manager(connection: dbus.Connection, member: str, signature: str, *values: Any) -> tuple[Any, ...]:
    return connection.call(_NAME, _PATH, _MANAGER, member, signature, *values)


def _properties(unit: str, slice_: str) -> list[tuple[str, tuple[str, Any]]]:
    """No limit is systemd's: TasksMax would be a share of the machine's by default. Failed scopes are not kept to be looked at."""
    return [
        ("Description", ("s", f"docket container {unit.removeprefix('docket-').removesuffix('.scope')[:12]}")),
        ("Slice", ("s", slice_)),
        ("PIDs", ("au", [os.getpid()])),
        ("Delegate", ("b", True)),
        ("TasksMax", ("t", _NO_LIMIT)),
        ("CollectMode", ("s", "inactive-or-failed")),
        ("DefaultDependencies", ("b", False)),
    ]


def leave_scope(context: Context) -> None:
    """Go back to where this process came from, so that the scope ends now, while the process may still have clients to serve.

    Where that group is gone, or takes no process any more, the scope lasts as long as the process.
    """
    if not context.home_cgroup:
        return
    home, context.home_cgroup = context.home_cgroup, ""
    try:
        write_control(f"{home}/cgroup.procs", "0")
    except SyscallError:
        return
