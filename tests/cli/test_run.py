"""`docket run`, `start`, `attach` and `exec`: the conversation with the engine, the streams and the exit code."""

from __future__ import annotations

import os
import pty
import queue
import select
import signal
import socket
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from docket_program import PROGRAM, environment
from engine_samples import CONTAINER, ID
from fake_engine import FakeEngine, Reply, Request, frame, read_to_end, upgrade

Docket = Callable[..., "subprocess.CompletedProcess[str]"]
RAW = "application/vnd.docker.raw-stream"


class Container:
    """The engine's side of one attached container: output goes out after start, wait answers after that."""

    def __init__(self, engine: FakeEngine, output: bytes = b"", status: int = 0, tty: bool = False) -> None:
        self.started, self.ended = threading.Event(), threading.Event()
        self.output, self.status, self.tty = output, status, tty
        self.stdin = b""
        engine.on("POST", "/containers/create", Reply(201, {"Id": ID, "Warnings": []}))
        engine.on("POST", f"/containers/{ID}/attach", self.attach)
        engine.on("POST", f"/containers/{ID}/wait", self.wait)
        engine.on("POST", f"/containers/{ID}/start", self.start)
        engine.on("POST", f"/containers/{ID}/resize", Reply())

    def attach(self, request: Request, connection: socket.socket) -> None:
        upgrade(connection, RAW if self.tty else "application/vnd.docker.multiplexed-stream")
        self.started.wait(30)
        connection.sendall(self.output)
        if not self.tty:
            self.stdin = read_to_end(connection)
            connection.sendall(frame(1, self.stdin) if self.stdin else b"")
        self.ended.set()

    def start(self, request: Request, connection: socket.socket) -> Reply:
        self.started.set()
        return Reply(204)

    def wait(self, request: Request, connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n")
        self.ended.wait(30)
        body = b'{"Error":null,"StatusCode":%d}\n' % self.status
        connection.sendall(b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body))


def test_run_attaches_and_waits_before_it_starts(engine: FakeEngine, docket: Docket) -> None:
    """Output and exit of a container that ends at once are not missed."""
    Container(engine, frame(1, b"hello\n") + frame(2, b"oh\n"), status=7)
    done = docket("run", "--name", "web", "busybox", "sh", "-c", "echo hello")
    assert (done.returncode, done.stdout, done.stderr) == (7, "hello\n", "oh\n")
    assert engine.lines() == [
        "POST /containers/create",
        f"POST /containers/{ID}/attach",
        f"POST /containers/{ID}/wait",
        f"POST /containers/{ID}/start",
    ]
    create, attach, wait, _ = engine.requests
    assert create.query == {"name": ["web"]}
    assert create.json()["Cmd"] == ["sh", "-c", "echo hello"]
    assert attach.query == {"stream": ["1"], "stdout": ["1"], "stderr": ["1"]}
    assert wait.query == {"condition": ["next-exit"]}


def test_run_with_input_half_closes_and_goes_on_reading(engine: FakeEngine, docket: Docket) -> None:
    """`echo x | docket run -i image cat` prints x: the end of input reaches the container, its output still comes back."""
    container = Container(engine)
    done = docket("run", "-i", "busybox", "cat", stdin="x" * 300_000)
    assert container.stdin == b"x" * 300_000
    assert (done.returncode, done.stdout) == (0, "x" * 300_000)
    assert engine.requests[1].query["stdin"] == ["1"]


def test_run_detached_prints_the_id(engine: FakeEngine, docket: Docket) -> None:
    """`run -d` neither attaches nor waits."""
    Container(engine)
    done = docket("run", "-d", "busybox")
    assert (done.returncode, done.stdout) == (0, ID + "\n")
    assert engine.lines() == ["POST /containers/create", f"POST /containers/{ID}/start"]
    body = engine.requests[0].json()
    assert not body["AttachStdout"]


def test_run_rm_waits_for_the_removal(engine: FakeEngine, docket: Docket) -> None:
    """`--rm` is the engine's work; the client returns when the container is gone."""
    Container(engine)
    assert docket("run", "--rm", "busybox").returncode == 0
    assert engine.requests[0].json()["HostConfig"]["AutoRemove"]
    assert engine.requests[2].query == {"condition": ["removed"]}


@pytest.mark.parametrize(
    ("reason", "status"),
    [
        ('exec: "nope": executable file not found in $PATH', 127),
        ("exec: /nope: no such file or directory", 127),
        ("exec: /etc: permission denied", 126),
        ("exec: /etc: is a directory", 126),
        ("something else", 125),
    ],
)
def test_run_takes_its_exit_code_from_the_text_of_a_failed_start(
    engine: FakeEngine, docket: Docket, reason: str, status: int
) -> None:
    """Scripts tell a missing command (127) from one that cannot run (126) and from docket's own failures (125)."""
    Container(engine)
    engine.on("POST", f"/containers/{ID}/start", Reply(400, {"message": reason}))
    done = docket("run", "busybox", "nope")
    assert done.returncode == status
    assert done.stderr == f"docket: Error response from daemon: {reason}\n\nRun 'docket run --help' for more information\n"


