"""Everything that goes wrong is one message and the right exit code, never a traceback."""

from __future__ import annotations

import os
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from docket_program import PROGRAM, environment, run_docket
from fake_engine import FakeEngine, Reply

Docket = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.mark.parametrize(
    ("words", "status", "first_line"),
    [
        (("run", "--foo", "x"), 125, "unknown flag: --foo"),
        (("run", "-Z", "x"), 125, "unknown shorthand flag: 'Z' in -Z"),
        (("run", "--name"), 125, "flag needs an argument: --name"),
        (("run", "-e"), 125, "flag needs an argument: 'e' in -e"),
        (
            ("run", "--rm=foo", "x"),
            125,
            'invalid argument "foo" for "--rm" flag: strconv.ParseBool: parsing "foo": invalid syntax',
        ),
        (("run", "-m", "abc", "x"), 125, "invalid argument \"abc\" for \"-m, --memory\" flag: invalid size: 'abc'"),
        (("run", "--cpus", "x", "y"), 125, 'invalid argument "x" for "--cpus" flag: failed to parse x as a rational number'),
        (("run", "--ulimit", "foo", "x"), 125, 'invalid argument "foo" for "--ulimit" flag: invalid ulimit argument: foo'),
        (("run",), 1, "docket: 'docket run' requires at least 1 argument"),
        (("ps", "x"), 1, "docket: 'docket ps' accepts no arguments"),
        (("rename", "a"), 1, "docket: 'docket rename' requires 2 arguments"),
        (("images", "a", "b"), 1, "docket: 'docket images' requires at most 1 argument"),
        (("save", "-o", "/dev/null", "x"), 1, "cannot save to /dev/null: it is no regular file"),
        (("save",), 1, "docket: 'docket save' requires at least 1 argument"),
        (("frob",), 1, "docket: unknown command: docket frob"),
        (("container", "frob"), 1, "docket: unknown command: docket container frob"),
        (("-Q", "ps"), 125, "unknown shorthand flag: 'Q' in -Q"),
        (("run", "--pull", "foo", "x"), 125, 'docket: invalid pull option: \'foo\': must be one of "always", "missing" or "never"'),
        (("run", "-d", "-a", "stdout", "x"), 1, "conflicting options: cannot specify both --attach and --detach"),
        (("run", "--env-file", "/nonex", "y"), 125, "docket: open /nonex: no such file or directory"),
        (("run", "--rm", "--restart", "always", "x"), 125, "docket: conflicting options: cannot specify both --restart and --rm"),
        (
            ("run", "--detach-keys", "ctrl-", "x"), 125,
            'docket: invalid detach keys "ctrl-": a key is a letter or ctrl-<letter>, keys are separated by commas',
        ),
        (("ps", "--format", "{{.Foo}"), 1, "failed to parse template: template: :1: unclosed action"),
        (
            ("ps", "--at", "yesterday"), 1,
            "--at takes a position, a duration ago (10m) or a time (2006-01-02T15:04:05Z), not 'yesterday'",
        ),
        (
            ("logs", "--since", "yesterday", "x"), 1,
            "invalid value for \"since\": failed to parse value as time or duration: 'yesterday'",
        ),
        (("import", "/nonex"), 1, "open /nonex: no such file or directory"),
        (("audit", "frob"), 1, "docket: unknown command: docket audit frob"),
        (("log", "-n", "x"), 1, "invalid value for --tail: 'x': it must be a number or all"),
        (("inspect", "--type", "cow", "x"), 1, '"cow" is not a valid value for --type: container or image'),
    ],
)  # fmt: skip
def test_wrong_command_lines(engine: FakeEngine, docket: Docket, words: tuple[str, ...], status: int, first_line: str) -> None:
    """Docker's words for what Docker refuses; nothing reaches the engine but what it must decide."""
    engine.on("GET", "/containers/json", Reply(body=[]))
    done = docket(*words)
    assert done.returncode == status
    assert done.stderr.splitlines()[0] == first_line
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_usage_errors_point_to_help(docket: Docket) -> None:
    """After the message come the usage line and where to read on."""
    assert docket("run", "--foo", "x").stderr == (
        "unknown flag: --foo\n\nUsage:  docket run [OPTIONS] IMAGE [COMMAND] [ARG...]\n\n"
        "Run 'docket run --help' for more information\n"
    )


