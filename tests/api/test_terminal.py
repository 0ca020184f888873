"""Containers and execs with a terminal, driven by the docker CLI on a terminal of its own."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator

import docker
import pytest
from docker_daemon import Daemon
from stream_clients import IMAGE, Terminal, connect

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(shutil.which("docker") is None, reason="no docker CLI is installed"),
]


@pytest.fixture(scope="module")
def client(daemon: Daemon) -> Iterator[docker.DockerClient]:
    with connect(daemon) as made:
        yield made


def test_a_shell_on_a_terminal(daemon: Daemon) -> None:
    """Echo, a prompt, the size, the exit code: what a person expects of `docker run -it`."""
    with Terminal(daemon, "run", "--rm", "-it", IMAGE, "sh", rows=33, columns=101) as terminal:
        terminal.read_until(b"# ")
        terminal.type(b"tty; stty size; echo $TERM\r")
        shown = terminal.read_until(b"xterm\r\n").decode()
        assert "/dev/pts/0\r\n33 101\r\n" in shown
        terminal.type(b"exit 7\r")
        terminal.read_all()
        assert terminal.process.returncode == 7


def test_the_size_follows_the_clients_window(daemon: Daemon) -> None:
    """`docker run -it` and `docker exec -it` pass SIGWINCH on."""
    daemon.out("run", "-d", "--name", "sized", IMAGE, "sleep", "1000")
    script = "trap 'stty size' WINCH; stty size; while :; do sleep 0.02; done"
    for command in (["run", "--rm", "-it", IMAGE], ["exec", "-it", "sized"]):
        with Terminal(daemon, *command, "sh", "-c", script, rows=20, columns=60) as terminal:
            terminal.read_until(b"20 60\r\n")
            size = b""
            while size != b"41 132":  # the CLI's own first request may come late and undo the second
                terminal.resize(41, 132)
                size = terminal.read_until(b"\r\n")
            terminal.type(b"\x03")
            terminal.read_all()


@pytest.mark.parametrize("command", ["run", "exec"])
def test_ctrl_c_interrupts_the_process(daemon: Daemon, command: str) -> None:
    """The terminal turns the key into SIGINT inside."""
    where = ["run", "--rm", "-it", IMAGE] if command == "run" else ["exec", "-it", "sized"]
    script = "trap 'echo interrupted; exit 3' INT; echo up; while :; do sleep 0.02; done"
    with Terminal(daemon, *where, "sh", "-c", script) as terminal:
        terminal.read_until(b"up\r\n")
        terminal.type(b"\x03")
        assert b"interrupted\r\n" in terminal.read_all()
        assert terminal.process.returncode == 3


def test_ctrl_d_ends_the_input(daemon: Daemon) -> None:
    """The terminal's end of file is not the connection's."""
    with Terminal(daemon, "run", "--rm", "-it", IMAGE, "sh", "-c", "cat; echo over") as terminal:
        terminal.type(b"line\r")
        terminal.read_until(b"line\r\nline\r\n")
        terminal.type(b"\x04")
        assert terminal.read_all() == b"over\r\n"


def test_the_default_keys_detach_and_the_container_goes_on(daemon: Daemon) -> None:
    """ctrl-p ctrl-q; attaching again finds the same process."""
    with Terminal(daemon, "run", "-it", "--name", "detached", IMAGE, "sh", "-c", "echo up; read x; echo got $x") as terminal:
        terminal.read_until(b"up\r\n")
        terminal.type(b"\x10\x11")
        terminal.read_all()
        assert terminal.process.returncode == 0
    assert daemon.out("inspect", "-f", "{{.State.Running}}", "detached") == "true"
    with Terminal(daemon, "attach", "detached") as terminal:
        terminal.type(b"again\r")
        assert terminal.read_all().endswith(b"got again\r\n")
        assert terminal.process.returncode == 0


def test_keys_of_ones_own_detach(daemon: Daemon) -> None:
    """`--detach-keys` of attach and exec; the default ones are then input."""
    daemon.out(
        "run", "-dit", "--name", "own", IMAGE, "sh", "-c", "stty raw -echo; echo up; while :; do head -c 2 | od -An -tx1; done"
    )
    with Terminal(daemon, "attach", "--detach-keys", "ctrl-x,q", "own") as terminal:
        terminal.type(b"\x10\x11")
        terminal.read_until(b" 10 11")
        terminal.type(b"\x18q")
        terminal.read_all()
    assert daemon.out("inspect", "-f", "{{.State.Running}}", "own") == "true"
    with Terminal(daemon, "exec", "-it", "--detach-keys", "a,b", "own", "sh", "-c", "echo in; sleep 1000") as terminal:
        terminal.read_until(b"in\r\n")
        terminal.type(b"ab")
        terminal.read_all()
    assert "sleep 1000" in daemon.out("top", "own")


def test_the_engine_knows_the_keys_itself(client: docker.DockerClient, daemon: Daemon) -> None:
    """docker-py leaves them to the engine, which holds back a first key until the next byte tells."""
    script = "stty raw -echo; echo up; while :; do head -c 3 | od -An -tx1; done"
    made = client.containers.run(IMAGE, ["sh", "-c", script], detach=True, tty=True, stdin_open=True)
    while b"up" not in made.logs():
        pass
    attached = made.attach_socket(params={"stdin": 1, "stdout": 1, "stream": 1, "detachKeys": "ctrl-a,d"})._sock
    attached.sendall(b"1\x01")
    attached.sendall(b"2")
    shown = b""
    while b"32" not in shown:
        shown += attached.recv(100)
    assert shown.split() == [b"31", b"01", b"32"]
    attached.sendall(b"\x01")
    attached.sendall(b"d")
    assert attached.recv(100) == b""
    attached.close()
    made.reload()
    assert made.status == "running"
    made.remove(force=True)


def test_wrong_keys_are_refused(client: docker.DockerClient) -> None:
    """Before anything is hijacked."""
    made = client.containers.create(IMAGE, ["true"], tty=True)
    with pytest.raises(docker.errors.APIError, match=r"400.*Invalid detach keys"):
        client.api.attach_socket(made.id, params={"stream": 1, "detachKeys": "ctrl-nothing"})


def test_a_terminal_is_refused_where_input_is_none(daemon: Daemon) -> None:
    """The CLI's own check, which needs the engine's inspect."""
    done = daemon.docker("run", "--rm", "-it", IMAGE, "true", stdin="")
    assert done.returncode == 1
    assert "not a TTY" in done.stderr
    done = daemon.docker("run", "--rm", "-t", IMAGE, "sh", "-c", "tty; echo out >&2")
    assert (done.returncode, done.stdout) == (0, "/dev/pts/0\nout\n")


def test_a_terminal_shows_the_whole_end(daemon: Daemon) -> None:
    """A process that writes much and is gone at once loses nothing to its terminal's closing."""
    for _ in range(5):
        done = subprocess.run(
            ["docker", "-H", daemon.host, "run", "--rm", "-t", IMAGE, "seq", "1", "20000"],
            capture_output=True, timeout=60, check=True,
        )  # fmt: skip
        assert done.stdout.split() == [b"%d" % number for number in range(1, 20_001)]


