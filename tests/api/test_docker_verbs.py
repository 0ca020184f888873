"""The verbs of the docker CLI that issue 2 names, as they print and exit: what other files of this folder do not hold already."""

from __future__ import annotations

import json
import re
import select
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from docker_daemon import Daemon
from stream_clients import IMAGE, begun, environment_of

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(shutil.which("docker") is None, reason="no docker CLI is installed"),
]

ID = re.compile(r"[0-9a-f]{64}")


def failed(daemon: Daemon, *arguments: str) -> tuple[int, str]:
    done = daemon.docker(*arguments)
    assert done.returncode != 0
    return done.returncode, done.stderr.splitlines()[0]


# create, start, run.


def test_create_and_start_print_what_docker_prints(daemon: Daemon) -> None:
    """The id; and the name that was given."""
    made = daemon.out("create", "--name", "plain", IMAGE, "echo", "hi")
    assert ID.fullmatch(made)
    assert daemon.out("start", "plain") == "plain"
    assert daemon.out("start", "plain", made[:12]).splitlines() == ["plain", made[:12]]
    assert daemon.out("start", "-a", "plain") == "hi"
    assert daemon.out("wait", "plain", made) == "0\n0"


def test_run_in_the_background_prints_the_id(daemon: Daemon, tmp_path: Path) -> None:
    """`-d`; the id is in the file of `--cidfile` too, and a second use of that file is refused."""
    file = tmp_path / "cid"
    made = daemon.out("run", "-d", "--cidfile", str(file), IMAGE, "sleep", "1000")
    assert ID.fullmatch(made)
    assert file.read_text() == made
    assert failed(daemon, "run", "--cidfile", str(file), IMAGE, "true")[0] == 125
    daemon.out("rm", "-f", made)


@pytest.mark.parametrize(
    ("options", "command", "shown"),
    [
        (["-e", "A=1", "--env", "B=two words"], "echo $A $B", "1 two words"),
        (["-w", "/proc/sys"], "pwd", "/proc/sys"),
        (["-u", "12:34"], "id -u; id -g", "12\n34"),
        (["-h", "given"], "hostname", "given"),
        (["--entrypoint", "/bin/echo"], None, "sh -c"),
        (["--read-only"], "touch /x 2>&1 | grep -c Read-only", "1"),
        (["--tmpfs", "/t:size=1m"], "df -k /t | tail -1 | awk '{print $2}'", "1024"),
        (["--shm-size", "1m"], "df -k /dev/shm | tail -1 | awk '{print $2}'", "1024"),
        (["--ulimit", "nofile=77:88"], "ulimit -Sn; ulimit -Hn", "77\n88"),
        (["--sysctl", "kernel.msgmax=9000"], "cat /proc/sys/kernel/msgmax", "9000"),
        (["--group-add", "77"], "id -G", "0 77"),
        (["--init"], "cat /proc/1/cmdline | tr '\\0' ' ' | grep -c docket", "1"),
        (["--pid", "host"], "test $$ -gt 1 && echo host", "host"),
        (["--label", "a=b", "--stop-signal", "INT", "--stop-timeout", "3"], "echo labelled", "labelled"),
        (["--cap-drop", "ALL"], "grep CapEff /proc/self/status | cut -f2", "0000000000000000"),
        (["--security-opt", "no-new-privileges"], "grep NoNewPrivs /proc/self/status | cut -f2", "1"),
        (["--network", "none"], "ls /sys/class/net", "lo"),
        (["--oom-score-adj", "77"], "cat /proc/self/oom_score_adj", "77"),
    ],
)
def test_run_does_what_an_option_says(daemon: Daemon, options: list[str], command: str | None, shown: str) -> None:
    """One everyday option each."""
    arguments = ["sh", "-c", command] if command else ["sh", "-c"]
    assert daemon.out("run", "--rm", *options, IMAGE, *arguments) == shown


