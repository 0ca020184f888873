"""What stops a daemon from starting is one clear line and exit code 1; and a start that nobody asked for in so many words."""

from __future__ import annotations

import os
import platform
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from docket_program import PROGRAM, environment, run_docket

from docket.event_store.opening import SCHEMA

pytestmark = pytest.mark.root

Start = Any
NOBODY = 65534


def refusal(daemon: Any) -> str:
    """The one line that says why; what was logged before does not count."""
    status, text = daemon.ended()
    assert status == 1
    lines = [line for line in text.splitlines() if not line.startswith("time=")]
    assert len(lines) == 1, text
    return str(lines[0])


def test_two_daemons_side_by_side(start: Start, tmp_path: Path) -> None:
    """Each has its own roots, names, log, cgroup and id; one that starts does not take the other's containers for strays."""
    one = start(root=tmp_path / "one").ready()
    one.out("run", "-d", "--name", "web", "docket/base", "sleep", "100")
    two = start(root=tmp_path / "two").ready()
    assert one.get("/info")["ID"] != two.get("/info")["ID"]
    two.out("run", "-d", "--name", "web", "docket/base", "sleep", "100")
    two.stop()
    two = start(root=tmp_path / "two").ready()
    assert one.out("exec", "web", "echo", "lives") == "lives"
    one.out("rm", "-f", "web")
    assert two.out("ps", "--format", "{{.Names}}") == "web"
    assert one.out("ps", "-aq") == ""


def test_a_second_daemon_on_one_data_root_is_refused(start: Start, tmp_path: Path) -> None:
    """It names the process that has the log, and does no harm to it."""
    first = start().ready()
    second = start("--exec-root", f"{tmp_path}/x", "-H", f"unix://{tmp_path}/x.sock", "--data-root", f"{tmp_path}/data",
                   hosts=False, roots=False)  # fmt: skip
    assert refusal(second) == (
        f"docket daemon: event log {tmp_path}/data/log.db is in use by process {first.process.pid}: "
        "stop that docket daemon, or give this one another data root"
    )
    assert first.out("run", "--rm", "docket/base", "echo", "unharmed") == "unharmed"


def test_an_address_in_use_is_refused_and_nothing_is_left(start: Start, tmp_path: Path) -> None:
    """The other daemon's socket stays; the sockets that were opened before it go again."""
    first = start(root=tmp_path / "one").ready()
    second = start("-H", f"unix://{tmp_path}/two.sock", "-H", first.host, root=tmp_path / "two", hosts=False)
    assert refusal(second).endswith("another process listens there; stop it or use another path")
    assert not (tmp_path / "two.sock").exists()
    assert first.out("ps", "-q") == ""


def test_the_id_is_the_data_roots(start: Start) -> None:
    """It is the same after a restart and in the log; another data root has another one."""
    daemon = start().ready()
    identifier = daemon.get("/info")["ID"]
    assert "EngineCreated" in daemon.out("log")
    daemon.stop(signal.SIGKILL)
    assert start().ready().get("/info")["ID"] == identifier