def test_no_engine_at_a_named_address(tmp_path: Path) -> None:
    """A named engine that does not answer is told of by name, and none is started in its place."""
    host = f"unix://{tmp_path}/none.sock"
    message = f"Cannot connect to the docket daemon at {host}. Is the docket daemon running?"
    for words in (("ps",), ("version",), ("info",), ("logs", "x")):
        done = run_docket("-H", host, *words)
        assert (done.returncode, done.stderr) == (1, message + "\n")
    ran = run_docket("run", "x", DOCKET_HOST=host)
    assert (ran.returncode, ran.stderr.splitlines()[0]) == (125, "docket: " + message)
    assert run_docket("ps", DOCKER_HOST=host).stderr == message + "\n"


@pytest.mark.parametrize("host", ["ssh://x", "x", "tcp://h:0", "tcp://h:x", "unix:/x"])
def test_an_address_that_is_none(host: str) -> None:
    """Only unix and tcp addresses are known."""
    done = run_docket("-H", host, "ps")
    assert done.returncode == 1
    assert done.stderr.startswith(f"unable to parse docker host `{host}`")


def test_permission_on_the_socket(engine: FakeEngine) -> None:
    """Who may not open the socket is told so, and what to do."""
    if os.geteuid() != 0:
        pytest.skip("needs root: the program must run as a user who owns nothing")
    engine.socket_path.chmod(0o600)
    # The directory of the test is its owner's: the user must come as far as the socket.
    for parent in list(engine.socket_path.parents)[:4]:
        parent.chmod(parent.stat().st_mode | 0o011)
    program = "import os; os.setgid(65534); os.setuid(65534); from docket.cli.main import main; main()"
    from docket.cli import main

    done = subprocess.run(
        [PROGRAM[0], "-c", f"import docket.cli.main, docket.cli.commands.ps, docket.cli.connect; {program}", "ps"],
        env=environment(DOCKET_HOST=engine.host), capture_output=True, text=True, timeout=30,
    )  # fmt: skip
    assert main is not None
    assert done.returncode == 1
    assert done.stderr.startswith(f"docket: cannot reach the docket daemon at {engine.host}: permission denied: ")


@pytest.fixture
def odd_engine(tmp_path: Path) -> Iterator[Callable[[bytes], str]]:
    """An engine that answers every connection with the same bytes and closes."""
    listener = socket.socket(socket.AF_UNIX)
    path = tmp_path / "odd.sock"
    listener.bind(str(path))
    listener.listen()

    def answer(data: bytes) -> str:
        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(data)

        threading.Thread(target=serve, daemon=True).start()
        return f"unix://{path}"

    yield answer
    listener.close()


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (b"", "the docket daemon closed the connection in the middle of its answer"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", "not an answer of an engine: 'SSH-2.0-OpenSSH'"),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n[]",
            "the docket daemon closed the connection in the middle of its answer",
        ),
        (b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n[]", "the docket daemon sent a malformed length"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "the docket daemon sent a malformed chunk"),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n[[1]",
            "the docket daemon's answer to GET /containers/json cannot be read: ",
        ),
        (b"HTTP/1.1 200 OK\r\n" + b"x" * 70_000, "the answer of the docket daemon has a head of more than 64 KiB"),
        (b"HTTP/1.1 500 Oops\r\nContent-Length: 4\r\n\r\noops", "Error response from daemon: oops"),
        (b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n", "Error response from daemon: status 500"),
    ],
)
def test_answers_that_are_none(odd_engine: Callable[[bytes], str], answer: bytes, message: str) -> None:
    """Whatever answers on the socket, the user gets one line."""
    done = run_docket("ps", DOCKET_HOST=odd_engine(answer))
    assert done.returncode == 1
    assert done.stderr.startswith(message)
    assert len(done.stderr.splitlines()) == 1


def test_a_reader_that_leaves_ends_the_program_quietly(engine: FakeEngine) -> None:
    """`docket logs x | head -1` is no error to tell of."""
    headers = {"Content-Type": "application/vnd.docker.raw-stream"}
    engine.on("GET", "/containers/web/logs", Reply(headers=headers, chunks=[b"line\n" * 10_000] * 100))
    program = subprocess.Popen(
        [*PROGRAM, "logs", "web"],
        env=environment(DOCKET_HOST=engine.host), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert program.stdout is not None
    assert program.stderr is not None
    program.stdout.readline()
    program.stdout.close()
    assert program.wait(30) == 141
    assert program.stderr.read() == b""
    program.stderr.close()
