"""Hazards of copying into and out of a container whose processes do their worst (security.md, B)."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from http.client import IncompleteRead
from pathlib import Path

import pytest
from docker_daemon import Daemon, _Connection

pytestmark = pytest.mark.root

RACES = int(os.environ.get("DOCKET_RACES", "60"))
"""How often each direction is tried; 5,000 in a long run."""

# Exchanges a directory with a link to the host's canaries, as fast as it can (renameat2 RENAME_EXCHANGE).
RACER = """
import ctypes, os
libc = ctypes.CDLL(None)
os.makedirs("{base}/real/sub", exist_ok=True)
open("{base}/real/sub/f", "w").write("inside")
os.symlink("{outside}", "{base}/link")
while True:
    libc.syscall(316, -100, b"{base}/real", -100, b"{base}/link", 2)
"""


class Raced:
    """A container whose root somebody changes all the time, and canaries of the host."""

    def __init__(self, daemon: Daemon, base: Path) -> None:
        self.daemon = daemon
        self.outside = base / "outside"
        (self.outside / "sub").mkdir(parents=True)
        (self.outside / "sub/f").write_text("host")
        self.name = daemon.out("run", "-d", "docket/base", "sleep", "1000")
        pid = daemon.out("inspect", "-f", "{{.State.Pid}}", self.name)
        # From the host, in the container's own root: what a process in there could do, and faster.
        script = RACER.format(base=f"/proc/{pid}/root/race", outside=self.outside)
        self.racer = subprocess.Popen([sys.executable, "-c", script])
        while not os.path.lexists(f"/proc/{pid}/root/race/link"):
            assert self.racer.poll() is None

    def host(self) -> list[tuple[str, str, int]]:
        """The canaries, and whatever came beside them."""
        found = []
        for path in sorted(self.outside.rglob("*")):
            content = path.read_text() if path.is_file() else ""
            found.append((str(path.relative_to(self.outside)), content, path.lstat().st_mode))
        return found

    def request(self, method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
        connection = _Connection(f"{self.daemon.root}/docket.sock")
        try:
            connection.request(method, f"/containers/{self.name}/archive?path={path}", body)
            answer = connection.getresponse()
            try:
                return answer.status, answer.read()
            except IncompleteRead as cut:  # what the header spoke of was swapped before its content was sent
                return answer.status, cut.partial
        finally:
            connection.close()

    def close(self) -> None:
        self.racer.kill()
        self.racer.wait()
        self.daemon.out("rm", "-f", self.name)


@pytest.fixture
def raced(daemon: Daemon, tmp_path: Path) -> Iterator[Raced]:
    running = Raced(daemon, tmp_path)
    yield running
    running.close()


def archive(*names: str) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name in names:
            member = tarfile.TarInfo(name)
            member.size = 4
            tar.addfile(member, io.BytesIO(b"evil"))
    return buffer.getvalue()


def test_s17_a_swapped_path_never_leads_out_of_the_container(raced: Raced) -> None:
    """A directory becomes a link to the host and back while files are copied out: the host's content is never among them."""
    before, seen = raced.host(), set()
    for number in range(RACES):
        status, data = raced.request("GET", ("/race/real/sub/f", "/race/real", "/race/real/sub", "/race")[number % 4])
        seen.add(status)
        assert b"host" not in data
        assert status in (200, 400, 404)
    assert 200 in seen
    assert raced.host() == before


def test_s17_what_is_copied_in_never_lands_on_the_host(raced: Raced) -> None:
    """Destinations and parents of members are swapped meanwhile: the host's files are as they were."""
    before, seen = raced.host(), set()
    bodies = (("/race/real/sub", archive("f", "g")), ("/race", archive("real/sub/f", "link/sub/f", "real/new/deep")))
    for number in range(RACES):
        path, body = bodies[number % 2]
        status, _ = raced.request("PUT", path, body)
        seen.add(status)
        assert status in (200, 400, 404, 500)
    assert 200 in seen
    assert raced.host() == before


def test_s17_a_link_to_the_hosts_files_is_read_in_the_container(daemon: Daemon, tmp_path: Path) -> None:
    """Absolute links, links upwards, and links through /proc: in both directions, running and stopped."""
    canary = tmp_path / "canary"
    canary.write_text("host")
    links = f"ln -s {canary} /a; ln -s ../../../../..{canary} /b; ln -s /proc/1/root /c; ln -s /proc/self/cwd /d"
    script = f"{links}; echo ready; sleep 1000"
    name = daemon.out("run", "-d", "docket/base", "sh", "-c", script)
    while "ready" not in daemon.out("logs", name):
        pass
    for _ in range(2):
        for path in ("/a", "/b", f"/c{canary}", f"/d{canary}", "/c/", "/d/."):
            done = daemon.docker("cp", "-L", f"{name}:{path}", "-")
            assert "host" not in done.stdout
            status = daemon.request("PUT", f"/containers/{name}/archive?path={path}")[0]
            assert status in (400, 404), path
        daemon.docker("kill", name)
        daemon.docker("wait", name)
    assert canary.read_text() == "host"
    daemon.out("rm", name)


HOSTILE = ("xz", "unpigz", "gzip", "bzip2", "zstd", "tar", "getent")