def test_run_fetches_a_missing_image_and_tells_when_that_fails(engine: FakeEngine, docket: Docket) -> None:
    """A name that the engine does not have is asked for once; the engine's refusal ends the command with 125."""
    engine.on("POST", "/containers/create", Reply(404, {"message": "No such image: nope:latest"}))
    engine.on("POST", "/images/create", Reply(501, {"message": "pulling is not supported yet"}))
    done = docket("run", "nope")
    assert done.returncode == 125
    assert done.stderr.splitlines()[:2] == [
        "Unable to find image 'nope:latest' locally",
        "docket: Error response from daemon: pulling is not supported yet",
    ]
    assert engine.requests[1].query == {"fromImage": ["docker.io/library/nope"], "tag": ["latest"]}
    assert docket("run", "--pull", "never", "nope").returncode == 125
    assert len(engine.seen("POST", "/images/create")) == 1


def test_run_writes_a_new_id_file_and_refuses_an_old_one(engine: FakeEngine, docket: Docket, tmp_path: Path) -> None:
    """Two containers never share an id file, and a failed create leaves none behind."""
    Container(engine)
    path = tmp_path / "cid"
    assert docket("run", "-d", "--cidfile", str(path), "busybox").returncode == 0
    assert path.read_text() == ID
    again = docket("run", "-d", "--cidfile", str(path), "busybox")
    assert again.returncode == 125
    assert "container ID file found" in again.stderr
    assert len(engine.seen("POST", "/containers/create")) == 1
    path.unlink()
    engine.on("POST", "/containers/create", Reply(409, {"message": "name in use"}))
    assert docket("run", "-d", "--cidfile", str(path), "busybox").returncode == 125
    assert not path.exists()


def test_run_reports_an_error_inside_the_stream(engine: FakeEngine, docket: Docket) -> None:
    """Stream 3 of the multiplexed stream is the engine's own failure, not the container's output."""
    Container(engine, frame(3, b"disk gone"))
    done = docket("run", "busybox")
    assert done.returncode == 125
    assert "error from daemon in stream: disk gone" in done.stderr


def test_run_passes_signals_on(engine: FakeEngine) -> None:
    """SIGTERM and SIGINT of the client go to the container, whose exit decides the client's."""
    container = Container(engine, frame(1, b"up\n"), status=143)
    killed: queue.Queue[str] = queue.Queue()

    def attach(request: Request, connection: socket.socket) -> None:
        upgrade(connection)
        container.started.wait(30)
        connection.sendall(frame(1, b"up\n"))
        container.ended.wait(30)

    def kill(request: Request, connection: socket.socket) -> Reply:
        name = request.query["signal"][0]
        killed.put(name)
        if name == "TERM":
            container.ended.set()
        return Reply(204)

    engine.on("POST", f"/containers/{ID}/attach", attach)
    engine.on("POST", f"/containers/{ID}/kill", kill)
    program = subprocess.Popen(
        [*PROGRAM, "run", "busybox"], env=environment(DOCKET_HOST=engine.host), stdout=subprocess.PIPE, text=True
    )
    assert program.stdout is not None
    assert program.stdout.readline() == "up\n"
    program.send_signal(signal.SIGUSR1)
    assert killed.get(timeout=30) == "USR1"
    program.send_signal(signal.SIGTERM)
    assert program.wait(30) == 143
    assert killed.get(timeout=30) == "TERM"


def in_terminal(engine: FakeEngine, *arguments: str) -> tuple[subprocess.Popen[bytes], int]:
    """The program with a pseudo-terminal of 24 rows and 80 columns on all three streams."""
    import fcntl
    import struct
    import termios

    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    program = subprocess.Popen(
        [*PROGRAM, *arguments], env=environment(DOCKET_HOST=engine.host), stdin=slave, stdout=slave, stderr=slave
    )
    os.close(slave)
    return program, master


def read_until(master: int, wanted: bytes) -> bytes:
    """What the terminal shows, up to and with `wanted`."""
    shown = b""
    while wanted not in shown:
        ready, _, _ = select.select([master], [], [], 30)
        assert ready, f"waited in vain for {wanted!r} after {shown!r}"
        shown += os.read(master, 4096)
    return shown


