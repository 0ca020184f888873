"""Every option of the daemon has its effect, on a real daemon."""

from __future__ import annotations

import grp
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from docket_program import PROGRAM, environment

pytestmark = pytest.mark.root

Start = Any


def configuration(path: Path, **keys: Any) -> str:
    """Writes a daemon.json; underscores stand for dashes."""
    path.write_text(json.dumps({name.replace("_", "-"): value for name, value in keys.items()}))
    return str(path)


def test_every_key_of_the_file_has_its_effect(start: Start, tmp_path: Path) -> None:
    """A daemon.json alone makes the whole daemon."""
    here = tmp_path / "elsewhere"
    config = configuration(
        tmp_path / "daemon.json",
        hosts=[f"unix://{tmp_path}/docket.sock", f"unix://{tmp_path}/second.sock"],
        data_root=str(here / "data"), exec_root=str(here / "exec"), pidfile=str(tmp_path / "docket.pid"),
        labels=["a=b", "rack=7"], insecure_registries=["reg.example:5000", "10.1.2.3/8"],
        registry_mirrors=["https://mirror.example"], debug=True, no_new_privileges=True,
        default_ulimits={"nofile": {"Name": "nofile", "Soft": 123, "Hard": 456}}, default_shm_size="16M",
        log_opts={"max-size": "1m", "max-file": "2"}, live_restore=True, storage_driver="overlay2", shutdown_timeout=1,
    )  # fmt: skip
    here.mkdir()
    running = start("--config-file", config, hosts=False, roots=False).ready()
    info = running.get("/info")
    assert info["Labels"] == ["a=b", "rack=7"]
    assert info["DockerRootDir"] == str(here / "data")
    assert info["Debug"] is True
    assert info["RegistryConfig"]["InsecureRegistryCIDRs"] == ["10.0.0.0/8"]
    assert info["RegistryConfig"]["IndexConfigs"]["reg.example:5000"]["Secure"] is False
    assert info["RegistryConfig"]["Mirrors"] == ["https://mirror.example/"]
    assert "name=no-new-privileges" in info["SecurityOptions"]
    assert (tmp_path / "docket.pid").read_text() == f"{running.process.pid}\n"
    assert (here / "exec" / "shims").is_dir()
    assert (tmp_path / "second.sock").is_socket()
    look = "grep NoNewPrivs /proc/self/status; ulimit -Sn; ulimit -Hn; df -m /dev/shm | tail -1"
    lines = running.out("run", "--rm", "docket/base", "sh", "-c", look).splitlines()
    assert lines[:3] == ["NoNewPrivs:\t1", "123", "456"]
    assert lines[3].split()[1] == "16"
    identifier = running.out("create", "docket/base", "true")
    [created] = [
        json.loads(line) for line in running.out("log", "--json", "--container", identifier).splitlines()
        if '"ContainerCreated"' in line
    ]  # fmt: skip
    assert (created["data"]["spec"]["log_max_bytes"], created["data"]["spec"]["log_files"]) == (1 << 20, 2)
    running.stop()
    assert not (tmp_path / "docket.pid").exists()


def test_flags_do_what_the_file_does(start: Start) -> None:
    """Repeated flags add up, and a container's own word is stronger than the daemon's."""
    daemon = start(
        "--label", "a=b", "--label", "c=d", "--insecure-registry", "one:1", "--insecure-registry", "two", "--no-new-privileges",
        "--default-ulimit", "nofile=99:199", "--default-ulimit", "core=0", "--log-opt", "max-file=1",
    ).ready()  # fmt: skip
    info = daemon.get("/info")
    assert info["Labels"] == ["a=b", "c=d"]
    assert set(info["RegistryConfig"]["IndexConfigs"]) == {"docker.io", "one:1", "two"}
    look = "grep NoNewPrivs /proc/self/status; ulimit -Sn; ulimit -c"
    own = ("--security-opt", "no-new-privileges=false", "--ulimit", "nofile=50:60")
    assert daemon.out("run", "--rm", "docket/base", "sh", "-c", look).split() == ["NoNewPrivs:", "1", "99", "0"]
    assert daemon.out("run", "--rm", *own, "docket/base", "sh", "-c", look).split() == ["NoNewPrivs:", "0", "50", "0"]


