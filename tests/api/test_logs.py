"""``docker logs`` of the unmodified docker CLI, and the endpoint as docker-py uses it."""

from __future__ import annotations

import hashlib
import re
import shutil
import threading
from collections.abc import Iterator

import docker
import pytest
from docker_daemon import Daemon
from stream_clients import IMAGE, begun, connect, demultiplexed

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(shutil.which("docker") is None, reason="no docker CLI is installed"),
]


@pytest.fixture(scope="module")
def client(daemon: Daemon) -> Iterator[docker.DockerClient]:
    with connect(daemon) as made:
        yield made


def ran(daemon: Daemon, name: str, script: str) -> None:
    assert daemon.docker("run", "--name", name, IMAGE, "sh", "-c", script).returncode == 0


def frames(client: docker.DockerClient, name: str, **query: object) -> list[tuple[int, bytes]]:
    api = client.api
    answer = api.get(f"{api.base_url}/v1.45/containers/{name}/logs", params={"stdout": 1, "stderr": 1, **query})
    assert answer.status_code == 200, answer.text
    return demultiplexed(answer.content)


def test_both_streams_come_back_in_order_and_apart(daemon: Daemon) -> None:
    """stdout and stderr as they were written."""
    ran(daemon, "both", "echo one; sleep 0.1; echo two >&2; echo three")
    done = daemon.docker("logs", "both")
    assert (done.stdout, done.stderr) == ("one\nthree\n", "two\n")


def test_tail_counts_lines_from_the_end(daemon: Daemon) -> None:
    """Over both streams, and 0 is none; what is no number means all."""
    ran(daemon, "tail", "seq 1 5000; sleep 0.1; echo last >&2")
    assert daemon.docker("logs", "--tail", "3", "tail").stdout == "4999\n5000\n"
    assert daemon.docker("logs", "--tail", "3", "tail").stderr == "last\n"
    assert daemon.docker("logs", "-n", "0", "tail").stdout == ""
    assert daemon.out("logs", "--tail", "all", "tail").split()[:5000] == [str(number) for number in range(1, 5001)]


