"""docket's side of systemd's D-Bus, against a small systemd that another implementation of the protocol reads and writes for."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from jeepney import DBusAddress, HeaderFields, Message, MessageType, new_error, new_method_return, new_signal
from jeepney.low_level import Parser

from docket.kernel.linux import dbus, systemd

MANAGER = DBusAddress("/org/freedesktop/systemd1", "org.freedesktop.systemd1", "org.freedesktop.systemd1.Manager")
JOB = "/org/freedesktop/systemd1/job/7"
EXISTS = "org.freedesktop.systemd1.UnitExists"


class Systemd:
    """Serves one connection after the other; ``answer`` gives the messages that answer a call."""

    def __init__(self, path: Path) -> None:
        self.calls: list[tuple[str, Any]] = []
        self.answer: Callable[[Message], list[Message]] = lambda call: done(call)
        self.authentication = b"OK 0123456789abcdef0123456789abcdef\r\n"
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                peer, _ = self._listener.accept()
            except OSError:
                return
            with peer:
                self._talk(peer)

    def _talk(self, peer: socket.socket) -> None:
        lines = b""
        while not lines.endswith(b"\r\n"):
            lines += peer.recv(1)
        assert lines.startswith(b"\0AUTH EXTERNAL ")
        peer.sendall(self.authentication)
        begin = b""
        while not begin.endswith(b"\r\n"):
            piece = peer.recv(1)
            if not piece:
                return
            begin += piece
        parser = Parser()
        serial = 0
        while data := peer.recv(65_536):
            parser.add_data(data)
            while (call := parser.get_next_message()) is not None:
                self.calls.append((call.header.fields[HeaderFields.member], call.body))
                for message in self.answer(call):
                    serial += 1
                    # In pieces, as a stream may come.
                    sent = message.serialise(serial)
                    peer.sendall(sent[:20])
                    peer.sendall(sent[20:])

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(10)


def removed(job: str, result: str) -> Message:
    return new_signal(MANAGER, "JobRemoved", "uoss", (7, job, "docket-x.scope", result))


def done(call: Message) -> list[Message]:
    """Other units' jobs end too, and the own one may end before the call is answered."""
    stranger = new_signal(MANAGER, "PropertiesChanged", "sa{sv}as", ("i", {"p": ("d", 0.5)}, []))
    return [
        stranger,
        removed("/org/freedesktop/systemd1/job/6", "failed"),
        removed(JOB, "done"),
        new_method_return(call, "o", (JOB,)),
    ]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Systemd]:
    made = Systemd(tmp_path / "private")
    yield made
    made.close()


@pytest.fixture
def connection(server: Systemd, tmp_path: Path) -> Iterator[dbus.Connection]:
    made = dbus.Connection(str(tmp_path / "private"), 10)
    yield made
    made.close()


def test_a_scope_is_asked_for_as_another_implementation_reads_it(server: Systemd, connection: dbus.Connection) -> None:
    """Its slice, this process, delegation, and no limit of systemd's own; the job's end is waited for."""
    import os

    systemd.start_unit(connection, "docket-x.scope", "a-b.slice")
    [(member, (unit, mode, properties, auxiliary))] = server.calls
    assert (member, unit, mode, auxiliary) == ("StartTransientUnit", "docket-x.scope", "fail", [])
    assert dict(properties) == {
        "Description": ("s", "docket container x"),
        "Slice": ("s", "a-b.slice"),
        "PIDs": ("au", [os.getpid()]),
        "Delegate": ("b", True),
        "TasksMax": ("t", (1 << 64) - 1),
        "CollectMode": ("s", "inactive-or-failed"),
        "DefaultDependencies": ("b", False),
    }


def test_a_unit_that_is_just_ending_is_waited_for(server: Systemd, connection: dbus.Connection) -> None:
    """One that failed is reset, so that its name is free."""
    refused = [True, True]

    def answer(call: Message) -> list[Message]:
        if call.header.fields[HeaderFields.member] == "ResetFailedUnit":
            return [new_error(call, "org.freedesktop.systemd1.NoSuchUnit", "s", ("not loaded",))]
        if refused:
            refused.pop()
            return [new_error(call, EXISTS, "s", ("it exists",))]
        return done(call)

    server.answer = answer
    systemd.start_unit(connection, "docket-x.scope", "system.slice")
    assert [member for member, _ in server.calls] == [
        "StartTransientUnit", "ResetFailedUnit", "StartTransientUnit", "StartTransientUnit",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        (lambda call: [new_method_return(call, "o", (JOB,)), removed(JOB, "failed")], "its job ended as failed"),
        (lambda call: [new_error(call, "org.freedesktop.DBus.Error.AccessDenied", "s", ("no",))], "AccessDenied: no"),
        (lambda call: [new_error(call, "a.b")], "a.b: "),
    ],
)
def test_a_refusal_says_what_systemd_said(
    server: Systemd, connection: dbus.Connection, answers: Callable[[Message], list[Message]], said: str
) -> None:
    """Nothing is taken for a scope that is none."""
    server.answer = answers
    with pytest.raises(dbus.DBusError, match=said):
        systemd.start_unit(connection, "docket-x.scope", "system.slice")


def test_every_type_survives_the_way_to_another_implementation(server: Systemd, connection: dbus.Connection) -> None:
    """Alignment, nested arrays and structures, and variants of them, in both directions."""
    signature = "ybutsoga(sv)a(yav)(ta{})".replace("a{}", "as")
    values = (
        255, True, 1, 1 << 63, "é", "/a/b", "a(sv)", [("k", ("au", [1, 2])), ("l", ("(sb)", ("x", False)))],
        [(1, [("s", "y"), ("t", 5)])], (9, ["", "longer"]),
    )  # fmt: skip
    server.answer = lambda call: [new_method_return(call, signature, call.body)]
    plain = (*values[:7], [("k", [1, 2]), ("l", ("x", False))], [(1, ["y", 5])], (9, ["", "longer"]))
    assert connection.call("n.n", "/", "i.i", "M", signature, *values) == plain
    assert server.calls[0][1] == values


def test_what_is_no_dbus_is_refused(server: Systemd, tmp_path: Path) -> None:
    """A peer that rejects, or ends, or is not there, is a reason and no hang."""
    server.authentication = b"REJECTED EXTERNAL\r\n"
    with pytest.raises(dbus.DBusError, match="authentication was refused: REJECTED"):
        dbus.Connection(str(tmp_path / "private"), 10)
    server.authentication = b"OK 1\r\n"
    server.answer = lambda call: [new_method_return(call, "d", (0.5,))]
    connection = dbus.Connection(str(tmp_path / "private"), 10)
    with pytest.raises(dbus.DBusError, match="unknown type 'd'"):
        connection.call("n.n", "/", "i.i", "M", "")
    connection.close()


def test_a_host_without_systemd_says_so(server: Systemd, tmp_path: Path) -> None:
    """Booted with another init, or with nobody at the socket; the reason is one line."""
    private = str(tmp_path / "private")
    assert "not booted with systemd" in systemd.why_no_systemd(str(tmp_path / "missing"), private)
    assert systemd.why_no_systemd(str(tmp_path), private) == ""
    nobody = systemd.why_no_systemd(str(tmp_path), str(tmp_path / "nobody"))
    assert nobody == f"systemd cannot be reached at {tmp_path}/nobody: No such file or directory"
    assert MessageType.signal.value == dbus.SIGNAL
