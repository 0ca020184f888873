"""``docker attach`` and ``docker run`` with their streams in pipes, and attach as docker-py uses it."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator

import docker
import pytest
from docker_daemon import Daemon
from stream_clients import IMAGE, begun, connect, demultiplexed, environment_of

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(shutil.which("docker") is None, reason="no docker CLI is installed"),
]


@pytest.fixture(scope="module")
def client(daemon: Daemon) -> Iterator[docker.DockerClient]:
    with connect(daemon) as made:
        yield made


def test_much_output_at_the_very_end_arrives_whole(daemon: Daemon) -> None:
    """The process is gone long before its client has read everything."""
    count = 20_000_000
    for _ in range(3):
        with begun(daemon, "run", "--rm", IMAGE, "sh", "-c", f"yes 012345678 | head -c {count}; echo err >&2") as run:
            assert run.stdout is not None and run.stderr is not None
            seen = hashlib.sha256()
            size = 0
            while data := run.stdout.read(1 << 16):
                seen.update(data)
                size += len(data)
            assert (size, seen.digest()) == (count, hashlib.sha256(b"012345678\n" * (count // 10)).digest())
            assert run.stderr.read() == b"err\n"
            assert run.wait(30) == 0


def test_a_slow_reader_loses_nothing(daemon: Daemon) -> None:
    """`docker run … | less`: what is read after the container's end is all there."""
    with begun(daemon, "run", "--name", "slow", IMAGE, "sh", "-c", "seq 1 50000") as run:
        while daemon.docker("inspect", "-f", "{{.State.Status}}", "slow").stdout != "exited\n":
            time.sleep(0.05)
        assert run.stdout is not None
        assert run.stdout.read().split() == [b"%d" % number for number in range(1, 50_001)]


def test_stdin_through_the_container_and_back(daemon: Daemon) -> None:
    """5 MB in and out at once: a half-close ends the input, and no byte is lost either way."""
    data = bytes(range(256)) * 20_000
    done = subprocess.run(
        ["docker", "run", "--rm", "-i", IMAGE, "cat"],
        input=data, env=environment_of(daemon), capture_output=True, timeout=60, check=True,
    )  # fmt: skip
    assert hashlib.sha256(done.stdout).digest() == hashlib.sha256(data).digest()