def test_hup_reloads_and_is_an_event(start: Start, tmp_path: Path) -> None:
    """What can change changes, without a restart, for everybody to see: `info`, the log, Docker's reload message."""
    config = configuration(tmp_path / "daemon.json", labels=["a=b"], log_level="info")
    daemon = start("--config-file", config).ready()
    since = time.time()
    configuration(
        tmp_path / "daemon.json",
        labels=["a=c"], debug=True, insecure_registries=["reg:5000"], registry_mirrors=["http://m"], data_root="/elsewhere",
    )  # fmt: skip
    # The data root is a flag as well, so this file is refused, and everything stays as it is.
    daemon.process.send_signal(signal.SIGHUP)
    assert "specified both as a flag and in the configuration file: data-root" in daemon.wait_for("Error reconfiguring")
    assert daemon.get("/info")["Labels"] == ["a=b"]
    configuration(
        tmp_path / "daemon.json", labels=["a=c"], debug=True, insecure_registries=["reg:5000"], registry_mirrors=["http://m"]
    )
    daemon.process.send_signal(signal.SIGHUP)
    assert '\\"labels\\":[\\"a=c\\"]' in daemon.wait_for("Reloaded configuration")
    info = daemon.get("/info")
    assert (info["Labels"], info["Debug"]) == (["a=c"], True)
    assert info["RegistryConfig"]["Mirrors"] == ["http://m/"]
    daemon.wait_for('level=debug msg="GET /info"')
    until = str(int(time.time()) + 1)
    told = daemon.out("events", "--since", str(since), "--until", until, "--filter", "type=daemon", "--format", "json")
    message = json.loads(told)
    assert (message["Action"], message["Actor"]["ID"]) == ("reload", info["ID"])
    assert message["Actor"]["Attributes"]["labels"] == '["a=c"]'
    assert "EngineReconfigured" in daemon.out("log")


def test_levels_of_the_daemons_own_log(start: Start, tmp_path: Path) -> None:
    """Each line is logfmt; a level says this and what is worse, and clients' bytes do not break a line (S55)."""
    quiet = start("--log-level", "error")
    while quiet.docket("version").returncode:
        assert quiet.process.poll() is None
    assert quiet.stop() == (0, "")
    daemon = start("-D").ready()
    daemon.ask("GET", "/containers/a%22%20level=fatal%C2%9B/json")
    line = daemon.wait_for("/containers/a")
    assert line.startswith('time="20')
    assert 'level=debug msg="GET /containers/a\\" level=fatal\\u009b/json" status=404 actor="uid=0' in line
    daemon.docket("run", "docket/base", "nosuch")
    assert "name=start" in daemon.wait_for("job rejected")
    status, text = daemon.stop()
    assert status == 0
    for word in (
        "Starting up",
        "Recovery done",
        "API listen on unix://",
        "Processing signal 'Terminated'",
        "shutdown complete",
    ):
        assert word in text


def test_the_group_may_use_the_socket(start: Start) -> None:
    """By name and by number; a group that does not exist is refused."""
    name = grp.getgrgid(os.getgid()).gr_name if os.getgid() else "daemon"
    for group in (name, str(grp.getgrnam(name).gr_gid)):
        daemon = start("--group", group).ready()
        found = os.stat(daemon.socket)
        assert (found.st_gid, stat.S_IMODE(found.st_mode)) == (grp.getgrnam(name).gr_gid, 0o660)
        daemon.stop()
    status, text = start("--group", "no-such-group").ended()
    assert status == 1
    assert text.splitlines()[-1].endswith("there is no group 'no-such-group'; create it or name another")