def test_run_with_a_terminal_is_raw_and_sized(engine: FakeEngine) -> None:
    """With -it nothing is framed or echoed, the engine learns the size after start, and the terminal is restored."""
    container = Container(engine, b"\x1b[31m# ", tty=True)
    typed: list[bytes] = []

    def attach(request: Request, connection: socket.socket) -> None:
        upgrade(connection, RAW)
        container.started.wait(30)
        connection.sendall(b"\x1b[31m# ")
        typed.append(connection.recv(100))
        connection.sendall(b"bye\r\n")
        container.ended.set()

    engine.on("POST", f"/containers/{ID}/attach", attach)
    program, master = in_terminal(engine, "run", "-it", "busybox")
    read_until(master, b"# ")
    os.write(master, b"\x03")
    shown = read_until(master, b"bye")
    assert program.wait(30) == 0
    os.close(master)
    assert typed == [b"\x03"]
    assert b"^C" not in shown
    assert engine.seen("POST", f"/containers/{ID}/resize")[0].query == {"h": ["24"], "w": ["80"]}
    body = engine.seen("POST", "/containers/create")[0].json()
    assert body["Tty"]
    assert body["OpenStdin"]


def test_detach_keys_leave_the_container_running(engine: FakeEngine) -> None:
    """ctrl-p ctrl-q ends the client with 0 and not the container; a ctrl-p alone reaches it."""
    container = Container(engine, tty=True)
    typed: queue.Queue[bytes] = queue.Queue()

    def attach(request: Request, connection: socket.socket) -> None:
        upgrade(connection, RAW)
        container.started.wait(30)
        connection.sendall(b"ready")
        typed.put(read_to_end(connection))

    engine.on("POST", f"/containers/{ID}/attach", attach)
    program, master = in_terminal(engine, "run", "-it", "busybox")
    read_until(master, b"ready")
    os.write(master, b"a\x10b\x10\x11")
    assert program.wait(30) == 0
    os.close(master)
    container.ended.set()
    assert typed.get(timeout=30) == b"a\x10b"


def test_a_terminal_for_the_container_needs_one_here(engine: FakeEngine, docket: Docket) -> None:
    """`-it` in a pipe is refused before anything is created."""
    done = docket("run", "-it", "busybox")
    assert (done.returncode, done.stderr) == (1, "the input device is not a TTY\n")
    assert engine.requests == []


def exec_rules(engine: FakeEngine, status: int) -> None:
    """An exec that prints to both streams, gives its input back and ends with `status`."""

    def start(request: Request, connection: socket.socket) -> Reply | None:
        if request.json()["Detach"]:
            return Reply()
        upgrade(connection)
        connection.sendall(frame(1, b"out\n") + frame(2, b"err\n"))
        connection.sendall(frame(1, read_to_end(connection)))
        return None

    engine.on("POST", "/containers/web/exec", Reply(201, {"Id": "e" * 64}))
    engine.on("POST", "/exec/e+/start", start)
    engine.on("GET", "/exec/e+/json", Reply(body={"ExitCode": status, "Running": False}))


def test_exec_ends_with_the_process_code(engine: FakeEngine, docket: Docket) -> None:
    """The exit code of an exec is asked for after its stream has ended."""
    exec_rules(engine, 5)
    done = docket("exec", "-i", "-e", "A=b", "-w", "/x", "-u", "1:2", "web", "sh", "-c", "exit 5", stdin="in\n")
    assert (done.returncode, done.stdout, done.stderr) == (5, "out\nin\n", "err\n")
    body = engine.requests[0].json()
    assert body["Cmd"] == ["sh", "-c", "exit 5"]
    assert (body["Env"], body["WorkingDir"], body["User"], body["AttachStdin"]) == (["A=b"], "/x", "1:2", True)


def test_exec_detached_is_no_stream(engine: FakeEngine, docket: Docket) -> None:
    """`exec -d` starts the process and returns."""
    exec_rules(engine, 5)
    done = docket("exec", "-d", "web", "true")
    assert (done.returncode, done.stdout) == (0, "")
    assert engine.requests[-1].json() == {"Detach": True, "Tty": False}


def test_start_attached_and_attach_end_with_the_exit_code(engine: FakeEngine, docket: Docket) -> None:
    """`start -a` and `attach` show output and end as the container does."""
    Container(engine, frame(1, b"out\n"), status=4)
    engine.on("GET", "/containers/web/json", Reply(body=CONTAINER))
    done = docket("start", "-a", "web")
    assert (done.returncode, done.stdout) == (4, "out\n")
    attached = docket("attach", "--no-stdin", "web")
    assert (attached.returncode, attached.stdout) == (4, "out\n")


def test_attach_refuses_a_container_that_does_not_run(engine: FakeEngine, docket: Docket) -> None:
    """There is nothing to attach to."""
    engine.on("GET", "/containers/web/json", Reply(body={**CONTAINER, "State": {"Running": False}}))
    done = docket("attach", "web")
    assert (done.returncode, done.stderr) == (1, "cannot attach to a stopped container, start it first\n")