def change(root: Path, *statements: str) -> None:
    with closing(sqlite3.connect(root / "data" / "log.db", isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)


def test_a_log_of_a_newer_docket_is_refused(start: Start, tmp_path: Path) -> None:
    """Nothing is changed, and the sentence says which docket to start."""
    start().ready().stop()
    change(tmp_path, "PRAGMA user_version = 99", "INSERT INTO written_by VALUES (99, '9.8.7')")
    assert f"has schema 99, written by docket 9.8.7; this docket knows schemas up to {SCHEMA}" in refusal(start())


def test_s52_a_damaged_log_is_refused_by_the_events_number(start: Start, tmp_path: Path) -> None:
    """At the end of the log at once; before the last state snapshot once the running daemon has found it."""
    daemon = start().ready()
    daemon.out("run", "--rm", "docket/base", "true")
    daemon.stop(signal.SIGKILL)
    pristine = shutil.copytree(tmp_path / "data", tmp_path / "pristine")
    drop = ("DROP TRIGGER events_are_not_updated", "DROP TRIGGER events_are_not_deleted")
    change(tmp_path, *drop, "UPDATE events SET actor = 'nobody' WHERE position = 3")
    assert "event log" in (line := refusal(start()))
    assert "is damaged (event 3: does not match its hash" in line
    assert line.endswith("restore the data root from a backup, or move the file away to begin with an empty log")

    shutil.rmtree(tmp_path / "data")
    shutil.move(pristine, tmp_path / "data")
    start().ready().stop()  # a clean end takes a state snapshot
    change(tmp_path, *drop, "UPDATE events SET actor = 'nobody' WHERE position = 3")
    daemon = start().ready()
    assert "position=3" in daemon.wait_for('level=error msg="event log is damaged"')
    shown = daemon.docket("info")
    assert "Event Log: " in shown.stdout
    assert "damaged at 3" in shown.stdout
    assert "WARNING: the event log is damaged: event 3: " in shown.stderr
    audit = daemon.docket("audit", "verify")
    assert (audit.returncode, audit.stderr[:43]) == (1, "docket: the log was altered at position 3: ")
    assert daemon.out("run", "--rm", "docket/base", "echo", "goes on") == "goes on"
    daemon.stop()
    assert "is damaged (event 3: " in refusal(start())


def test_a_file_in_the_logs_place_is_refused(start: Start, tmp_path: Path) -> None:
    """Bytes that are no database are left as they are."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "log.db").write_bytes(b"no database " * 1000)
    assert "log.db is damaged or no database" in refusal(start())
    assert (tmp_path / "data" / "log.db").read_bytes() == b"no database " * 1000


def as_nobody(*arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    """The program run by a user without any privilege. It was loaded before, for that user may not read the checkout."""
    script = (
        "import os, sys\n"
        "import docket.cli.main, docket.cli.commands.ps, docket.cli.commands.daemon, docket.cli.client, docket.cli.usage\n"
        "import docket.cli.daemon, docket.cli.daemon_options, docket.cli.formatting\n"
        f"os.setgroups([]); os.setgid({NOBODY}); os.setuid({NOBODY})\n"
        "docket.cli.main.main()\n"
    )
    return subprocess.run(
        [sys.executable, "-c", script, *arguments], env=environment(**more), capture_output=True, text=True, timeout=60
    )


def test_a_daemon_needs_root() -> None:
    """It says what for."""
    done = as_nobody("daemon")
    assert (done.returncode, done.stderr) == (
        1, "docket daemon: the daemon needs root: it makes namespaces, mounts and cgroups\n",
    )  # fmt: skip


def test_the_socket_is_not_for_everybody(start: Start) -> None:
    """Who may not use it is told who may; a member of the group may."""
    # Not below pytest's own directory, which is private, and made so again by every session that begins meanwhile.
    with tempfile.TemporaryDirectory() as place:
        os.chmod(place, 0o755)
        host = f"unix://{place}/docket.sock"
        daemon = start("-H", host, hosts=False).ready()
        done = as_nobody("-H", host, "ps")
        assert (done.returncode, done.stderr) == (
            1,
            f"docket: cannot reach the docket daemon at {host}: permission denied: "
            "run as root, or as a member of the group that owns the socket\n",
        )
        daemon.stop()
        start("-H", host, "--group", str(NOBODY), hosts=False).ready()
        assert as_nobody("-H", host, "ps", "-q").returncode == 0


@pytest.mark.skipif(shutil.which("setarch") is None, reason="needs setarch (util-linux), which can pretend to be an old kernel")
def test_a_kernel_that_is_too_old_is_refused(start: Start) -> None:
    """The line names both versions."""
    daemon = start(program=["setarch", platform.machine(), "--uname-2.6", *PROGRAM])
    line = refusal(daemon)
    assert line.startswith("docket daemon: this kernel is Linux 2.6.")
    assert "docket needs 5.12 or newer" in line


def test_settings_that_are_refused_stop_the_start(start: Start, tmp_path: Path) -> None:
    """dockerd's sentences; --validate says the same without starting anything, or that all is well."""
    config = tmp_path / "daemon.json"
    config.write_text('{"labels": ["a=b"], "no-such-key": 1}')
    sentence = (
        f"docket daemon: unable to configure the Docker daemon with file {config}: "
        "the following directives don't match any configuration option: no-such-key"
    )
    assert refusal(start("--config-file", str(config))) == sentence
    done = run_docket("daemon", "--validate", "--config-file", str(config))
    assert (done.returncode, done.stderr) == (1, sentence + "\n")
    config.write_text('{"labels": ["a=b"]}')
    done = run_docket("daemon", "--validate", "--config-file", str(config), "--label", "c=d")
    assert (done.returncode, done.stderr) == (
        1,
        f"docket daemon: unable to configure the Docker daemon with file {config}: the following directives are specified "
        "both as a flag and in the configuration file: labels: (from flag: [c=d], from file: [a=b])\n",
    )
    done = run_docket("daemon", "--validate", "--config-file", str(config))
    assert (done.returncode, done.stderr) == (0, "configuration OK\n")


@pytest.mark.skipif(os.path.isdir("/run/systemd/system"), reason="needs a host whose init is not systemd")
def test_the_driver_systemd_needs_systemd(start: Start) -> None:
    """At once, and not at every start of a container."""
    line = refusal(start("--exec-opt", "native.cgroupdriver=systemd"))
    assert line == (
        "docket daemon: native.cgroupdriver=systemd: this host was not booted with systemd: there is no /run/systemd/system: "
        "use native.cgroupdriver=cgroupfs"
    )


def test_a_command_starts_an_engine_when_none_was_named(tmp_path: Path) -> None:
    """On the default socket, in a session of its own; the second command finds it. Namespaces keep it off the host."""
    script = f"""
mkdir -p {tmp_path}/run {tmp_path}/lib
mount --make-rprivate / && mount -t tmpfs run /run && mkdir -p /var/lib/docket && mount --bind {tmp_path}/lib /var/lib/docket
docket() {{ "$PYTHON" -c "$PROGRAM" "$@"; }}
docket run --rm docket/base echo started || cat /run/docket/daemon.log
first=$(docket info -f '{{{{.ID}}}}')
[ "$first" = "$(docket info -f '{{{{.ID}}}}')" ] && echo same
pid=$(cat /var/lib/docket/log.db.lock)
[ "$(cut -d ' ' -f 6 /proc/$pid/stat)" = $pid ] && echo session
[ "$(readlink /proc/$pid/cwd)" = / ] && echo root
kill $pid; while [ -e /proc/$pid ]; do sleep 0.05; done
printf broken > /var/lib/docket/log.db
docket ps; echo status $?
"""
    done = subprocess.run(
        ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", script],
        env=environment(PYTHON=sys.executable, PROGRAM=PROGRAM[2]),
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.stdout.split() == ["started", "same", "session", "root", "status", "1"], done
    [line] = done.stderr.splitlines()
    assert line.startswith("docket: the docket daemon ended: docket daemon: event log /var/lib/docket/log.db")


def test_a_launcher_that_was_killed_is_replaced(start: Start) -> None:
    """Containers live on, and the next one starts."""
    daemon = start().ready()
    daemon.out("run", "-d", "--name", "before", "docket/base", "sleep", "100")
    children = Path(f"/proc/{daemon.process.pid}/task/{daemon.process.pid}/children").read_text().split()
    [launcher] = [pid for pid in children if "kernel.launcher" in Path(f"/proc/{pid}/cmdline").read_text()]
    os.kill(int(launcher), signal.SIGKILL)
    assert daemon.out("run", "--rm", "docket/base", "echo", "after") == "after"
    assert daemon.out("exec", "before", "echo", "lives") == "lives"


def test_after_a_kill_little_is_read_again(start: Start) -> None:
    """State snapshots are taken while the daemon runs, so a start after a kill does not depend on the length of the log."""
    daemon = start().ready()
    container = daemon.out("create", "docket/base", "true")
    daemon.stop()
    lengthen(daemon.root / "data" / "log.db", container, 10_000)
    daemon = start("-D").ready()
    for number in range(2):
        daemon.out("rename", container, f"again-{number}")
    daemon.wait_for("State snapshot taken")
    daemon.out("rename", container, "again-2")  # durable behind the snapshot
    daemon.stop(signal.SIGKILL)
    with closing(sqlite3.connect(daemon.root / "data" / "log.db")) as connection:
        [(position,)] = connection.execute("SELECT max(position) FROM state_snapshots").fetchall()
    assert position > 10_000
    assert start().ready().out("ps", "-a", "--format", "{{.Names}}") == "again-2"


def lengthen(log: Path, container: str, events: int) -> None:
    """Gives the container a long past."""
    import trio

    from docket.domain.log import Batch, Metadata
    from docket.domain.model.container.events import ContainerRenamed
    from docket.domain.model.state import EVENT_TYPES
    from docket.event_store.codec import Codec
    from docket.event_store.sqlite import SqliteEventStore

    async def append() -> None:
        with SqliteEventStore(log, Codec(EVENT_TYPES)) as store:
            renames = [ContainerRenamed(container, f"n{number}", f"n{number - 1}") for number in range(events)]
            await store.append(Batch(tuple(renames), Metadata(1)))

    trio.run(append)


def test_the_first_answer_waits_for_no_manifest(start: Start) -> None:
    """What a killed engine left of images is found by reading every manifest: meanwhile the engine answers, and then it is gone."""
    daemon = start().ready()
    image = daemon.get("/images/docket/base/json")
    daemon.stop()
    blobs = daemon.root / "data/content/blobs/sha256"
    (blobs / ("0" * 64)).write_bytes(b"garbage")
    (manifest,) = [file for file in blobs.iterdir() if image["Id"].encode() in file.read_bytes()]
    content = manifest.read_bytes()
    manifest.unlink()
    os.mkfifo(manifest)  # whoever reads it waits for somebody who writes
    again = start(root=daemon.root).ready()
    assert again.out("run", "--rm", "docket/base", "echo", "hello") == "hello"
    assert (blobs / ("0" * 64)).exists()
    with manifest.open("wb") as reader_is_there:
        manifest.unlink()
        manifest.write_bytes(content)
        reader_is_there.write(content)
    for _ in range(400):
        if not (blobs / ("0" * 64)).exists():
            break
        time.sleep(0.02)
    assert not (blobs / ("0" * 64)).exists()
    assert again.get("/images/docket/base/json")["Id"] == image["Id"]
    assert "EngineSwept" in again.out("log", "--type", "EngineSwept")