def test_an_image_that_is_not_there_ends_with_125(daemon: Daemon) -> None:
    """The CLI pulls it, is told that nobody answers there, and says so."""
    code, text = failed(daemon, "run", "--rm", "127.0.0.1:1/no/such", "true")
    assert (code, text) == (125, "Unable to find image '127.0.0.1:1/no/such:latest' locally")
    assert failed(daemon, "run", "--pull", "never", "127.0.0.1:1/no/such", "true")[0] == 125


# Looking at containers.


def test_ps_in_its_forms(daemon: Daemon) -> None:
    """The table, quiet, all, last, filters, formats."""
    made = daemon.out("run", "-d", "--name", "shown", "--label", "x=y", IMAGE, "sleep", "1000")
    header, row = daemon.docker("ps").stdout.splitlines()
    assert header.split() == ["CONTAINER", "ID", "IMAGE", "COMMAND", "CREATED", "STATUS", "PORTS", "NAMES"]
    assert re.fullmatch(
        rf'{made[:12]}   {IMAGE}   "sleep 1000"   (Less than a|1|\d+) seconds? ago   Up (Less than a|1|\d+) seconds? +shown',
        row,
    )
    assert daemon.out("ps", "-q") == made[:12]
    assert daemon.out("ps", "-q", "--no-trunc") == made
    daemon.out("create", "--name", "fresh", IMAGE, "true")
    assert daemon.out("ps", "-a", "--filter", "status=created", "--format", "{{.Names}} {{.Status}}") == "fresh Created"
    assert daemon.out("ps", "-l", "--format", "{{.Names}}") == "fresh"
    assert daemon.out("ps", "-n", "2", "--format", "{{.Names}}").splitlines() == ["fresh", "shown"]
    assert daemon.out("ps", "--filter", "label=x=y", "--filter", "name=^/shown$", "--format", '{{.Label "x"}}') == "y"
    assert json.loads(daemon.out("ps", "--format", "{{json .}}"))["State"] == "running"
    daemon.docker("rm", "-f", "shown", "fresh")


def test_inspect_in_its_forms(daemon: Daemon) -> None:
    """Several at once, a template, by type, and what is not there."""
    one = daemon.out("create", "--name", "one", IMAGE, "true")
    two = daemon.out("create", "--name", "two", IMAGE, "true")
    assert [each["Id"] for each in json.loads(daemon.out("inspect", "one", two[:10]))] == [one, two]
    assert daemon.out("inspect", "-f", "{{.Name}} {{.State.Status}} {{json .Args}}", "one") == "/one created []"
    assert json.loads(daemon.out("inspect", IMAGE))[0]["RepoTags"] == [f"{IMAGE}:latest"]
    done = daemon.docker("inspect", "--type", "container", "nobody")
    assert (done.returncode, done.stdout) == (1, "[]\n")
    assert "no such container: nobody" in done.stderr.lower()
    daemon.out("rm", "one", "two")


def test_top_takes_no_stopped_container(daemon: Daemon) -> None:
    """And shows ps's columns of a running one."""
    daemon.out("run", "-d", "--name", "topped", IMAGE, "sleep", "1000")
    header, row = daemon.out("top", "topped").splitlines()
    assert header.split() == ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"]
    assert row.split()[0] == "root"
    assert row.endswith("sleep 1000")
    pid = daemon.out("inspect", "-f", "{{.State.Pid}}", "topped")
    assert row.split()[1] == pid
    daemon.out("kill", "topped")
    daemon.out("wait", "topped")
    code, text = failed(daemon, "top", "topped")
    assert code == 1
    assert "is not running" in text