def test_a_pid_file_keeps_a_second_daemon_off(start: Start, tmp_path: Path) -> None:
    """One of a process that lives is respected; one that a crash left is replaced; a clean end removes it."""
    pidfile = tmp_path / "docket.pid"
    gone = subprocess.Popen(["true"])
    gone.wait()
    pidfile.write_text(f"{gone.pid}\n")
    daemon = start("--pidfile", str(pidfile), root=tmp_path / "one").ready()
    assert pidfile.read_text() == f"{daemon.process.pid}\n"
    status, text = start("-p", str(pidfile), root=tmp_path / "two").ended()
    assert (status, text) == (
        1,
        f"docket daemon: process with PID {daemon.process.pid} is still running: "
        f"pid file found, ensure docket is not running or delete {pidfile}",
    )
    assert pidfile.read_text() == f"{daemon.process.pid}\n"
    daemon.stop(signal.SIGKILL)
    assert pidfile.exists()
    again = start("--pidfile", str(pidfile), root=tmp_path / "one").ready()
    again.stop()
    assert not pidfile.exists()


def test_several_addresses_are_served(start: Start, tmp_path: Path) -> None:
    """-H is repeated; all of them lead to the same engine, and all unix sockets are gone afterwards."""
    daemon = start("-H", f"unix://{tmp_path}/b.sock", "-H", "tcp://127.0.0.1:0", "--insecure-tcp").ready()
    tcp = daemon.wait_for("API listen on tcp://").partition("tcp://")[2].rstrip('"')
    answers = {_id(address) for address in (daemon.host, f"unix://{tmp_path}/b.sock", f"tcp://{tcp}")}
    assert answers == {daemon.get("/info")["ID"]}
    [warning] = [each for each in daemon.get("/info")["Warnings"] if "API is accessible" in each]
    assert f"API is accessible on tcp://{tcp} without client certificates" in warning
    daemon.stop()
    assert not list(tmp_path.glob("*.sock"))


def _id(address: str) -> str:
    done = subprocess.run(
        [*PROGRAM, "-H", address, "info", "-f", "{{.ID}}"], env=environment(), capture_output=True, text=True, timeout=30
    )
    return done.stdout.strip()


# What systemd does: the socket as descriptor 3, and two variables, in the very process that becomes the daemon.
_ACTIVATE = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.close(int(sys.argv[1]))
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1")
os.execv(sys.argv[2], sys.argv[2:])
"""


def test_sockets_that_systemd_passes(start: Start, tmp_path: Path) -> None:
    """fd:// serves the socket that came as descriptor 3, and no process that the daemon starts inherits it."""
    path = f"{tmp_path}/docket.sock"
    with socket.socket(socket.AF_UNIX) as passed:
        passed.bind(path)
        passed.listen(16)
        program = [sys.executable, "-c", _ACTIVATE, str(passed.fileno()), *PROGRAM]
        daemon = start("-H", "fd://", hosts=False, program=program, pass_fds=[passed.fileno()]).ready()
    daemon.out("run", "-d", "docket/base", "sleep", "100")
    children = Path(f"/proc/{daemon.process.pid}/task/{daemon.process.pid}/children").read_text().split()
    inode = f"socket:[{_socket_inode(path)}]"
    holders = [pid for pid in [*children, str(daemon.process.pid)] if inode in _descriptors(pid)]
    assert holders == [str(daemon.process.pid)]
    daemon.out("rm", "-f", *daemon.out("ps", "-q").split())


def _socket_inode(path: str) -> str:
    rows = Path("/proc/net/unix").read_text().splitlines()
    return next(row.split()[6] for row in rows if row.endswith(f" {path}") and row.split()[5] == "01")


def _descriptors(pid: str) -> set[str]:
    return {os.readlink(entry) for entry in Path(f"/proc/{pid}/fd").iterdir()}


def test_fd_without_sockets_is_refused(start: Start) -> None:
    """The message says where the sockets would come from."""
    status, text = start("-H", "fd://", hosts=False).ended()
    assert status == 1
    assert "systemd passed no sockets to this process; start it from a socket unit" in text.splitlines()[-1]