def test_s18_nothing_of_the_image_is_executed_or_loaded_by_a_copy(daemon: Daemon, tmp_path: Path) -> None:
    """Programs, NSS libraries, Python modules and encodings of the image lie in wait: every kind of copy leaves them alone."""
    marker = tmp_path / "executed"
    trap = f"#!/bin/sh\\necho x > {marker}; echo x > /executed\\n"
    places = " ".join(f"/bin/{name} /usr/local/bin/{name}" for name in HOSTILE)
    python = f"/usr/lib/python3.{sys.version_info.minor}"
    module = "open('/executed', 'w').write('x')"
    script = (
        f"mkdir -p /usr/local/bin /lib/x86_64-linux-gnu {python}/encodings {python}/lzma; "
        f"for p in {places}; do rm -f $p; printf '{trap}' > $p; chmod 755 $p; done; "
        f'for m in lzma bz2 pwd grp tarfile encodings/idna encodings/__init__; do echo "{module}" > {python}/$m.py; done; '
        "for l in libnss_files.so.2 libnss_systemd.so.2 libnss_compat.so.2; do echo bad > /lib/x86_64-linux-gnu/$l; done; "
        "echo ready; sleep 1000"
    )
    name = daemon.out("run", "-d", "-u", "0", "docket/base", "/bin/sh", "-c", script)
    while "ready" not in daemon.out("logs", name):
        pass
    libraries = _loaded(daemon)
    for _ in range(2):
        for mode in ("w", "w:gz", "w:xz", "w:bz2"):
            buffer = io.BytesIO()
            with tarfile.open(fileobj=buffer, mode=mode) as tar:  # type: ignore[call-overload]
                tar.addfile(tarfile.TarInfo("copied"))
            connection = _Connection(f"{daemon.root}/docket.sock")
            connection.request("PUT", f"/containers/{name}/archive?path=/tmp&copyUIDGID=1", buffer.getvalue())
            assert connection.getresponse().status == 200
            connection.close()
        daemon.out("cp", f"{name}:/usr", str(tmp_path / "out"))
        daemon.out("export", "-o", str(tmp_path / "export.tar"), name)
        daemon.out("diff", name)
        daemon.out("commit", name)
        with tarfile.open(tmp_path / "export.tar") as tar:
            assert "executed" not in tar.getnames()
        daemon.docker("kill", name)
        daemon.docker("wait", name)
        shutil.rmtree(tmp_path / "out")
    assert not marker.exists()
    assert {each for each in _loaded(daemon) - libraries if "/root" in each or "upper" in each} == set()
    daemon.out("rm", name)


def _loaded(daemon: Daemon) -> set[str]:
    """What the daemon has mapped to execute."""
    lines = Path(f"/proc/{daemon.process.pid}/maps").read_text().splitlines()
    return {line.split(None, 5)[5] for line in lines if "x" in line.split()[1] and len(line.split(None, 5)) == 6}


AUDITED = """
import json, sys, threading
from docket.adapters.files.port import ViewedFiles
from docket.domain.container_files import ContainerTree, Extraction
from docket.domain.ports import ProcessIdentity
from docket.kernel.linux import views

asked = json.loads(sys.argv[1])
entered, wrong = threading.local(), []


def audit(event, arguments):
    if getattr(entered, "now", False) and event in ("import", "subprocess.Popen", "os.exec", "os.posix_spawn", "ctypes.dlopen"):
        wrong.append(f"{event} {arguments!r}")


real = views.syscalls.setns
real_unshare = views.syscalls.unshare


def enter(call):
    def entering(*arguments):
        call(*arguments)
        entered.now = True
    return entering


views.syscalls.setns, views.syscalls.unshare = enter(real), enter(real_unshare)
sys.addaudithook(audit)
linux = views.LinuxViews()
identity = ProcessIdentity(asked["pid"], asked["start_time"], "")
linux.of_process(identity, alone=True).close()
linux.of_process(identity).close()
print(json.dumps(wrong))
"""


def test_s18_nothing_is_imported_or_started_after_entering_a_containers_mounts(daemon: Daemon) -> None:
    """The thread that enters the container's mount namespace makes one system call there, and ends."""
    name = daemon.out("run", "-d", "docket/base", "sleep", "1000")
    pid = int(daemon.out("inspect", "-f", "{{.State.Pid}}", name))
    start_time = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
    asked = json.dumps({"pid": pid, "start_time": start_time})
    done = subprocess.run([sys.executable, "-c", AUDITED, asked], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, "[]\n"), done.stderr
    daemon.out("rm", "-f", name)


def test_s19_a_hostile_archive_stays_in_its_directory(daemon: Daemon, tmp_path: Path) -> None:
    """Names with ``..``, absolute names, links as parents, hard links to outside: refused, or in the container."""
    before = hashlib.sha256(Path("/etc/passwd").read_bytes()).digest()
    name = daemon.out("run", "-d", "docket/base", "sleep", "1000")
    hostile = tmp_path / "outside"
    hostile.mkdir()
    (hostile / "canary").write_text("host")
    upwards = "../../../.." + str(hostile)
    links = ((tarfile.SYMTYPE, str(hostile)), (tarfile.SYMTYPE, upwards), (tarfile.LNKTYPE, str(hostile / "canary")))
    for kind, link in links:
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as tar:
            first = tarfile.TarInfo("out")
            first.type, first.linkname = kind, link
            tar.addfile(first)
            second = tarfile.TarInfo("out/canary" if kind == tarfile.SYMTYPE else "out")
            second.size = 4
            tar.addfile(second, io.BytesIO(b"evil"))
        connection = _Connection(f"{daemon.root}/docket.sock")
        connection.request("PUT", f"/containers/{name}/archive?path=/tmp", buffer.getvalue())
        assert connection.getresponse().status in (200, 400)
        connection.close()
        assert (hostile / "canary").read_text() == "host"
    for bad in ("../../../../../../../../etc/passwd", "a/../../b"):
        connection = _Connection(f"{daemon.root}/docket.sock")
        connection.request("PUT", f"/containers/{name}/archive?path=/tmp", archive(bad))
        assert connection.getresponse().status == 400
        connection.close()
    assert hashlib.sha256(Path("/etc/passwd").read_bytes()).digest() == before
    daemon.out("rm", "-f", name)