def test_stats_once_and_by_format(daemon: Daemon) -> None:
    """One row for each running container."""
    daemon.out("run", "-d", "--name", "measured", IMAGE, "sleep", "1000")
    header, row = daemon.out("stats", "--no-stream").splitlines()
    assert header.split()[:3] == ["CONTAINER", "ID", "NAME"]
    assert "measured" in row
    assert re.fullmatch(
        r"measured \d+\.\d\d%", daemon.out("stats", "--no-stream", "--format", "{{.Name}} {{.CPUPerc}}", "measured")
    )
    assert "No such container: nobody" in failed(daemon, "stats", "--no-stream", "nobody")[1]
    daemon.out("rm", "-f", "measured")


# Changing their state.


def test_stop_waits_and_then_kills(daemon: Daemon) -> None:
    """The stop signal, the patience of `-t`, and 137 when that was not enough."""
    daemon.out("run", "-d", "--name", "stubborn", IMAGE, "sh", "-c", "trap '' TERM; while :; do sleep 0.02; done")
    daemon.out("run", "-d", "--name", "polite", "--stop-signal", "USR1", IMAGE, "sh", "-c",
               "trap 'exit 8' USR1; echo up; while :; do sleep 0.02; done")  # fmt: skip
    while "up" not in daemon.out("logs", "polite"):
        time.sleep(0.01)
    assert daemon.out("stop", "-t", "0", "stubborn") == "stubborn"
    assert daemon.out("stop", "polite") == "polite"
    assert daemon.out("inspect", "-f", "{{.State.ExitCode}}", "stubborn", "polite").split() == ["137", "8"]
    assert daemon.out("stop", "polite") == "polite"
    daemon.out("rm", "stubborn", "polite")


def test_kill_sends_any_signal(daemon: Daemon) -> None:
    """By name, with and without SIG, and by number; a wrong one is refused."""
    script = "trap 'echo usr1' USR1; trap 'echo hup; exit 4' HUP; echo up; while :; do sleep 0.02; done"
    with begun(daemon, "run", "--name", "signalled", IMAGE, "sh", "-c", script) as run:
        assert run.stdout is not None
        assert run.stdout.readline() == b"up\n"
        assert daemon.out("kill", "-s", "SIGUSR1", "signalled") == "signalled"
        assert run.stdout.readline() == b"usr1\n"
        daemon.out("kill", "--signal", "10", "signalled")
        assert run.stdout.readline() == b"usr1\n"
        assert "invalid signal: NOTHING" in failed(daemon, "kill", "-s", "NOTHING", "signalled")[1]
        daemon.out("kill", "-s", "hup", "signalled")
        assert run.stdout.read() == b"hup\n"
        assert run.wait(30) == 4
    assert "is not running" in failed(daemon, "kill", "signalled")[1]


def test_kill_returns_when_the_container_has_ended(daemon: Daemon) -> None:
    """As in Docker: what follows a `kill` in a script finds a container that has stopped."""
    for _ in range(5):
        daemon.out("run", "-d", "--name", "victim", IMAGE, "sleep", "1000")
        daemon.out("kill", "victim")
        daemon.out("rm", "victim")


def test_restart_pause_and_unpause(daemon: Daemon) -> None:
    """A new process with the same id; a paused one that neither runs on nor takes an exec."""
    made = daemon.out("run", "-d", "--name", "again", IMAGE, "sh", "-c", "while :; do sleep 0.02; done")
    before = daemon.out("inspect", "-f", "{{.State.Pid}} {{.State.StartedAt}}", made)
    assert daemon.out("restart", "-t", "0", "again") == "again"
    assert daemon.out("inspect", "-f", "{{.State.Pid}} {{.State.StartedAt}}", made) != before
    assert daemon.out("pause", "again") == "again"
    assert "(Paused)" in daemon.out("ps", "--format", "{{.Status}}")
    assert "is paused, unpause the container before exec" in failed(daemon, "exec", "again", "true")[1]
    assert "already paused" in failed(daemon, "pause", "again")[1]
    assert daemon.out("unpause", "again") == "again"
    assert "is not paused" in failed(daemon, "unpause", "again")[1]
    daemon.out("exec", "again", "true")
    daemon.out("rm", "-f", "again")


