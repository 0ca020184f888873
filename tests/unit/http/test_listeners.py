"""Addresses the server can listen on, and those it refuses with a sentence."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from docket.adapters.http import Listener, ListenError, TlsConfig, open_listeners


async def close(listeners: list[Listener]) -> None:
    for listener in listeners:
        listener.close()
        listener.close()


@pytest.mark.parametrize(
    "address", ["", "/run/x.sock", "http://localhost:1", "tcp://", "tcp://localhost", "tcp://a:b", "tcp://a:70000"]
)
def test_unusable_addresses_are_refused(address: str) -> None:
    """The sentence names the forms that are possible."""
    with pytest.raises(ListenError, match=r"cannot listen on .*: use "):
        open_listeners(address, insecure_tcp=True)


def test_tcp_without_certificates_is_refused() -> None:
    """Whoever connects is root, so it takes an explicit wish."""
    with pytest.raises(ListenError, match="would be root on this host"):
        open_listeners("tcp://127.0.0.1:0")


def test_unreadable_tls_files_are_named() -> None:
    """A wrong path is found at the start and not at the first connection."""
    with pytest.raises(ListenError, match=r"cannot use the TLS files .*missing-ca"):
        open_listeners("tcp://127.0.0.1:0", tls=TlsConfig("missing-ca", "missing-cert", "missing-key"))


async def test_tcp_listener_knows_its_names() -> None:
    """The bound host and the configured names are known, and the address tells the port the kernel chose."""
    listeners = open_listeners("tcp://127.0.0.1:0", insecure_tcp=True, allowed_hosts=["Engine.Example."])
    assert listeners[0].names == {"127.0.0.1", "engine.example"}
    assert listeners[0].is_tcp
    assert listeners[0].address == f"tcp://127.0.0.1:{listeners[0].socket.getsockname()[1]}"
    await close(listeners)


async def test_a_taken_port_is_a_sentence() -> None:
    """The operating system's reason is passed on."""
    listeners = open_listeners("tcp://127.0.0.1:0", insecure_tcp=True)
    with pytest.raises(ListenError, match="in use"):
        open_listeners(listeners[0].address, insecure_tcp=True)
    await close(listeners)


async def test_unix_listener_removes_its_socket(tmp_path: Path) -> None:
    """Closing takes the file away, and closing again does nothing."""
    path = tmp_path / "s.sock"
    listeners = open_listeners(f"unix://{path}")
    assert path.is_socket()
    assert not listeners[0].is_tcp
    await close(listeners)
    assert not path.exists()


@pytest.mark.parametrize(
    "environ", [{}, {"LISTEN_PID": "1", "LISTEN_FDS": "1"}, {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "0"}]
)
def test_no_passed_sockets(environ: dict[str, str]) -> None:
    """Descriptors meant for another process are not touched."""
    with pytest.raises(ListenError, match="systemd passed no sockets to this process"):
        open_listeners("fd://", environ=environ)


_ADOPT = """
import os, sys, trio
from docket.adapters.http import ListenError, open_listeners
os.dup2(int(sys.argv[1]), 3)
async def main():
    try:
        found = open_listeners("fd://", environ={"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1"})
    except ListenError as error:
        print(error)
    else:
        print(found[0].address, found[0].is_tcp, found[0].socket.getsockname() == os.environ["EXPECTED"], os.get_inheritable(3))
trio.run(main)
"""


def adopt(sock: socket.socket, expected: str = "") -> str:
    """What a fresh process says about a socket passed to it as descriptor 3."""
    return subprocess.run(
        [sys.executable, "-c", _ADOPT, str(sock.fileno())],
        pass_fds=[sock.fileno()],
        env={"EXPECTED": expected},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    ).stdout.strip()


@pytest.mark.slow
def test_passed_sockets_are_adopted(tmp_path: Path) -> None:
    """A listening unix socket is taken as it is, without handing it on to our own children."""
    path = str(tmp_path / "s.sock")
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(path)
        assert "not a listening" in adopt(sock)
        sock.listen(1)
        assert adopt(sock, path) == "fd://3 False True False"


@pytest.mark.slow
def test_passed_tcp_sockets_need_certificates_too() -> None:
    """Socket activation is no way around the rule for TCP."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        assert "would be root on this host" in adopt(sock)
