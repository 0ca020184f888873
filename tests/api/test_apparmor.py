"""AppArmor for real, on a kernel that has it (``vm/run-qemu``): containers run in profiles, and are held to them."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from docker_daemon import Daemon


def why_not() -> str:
    """Why profiles cannot be loaded here; empty when they can."""
    enabled = Path("/sys/module/apparmor/parameters/enabled")
    if not enabled.exists() or not enabled.read_text().startswith("Y"):
        return "needs a kernel with AppArmor: vm/run-qemu boots one"
    if not Path("/sys/kernel/security/apparmor/profiles").exists():
        return "needs securityfs at /sys/kernel/security"
    return "" if shutil.which("apparmor_parser") else "needs apparmor_parser, of the package apparmor"


pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(bool(why_not()), reason=why_not() or "AppArmor"),
    pytest.mark.skipif(shutil.which("docker") is None, reason="no docker CLI is installed"),
]
PROFILE = """
profile %s flags=(attach_disconnected,mediate_deleted) {
  capability,
  network,
  file,
  signal,
  deny /tmp/forbidden* w,
}
"""
WRITE = "cat /proc/self/attr/current; echo yes > /tmp/allowed && echo no > /tmp/forbidden; ls /tmp"


def load(option: str, name: str) -> None:
    subprocess.run(["apparmor_parser", option, "-K"], input=PROFILE % name, text=True, check=True, timeout=120)


def loaded(name: str) -> bool:
    return f"\n{name} (" in "\n" + Path("/sys/kernel/security/apparmor/profiles").read_text()


@pytest.fixture(scope="module")
def profiles() -> Iterator[None]:
    """A profile of the test's own, and one by the name of Docker's default, unless the host has that."""
    names = ["docket-test"] if loaded("docker-default") else ["docket-test", "docker-default"]
    for name in names:
        load("-r", name)
    yield
    for name in names:
        load("-R", name)


@pytest.fixture(scope="module")
def daemon(profiles: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    running = Daemon(tmp_path_factory.mktemp("docket"))
    yield running
    for container in running.out("ps", "-aq").split():
        running.docker("rm", "-f", container)
    running.stop()
    assert not os.listdir(running.root / "exec" / "containers")


def test_a_named_profile_confines_the_container_and_its_execs(daemon: Daemon) -> None:
    """It says what is denied although root owns the file; inspect names it."""
    made = daemon.out("run", "-d", "--security-opt", "apparmor=docket-test", "docket/base", "sh", "-c", f"{WRITE}; sleep 1000")
    try:
        assert daemon.out("inspect", "-f", "{{.AppArmorProfile}}", made) == "docket-test"
        done = daemon.docker("exec", made, "sh", "-c", f"{WRITE}; echo no > /tmp/forbidden2")
        assert done.stdout.splitlines() == ["docket-test (enforce)", "allowed"]
        assert "can't create /tmp/forbidden2: Permission denied" in done.stderr
        pid = daemon.out("inspect", "-f", "{{.State.Pid}}", made)
        assert Path(f"/proc/{pid}/attr/current").read_text() == "docket-test (enforce)\n"
    finally:
        daemon.out("rm", "-f", made)


def test_the_default_profile_is_used_where_it_is_loaded(daemon: Daemon) -> None:
    """Without being asked for; `unconfined` and `--privileged` go without."""
    assert "name=apparmor" in daemon.out("info", "-f", "{{.SecurityOptions}}")
    look = ("docket/base", "cat", "/proc/self/attr/current")
    assert daemon.out("run", "--rm", *look) == "docker-default (enforce)"
    assert daemon.out("run", "--rm", "--security-opt", "apparmor=unconfined", *look) == "unconfined"
    assert daemon.out("run", "--rm", "--privileged", *look) == "unconfined"
    assert daemon.out("run", "--rm", "--privileged", "--security-opt", "apparmor=docket-test", *look) == "docket-test (enforce)"