def test_an_early_resize_may_fail_and_a_late_one_does(client: docker.DockerClient) -> None:
    """The CLI tries again when the first comes before the start; no status but an ordinary error."""
    made = client.containers.create(IMAGE, ["sleep", "1000"], tty=True)
    with pytest.raises(docker.errors.APIError) as early:
        made.resize(10, 20)
    assert early.value.status_code == 409
    made.start()
    made.resize(10, 20)
    for height in (-1, 65_536):
        with pytest.raises(docker.errors.APIError, match=r"400.*invalid resize height"):
            made.resize(height, 20)
    made.remove(force=True)
    with pytest.raises(docker.errors.NotFound):
        made.resize(10, 20)


def test_two_terminals_on_one_container(daemon: Daemon) -> None:
    """Attached twice, both see what either types."""
    daemon.out("run", "-dit", "--name", "shared", IMAGE, "sh")
    with Terminal(daemon, "attach", "shared") as first, Terminal(daemon, "attach", "shared") as second:
        for terminal in (first, second):
            terminal.type(b"\r")
            terminal.read_until(b"# ")
        first.type(b"echo he''llo\r")
        first.read_until(b"\r\nhello\r\n")
        second.read_until(b"\r\nhello\r\n")
        second.type(b"exit\r")
        first.read_all()
        second.read_all()
        assert (first.process.returncode, second.process.returncode) == (0, 0)