def test_timestamps_have_nine_digits_and_a_blank(daemon: Daemon) -> None:
    """RFC 3339 in UTC, for each line."""
    ran(daemon, "stamps", "echo one; echo; echo two")
    lines = daemon.docker("logs", "--timestamps", "stamps").stdout.splitlines()
    matches = [re.fullmatch(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z) (.*)", line) for line in lines]
    assert [match and match[2] for match in matches] == ["one", "", "two"]


def test_since_and_until_choose_to_the_nanosecond(daemon: Daemon, client: docker.DockerClient) -> None:
    """The stamp of a line, given back, finds that line and those behind it, or before it."""
    ran(daemon, "times", "for i in 1 2 3 4 5; do echo $i; sleep 0.02; done")
    stamps = [line.split()[0] for line in daemon.docker("logs", "-t", "times").stdout.splitlines()]
    assert len(set(stamps)) == 5
    assert daemon.out("logs", "--since", stamps[2], "times").split() == ["3", "4", "5"]
    assert daemon.out("logs", "--until", stamps[2], "times").split() == ["1", "2", "3"]
    assert daemon.out("logs", "--since", stamps[1], "--until", stamps[3], "times").split() == ["2", "3", "4"]
    assert daemon.out("logs", "--since", "1h", "times").split() == ["1", "2", "3", "4", "5"]
    second = stamps[2].replace("Z", "+00:00")
    seconds = daemon.out("logs", "-t", "--since", second, "times").splitlines()
    assert len(seconds) == 3
    assert frames(client, "times", since="9999999999.123456789") == []


def test_a_frame_is_a_line(daemon: Daemon, client: docker.DockerClient) -> None:
    """Programs take what docker-py yields for a line, however many lines were written at once."""
    ran(daemon, "framed", "printf 'a\\nb\\nc\\n'; printf 'd\\re\\n'")
    assert list(client.containers.get("framed").logs(stream=True)) == [b"a\n", b"b\n", b"c\n", b"d\re\n"]


def test_a_line_shows_when_it_is_whole_or_its_process_has_ended(daemon: Daemon, client: docker.DockerClient) -> None:
    """Docker's json-file driver keeps whole lines: a prompt is not in the logs until the process ends; attach shows it at once."""
    with begun(
        daemon, "run", "-i", "--name", "prompt", IMAGE, "sh", "-c", "echo up; printf 'name? '; read x; printf done"
    ) as run:
        assert run.stdin is not None and run.stdout is not None
        assert run.stdout.read(9) == b"up\nname? "
        assert client.containers.get("prompt").logs() == b"up\n"
        run.stdin.write(b"me\n")
        run.stdin.flush()
        assert run.stdout.read() == b"done"
    assert client.containers.get("prompt").logs() == b"up\nname? done"
    assert client.containers.get("prompt").logs(tail=1) == b"name? done"


def test_long_lines_come_back_whole(daemon: Daemon) -> None:
    """Lines over 16 KiB, and over what one read from the pipe takes."""
    ran(daemon, "long", "head -c 300000 /dev/zero | tr '\\0' x; echo; echo short; head -c 20000 /dev/zero | tr '\\0' y; echo")
    assert daemon.docker("logs", "long").stdout == "x" * 300_000 + "\nshort\n" + "y" * 20_000 + "\n"
    stamped = daemon.docker("logs", "-t", "long").stdout.splitlines()
    assert [line.split(" ")[1][:5] for line in stamped] == ["xxxxx", "short", "yyyyy"]
    assert daemon.docker("logs", "--tail", "2", "long").stdout == "short\n" + "y" * 20_000 + "\n"


def test_several_starts_share_one_log(daemon: Daemon) -> None:
    """An unfinished line of one start ends with it: the next start does not continue it."""
    ran(daemon, "again", "echo one; printf two")
    daemon.out("start", "-a", "again")
    assert daemon.docker("logs", "again").stdout == "one\ntwoone\ntwo"
    assert daemon.docker("logs", "--tail", "3", "again").stdout == "twoone\ntwo"
    stamped = daemon.docker("logs", "-t", "again").stdout
    assert len(re.findall(r"\d{9}Z ", stamped)) == 4


def test_following_shows_what_comes_until_the_process_ends(daemon: Daemon) -> None:
    """Each line at once, and a burst at the very end in full."""
    script = "echo up; read x; seq 1 60000; printf end"
    daemon.out("run", "-d", "-i", "--name", "follow", IMAGE, "sh", "-c", script)
    with begun(daemon, "logs", "-f", "follow") as follower, begun(daemon, "attach", "follow") as attached:
        assert follower.stdout is not None and attached.stdin is not None
        assert follower.stdout.readline() == b"up\n"
        attached.stdin.write(b"go\n")
        attached.stdin.flush()
        expected = "".join(f"{number}\n" for number in range(1, 60001)).encode() + b"end"
        assert follower.stdout.read() == expected
        assert follower.wait(30) == 0


def test_following_ends_with_its_process_where_the_container_is_restarted(daemon: Daemon) -> None:
    """The next run's output belongs to who follows that one."""
    script = "echo begin; trap 'echo end; exit' TERM; while :; do sleep 0.02; done"
    daemon.out("run", "-d", "--name", "restarted", IMAGE, "sh", "-c", script)
    with begun(daemon, "logs", "-f", "restarted") as follower:
        assert follower.stdout is not None
        assert follower.stdout.readline() == b"begin\n"
        daemon.out("restart", "restarted")
        assert follower.stdout.read() == b"end\n"
        assert follower.wait(30) == 0
    daemon.out("rm", "-f", "restarted")


def test_following_what_does_not_run_ends_at_once(daemon: Daemon) -> None:
    """A stopped container's logs are all there is; a created one has none."""
    ran(daemon, "over", "echo said")
    assert daemon.out("logs", "-f", "over") == "said"
    daemon.out("create", "--name", "fresh", IMAGE, "true")
    assert daemon.out("logs", "-f", "fresh") == ""


def test_following_until_a_time_ends_then(daemon: Daemon) -> None:
    """Even where the container goes on and says nothing."""
    daemon.out("run", "-d", "--name", "silent", IMAGE, "sleep", "1000")
    assert daemon.out("logs", "-f", "--until", "0s", "silent") == ""
    daemon.out("rm", "-f", "silent")


def test_rotation_under_a_follower_loses_and_repeats_nothing(daemon: Daemon) -> None:
    """35 MB over files of 10 MB of which three are kept: a follower that keeps up sees every byte once."""
    script = "read x; yes 0123456789012345678901234567890123456789012345678 | head -c 35000000; echo end"
    daemon.out("run", "-d", "-i", "--name", "rotated", IMAGE, "sh", "-c", script)
    with (
        begun(daemon, "logs", "-f", "rotated") as follower,
        begun(daemon, "attach", "--sig-proxy=false", "rotated") as attached,
    ):
        seen, over = [hashlib.sha256(), hashlib.sha256()], [0, 0]

        def drain(index: int, stream: object) -> None:
            while data := stream.read(1 << 20):  # type: ignore[attr-defined]
                seen[index].update(data)
                over[index] += len(data)

        readers = [
            threading.Thread(target=drain, args=(index, process.stdout)) for index, process in enumerate((follower, attached))
        ]
        for reader in readers:
            reader.start()
        assert attached.stdin is not None
        attached.stdin.write(b"go\n")
        attached.stdin.flush()
        for reader in readers:
            reader.join(60)
    assert over == [35_000_004, 35_000_004]
    assert seen[0].digest() == seen[1].digest()
    kept = daemon.docker("logs", "rotated").stdout
    assert 19_000_000 < len(kept) < 30_000_000
    assert kept.endswith("\nend\n")


def test_a_large_log_costs_no_memory(daemon: Daemon) -> None:
    """What is read is sent; the daemon's memory does not grow with the log."""

    def peak() -> int:
        with open(f"/proc/{daemon.process.pid}/status") as status:
            return int(next(line for line in status if line.startswith("VmHWM")).split()[1])

    before = peak()
    assert len(daemon.docker("logs", "rotated").stdout) > 19_000_000
    assert daemon.docker("logs", "--tail", "200000", "rotated").stdout.count("\n") == 200_000
    assert peak() - before < 8_000


def test_wrong_questions_are_refused_in_dockers_words(daemon: Daemon, client: docker.DockerClient) -> None:
    """No stream, no such container, no time."""
    api = client.api

    def ask(name: str, query: str) -> tuple[int, str]:
        answer = api.get(f"{api.base_url}/v1.45/containers/{name}/logs?{query}")
        return answer.status_code, answer.json()["message"]

    assert ask("both", "tail=1") == (400, "Bad parameters: you must choose at least one stream")
    assert ask("both", "stdout=0&stderr=False") == (400, "Bad parameters: you must choose at least one stream")
    assert ask("nobody", "stdout=1") == (404, "No such container: nobody")
    assert ask("both", "stdout=1&since=yesterday")[0] == 400


def test_a_terminals_log_is_raw(daemon: Daemon, client: docker.DockerClient) -> None:
    """Nothing is framed, and the content type says so from API 1.42 on."""
    daemon.docker("run", "-d", "-t", "--name", "tty", IMAGE, "echo", "hi")
    daemon.out("wait", "tty")
    api = client.api
    answer = api.get(f"{api.base_url}/v1.45/containers/tty/logs?stdout=1")
    assert (answer.content, answer.headers["Content-Type"]) == (b"hi\r\n", "application/vnd.docker.raw-stream")
    answer = api.get(f"{api.base_url}/v1.45/containers/both/logs?stdout=1")
    assert answer.headers["Content-Type"] == "application/vnd.docker.multiplexed-stream"
    answer = api.get(f"{api.base_url}/v1.41/containers/both/logs?stdout=1")
    assert answer.headers["Content-Type"] == "application/vnd.docker.raw-stream"
    assert daemon.docker("logs", "tty").stdout == "hi\n"


def test_a_killed_daemons_follower_can_begin_again(daemon: Daemon) -> None:
    """Output goes on being written without a daemon, and its unfinished line is held back by the next one too."""
    daemon.out("run", "-d", "-i", "--name", "kept", IMAGE, "sh", "-c", "echo a; printf b; read x; echo c")
    daemon.stop(9)
    daemon.start()
    assert daemon.docker("logs", "kept").stdout == "a\n"
    with begun(daemon, "logs", "-f", "kept") as follower, begun(daemon, "attach", "kept") as attached:
        assert follower.stdout is not None and attached.stdin is not None
        assert follower.stdout.readline() == b"a\n"
        attached.stdin.write(b"go\n")
        attached.stdin.flush()
        assert follower.stdout.read() == b"bc\n"