def test_an_exec_ends_with_its_input_too(daemon: Daemon) -> None:
    """`echo x | docker exec -i`, and the exit code is there when the stream ends."""
    daemon.out("run", "-d", "--name", "host", IMAGE, "sleep", "1000")
    done = daemon.docker("exec", "-i", "host", "sh", "-c", "cat; echo err >&2; exit 9", stdin="x\n")
    assert (done.stdout, done.stderr, done.returncode) == ("x\n", "err\n", 9)
    for _ in range(20):
        assert daemon.docker("exec", "host", "sh", "-c", "exit 3").returncode == 3
    count = 3_000_000
    done = daemon.docker("exec", "host", "sh", "-c", f"yes 012345678 | head -c {count}")
    assert done.stdout == "012345678\n" * (count // 10)


def test_what_an_exec_leaves_behind_does_not_hold_it(daemon: Daemon) -> None:
    """A child that keeps the pipe open and writes for ever ends neither later nor in the engine's memory."""
    done = daemon.docker("exec", "host", "sh", "-c", "yes & echo $! > /tmp/pid; exit 4")
    assert done.returncode == 4


def test_attach_shows_what_comes_and_gives_the_exit_code(daemon: Daemon) -> None:
    """Not what came before; both streams; and the status of the process is the CLI's."""
    script = "echo early; read x; echo late; echo err >&2; exit 5"
    daemon.out("run", "-d", "-i", "--name", "late", IMAGE, "sh", "-c", script)
    while "early" not in daemon.out("logs", "late"):
        time.sleep(0.01)
    done = daemon.docker("attach", "late", stdin="go\n")
    assert (done.stdout, done.stderr, done.returncode) == ("late\n", "err\n", 5)


def test_two_clients_at_once_see_the_same(daemon: Daemon) -> None:
    """And what either types reaches the process."""
    daemon.out("run", "-d", "-i", "--name", "two", IMAGE, "sh", "-c", "echo up; read x; echo $x; read y; echo $y")
    with begun(daemon, "attach", "two") as first, begun(daemon, "attach", "two") as second:
        assert first.stdin and first.stdout and second.stdin and second.stdout
        first.stdin.write(b"one\n")
        first.stdin.flush()
        assert first.stdout.readline() == b"one\n"
        second.stdin.write(b"two\n")
        second.stdin.flush()
        assert first.stdout.read() == b"two\n"
        assert second.stdout.read() in {b"one\ntwo\n", b"two\n"}


def test_no_stdin_does_not_touch_the_process(daemon: Daemon) -> None:
    """`--no-stdin`: neither input nor its end gets through."""
    script = "while :; do echo tick; sleep 0.02; done & read x; kill $!; echo got $x"
    daemon.out("run", "-d", "-i", "--name", "deaf", IMAGE, "sh", "-c", script)
    with begun(daemon, "attach", "--no-stdin", "deaf") as deaf, begun(daemon, "attach", "deaf") as other:
        assert deaf.stdin and deaf.stdout and other.stdin
        deaf.stdin.close()
        assert deaf.stdout.readline() == b"tick\n"
        other.stdin.write(b"y\n")
        other.stdin.flush()
        assert deaf.stdout.read().endswith(b"got y\n")
        deaf.stdin = None


def test_signals_are_passed_on_unless_told_not_to(daemon: Daemon) -> None:
    """`--sig-proxy` is the default of run and attach."""
    script = "trap 'echo term; exit 7' TERM; echo up; while :; do sleep 0.02; done"
    with begun(daemon, "run", "--name", "proxied", IMAGE, "sh", "-c", script) as run:
        assert run.stdout is not None
        assert run.stdout.readline() == b"up\n"
        run.send_signal(signal.SIGTERM)
        assert run.stdout.read() == b"term\n"
        assert run.wait(30) == 7
    with begun(daemon, "run", "--sig-proxy=false", "--name", "unproxied", IMAGE, "sh", "-c", script) as run:
        assert run.stdout is not None
        assert run.stdout.readline() == b"up\n"
        run.send_signal(signal.SIGTERM)
        daemon.out("exec", "unproxied", "true")
        assert daemon.out("logs", "unproxied") == "up"
    daemon.out("rm", "-f", "unproxied")


def test_attaching_to_what_does_not_run_is_refused(daemon: Daemon) -> None:
    """Stopped, only created, paused, unknown."""
    daemon.out("create", "--name", "made", IMAGE, "true")
    assert "cannot attach to a stopped container" in daemon.docker("attach", "made").stderr
    daemon.out("run", "-d", "--name", "held", IMAGE, "sleep", "1000")
    daemon.out("pause", "held")
    assert "cannot attach to a paused container" in daemon.docker("attach", "held").stderr
    daemon.out("rm", "-f", "held")
    assert "No such container: nobody" in daemon.docker("attach", "nobody").stderr


def test_start_attached_sees_everything_from_the_first_byte(daemon: Daemon) -> None:
    """`docker start -ai` attaches before the process begins, each time."""
    daemon.out("create", "-i", "--name", "startable", IMAGE, "sh", "-c", "echo first; cat; exit 6")
    for text in ("one", "two"):
        done = daemon.docker("start", "-ai", "startable", stdin=text)
        assert (done.stdout, done.returncode) == (f"first\n{text}", 6)


def test_docker_py_reads_the_past_and_goes_on_without_a_seam(daemon: Daemon, client: docker.DockerClient) -> None:
    """`attach(logs=True, stream=True)` while output pours: every number once, whenever the client comes."""
    script = "i=0; while [ $i -lt 30000 ]; do echo $i; i=$((i+1)); done; sleep 1000"
    made = client.containers.create(IMAGE, ["sh", "-c", script])
    made.start()
    received: list[bytes] = [b""] * 6

    def watch(index: int) -> None:
        with connect(daemon) as own:
            for data in own.containers.get(made.id).attach(logs=True, stream=True):
                received[index] += data
                if received[index].endswith(b"29999\n"):
                    return

    watchers = [threading.Thread(target=watch, args=(index,), daemon=True) for index in range(len(received))]
    for watcher in watchers:
        watcher.start()
        time.sleep(0.03)  # so that they come at different moments of the output
    for watcher in watchers:
        watcher.join(60)
    made.remove(force=True)
    whole = "".join(f"{number}\n" for number in range(30_000)).encode()
    assert [data == whole for data in received] == [True] * len(received)


def test_docker_py_reads_the_past_alone(client: docker.DockerClient) -> None:
    """`attach(stream=False, logs=True)` gives what there is, of the streams asked for."""
    made = client.containers.create(IMAGE, ["sh", "-c", "echo out; sleep 0.1; echo err >&2; sleep 0.1; printf rest"])
    made.start()
    made.wait()
    assert made.attach(stream=False, logs=True) == b"out\nerr\nrest"
    assert made.attach(stream=False, logs=True, stderr=False) == b"out\nrest"
    assert made.attach(stream=False, logs=True, demux=True) == (b"out\nrest", b"err\n")


def test_docker_py_attaches_before_the_start(client: docker.DockerClient) -> None:
    """The socket of a created container is there at once, and gets what the start brings; closing it early harms nobody."""
    made = client.containers.create(IMAGE, ["sh", "-c", "read x; echo got $x"], stdin_open=True)
    attached = made.attach_socket(params={"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1})
    gone = made.attach_socket(params={"stdout": 1, "stream": 1})
    gone._sock.close()
    made.start()
    attached._sock.sendall(b"this\n")
    data = b""
    while chunk := attached._sock.recv(4096):
        data += chunk
    attached.close()
    assert demultiplexed(data) == [(1, b"got this\n")]
    assert made.wait()["StatusCode"] == 0


def test_s42_many_clients_that_vanish_leave_nothing_behind(daemon: Daemon, client: docker.DockerClient) -> None:
    """200 attachments closed at once, to a container that runs and to one that only waits: no descriptor stays open."""
    running = client.containers.run(IMAGE, ["sleep", "1000"], detach=True)
    waiting = client.containers.create(IMAGE, ["true"])

    def vanish(made: docker.models.containers.Container) -> None:
        connection = made.attach_socket(params={"stdout": 1, "stream": 1})
        connection._sock.shutdown(socket.SHUT_RDWR)
        connection._sock.close()

    def count() -> int:
        return len(os.listdir(f"/proc/{daemon.process.pid}/fd"))

    before = count()
    for _ in range(100):
        for made in (running, waiting):
            vanish(made)
    for _ in range(200):
        if count() <= before + 2:
            break
        time.sleep(0.02)
    assert count() <= before + 2
    running.remove(force=True)