def test_rename_and_rm_as_docker_refuses_them(daemon: Daemon) -> None:
    """Names in use, names that are none, containers that run, several at once with one that is not there."""
    made = daemon.out("run", "-d", "--name", "first", IMAGE, "sleep", "1000")
    daemon.out("create", "--name", "second", IMAGE, "true")
    code, text = failed(daemon, "rename", "second", "first")
    assert f'The container name "/first" is already in use by container "{made}"' in text
    assert "Invalid container name" in failed(daemon, "rename", "second", "no good")[1]
    assert daemon.out("rename", "second", "third") == ""
    code, text = failed(daemon, "rm", "first")
    assert (code, "container is running: stop the container before removing or force remove" in text) == (1, True)
    done = daemon.docker("rm", "-f", "third", "nobody", "first")
    assert done.stdout.splitlines() == ["third", "first"]
    assert "No such container: nobody" in failed(daemon, "rm", "nobody")[1]


def test_wait_gives_every_code(daemon: Daemon) -> None:
    """In the order asked for, and it waits."""
    daemon.out("run", "-d", "--name", "three", IMAGE, "sh", "-c", "exit 3")
    daemon.out("run", "-d", "-i", "--name", "later", IMAGE, "sh", "-c", "read x; exit 4")
    with begun(daemon, "wait", "three", "later") as waiting, begun(daemon, "attach", "later") as attached:
        assert waiting.stdout and attached.stdin
        assert waiting.stdout.readline() == b"3\n"
        attached.stdin.write(b"go\n")
        attached.stdin.flush()
        assert waiting.stdout.read() == b"4\n"
    daemon.out("rm", "three", "later")


# Execs.


def test_exec_with_its_options(daemon: Daemon) -> None:
    """User, directory, environment, in the background, and the codes of what cannot run."""
    daemon.out("run", "-d", "--name", "host", "-e", "OF=container", IMAGE, "sleep", "1000")
    script = "echo $(id -u) $(pwd) $V $OF"
    assert daemon.out("exec", "-u", "9", "-w", "/tmp", "-e", "V=w", "host", "sh", "-c", script) == "9 /tmp w container"
    assert daemon.out("exec", "-d", "host", "sleep", "500") == ""
    assert "sleep 500" in daemon.out("top", "host")
    for command, code, text in (
        ("nosuch", 127, "executable file not found in $PATH"),
        ("/etc/passwd", 126, "permission denied"),
        ("/nosuch", 127, "no such file"),
    ):  # fmt: skip
        done = daemon.docker("exec", "host", command)
        assert done.returncode == code
        assert text in done.stdout + done.stderr
    assert failed(daemon, "exec", "-d", "host", "nosuch")[0] in {1, 126, 127}
    assert daemon.docker("exec", "host", "sh", "-c", "kill -9 $$").returncode == 137
    daemon.out("rm", "-f", "host")
    assert "No such container: host" in failed(daemon, "exec", "host", "true")[1]


# Images.


def test_images_are_imported_listed_tagged_and_removed(daemon: Daemon, tmp_path: Path) -> None:
    """From a file, standard input and a pipe; what is in use is refused with Docker's words."""
    (tmp_path / "bin").mkdir()
    shutil.copy("/bin/busybox", tmp_path / "bin" / "busybox")
    subprocess.run(["tar", "-C", str(tmp_path), "-cf", str(tmp_path / "i.tar"), "bin"], check=True, timeout=60)
    changes = ["-c", 'ENTRYPOINT ["/bin/busybox"]', "-c", "ENV A=b", "-c", "LABEL l=v", "-m", "by hand"]
    made = daemon.out("import", *changes, str(tmp_path / "i.tar"), "verbs/one:1")
    assert re.fullmatch(r"sha256:[0-9a-f]{64}", made)
    with open(tmp_path / "i.tar", "rb") as archive:
        done = subprocess.run(
            ["docker", "import", "-", "verbs/two"],
            stdin=archive,
            env=environment_of(daemon),
            capture_output=True,
            check=True,
            timeout=60,
        )
    assert done.stdout.startswith(b"sha256:")
    listed = daemon.out("images", "--format", "{{.Repository}}:{{.Tag}}").splitlines()
    assert {"verbs/one:1", "verbs/two:latest"} <= set(listed)
    assert daemon.out("images", "-q", "--no-trunc", "verbs/one") == made
    assert daemon.out("images", "--filter", "label=l=v", "--format", "{{.ID}}") == made.removeprefix("sha256:")[:12]
    daemon.out("tag", made, "verbs/three")
    shown = json.loads(daemon.out("image", "inspect", "verbs/three"))[0]
    assert (shown["Id"], shown["Comment"], shown["Config"]["Entrypoint"]) == (made, "by hand", ["/bin/busybox"])
    assert daemon.out("run", "--name", "user", "verbs/three", "sh", "-c", "echo $A") == "b"
    assert daemon.out("rmi", "verbs/three") == "Untagged: verbs/three:latest"
    assert "is using" in failed(daemon, "rmi", "verbs/one:1")[1] or "conflict" in failed(daemon, "rmi", "verbs/one:1")[1]
    daemon.out("rm", "user")
    removed = daemon.out("rmi", "verbs/one:1").splitlines()
    assert removed[0] == "Untagged: verbs/one:1"
    assert f"Deleted: {made}" in removed
    assert "No such image: verbs/one:1" in failed(daemon, "rmi", "verbs/one:1")[1]
    assert "invalid reference format" in failed(daemon, "import", str(tmp_path / "i.tar"), "Not/Good")[1]
    daemon.out("rmi", "verbs/two")


# The engine.


def test_info_and_version_in_their_forms(daemon: Daemon) -> None:
    """The texts that people read, and the templates that scripts use; the network that is not there is said plainly."""
    info = daemon.docker("info")
    assert info.returncode == 0
    assert re.search(r"^ Cgroup Version: 2$", info.stdout, re.MULTILINE)
    assert re.search(r"^ Logging Driver: json-file$", info.stdout, re.MULTILINE)
    assert "default network is none" in info.stdout + info.stderr
    assert daemon.out("info", "-f", "{{.OSType}} {{.Driver}}") == "linux overlay2"
    version = daemon.out("version")
    assert re.search(r"API version: +1\.50 \(minimum version 1\.24\)", version)
    assert json.loads(daemon.out("version", "-f", "{{json .}}"))["Server"]["ApiVersion"] == "1.50"
    assert daemon.out("version", "-f", "{{.Server.Os}}/{{.Server.Arch}}").startswith("linux/")


def test_events_while_they_happen_and_afterwards(daemon: Daemon) -> None:
    """Docker's line for each; a follower sees them at once and is stopped by a signal."""
    since = str(int(time.time()))
    with begun(daemon, "events", "--filter", "event=create", "--format", "{{.Actor.Attributes.name}}") as events:
        assert events.stdout is not None
        number, seen = 0, []
        while not seen:  # the follower may not be there for the first
            number += 1
            daemon.out("create", "--name", f"seen-{number}", IMAGE, "true")
            seen, _, _ = select.select([events.stdout], [], [], 0.1)
        assert events.stdout.readline().startswith(b"seen-")
        events.send_signal(signal.SIGINT)
        events.wait(30)
    told = daemon.out("events", "--since", since, "--until", str(int(time.time()) + 1), "--filter", f"container=seen-{number}")
    assert re.fullmatch(
        r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}\S+ container create [0-9a-f]{64} \(.*image=docket/base, name=seen-\d+.*\)",
        told,
    )
    daemon.docker("rm", *(f"seen-{each}" for each in range(1, number + 1)))
