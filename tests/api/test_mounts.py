"""Mounts through the docker CLI, on the real kernel: propagation, missing sources, read-only trees, links of the image."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from docker_daemon import Daemon, needs_client

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(shutil.which("docker") is None, reason="no docker CLI is installed"),
]


class Host:
    """A daemon in a mount namespace of its own, which is "the host" here; a tmpfs in it is shared and another one is not."""

    def __init__(self, root: Path) -> None:
        self.shared, self.alone = root / "shared", root / "alone"
        for path in (self.shared, self.alone):
            path.mkdir()
        script = (
            f"mount -t tmpfs shared {self.shared} && mount --make-shared {self.shared} && mkdir {self.shared}/below"
            f" && mount -t tmpfs alone {self.alone} && mkdir {self.alone}/below && mount -t tmpfs below {self.alone}/below"
            ' && exec "$@"'
        )
        self.daemon = Daemon(root, "unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh")

    def run(self, script: str) -> str:
        """A shell command in the daemon's mount namespace."""
        command = ["nsenter", "--target", str(self.daemon.process.pid), "--mount", "sh", "-c", script]
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=20).stdout

    def mounts(self) -> set[str]:
        """Where something is mounted in it."""
        lines = Path(f"/proc/{self.daemon.process.pid}/mounts").read_text().splitlines()
        return {line.split()[1] for line in lines}


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    host = Host(tmp_path_factory.mktemp("host"))
    yield host
    host.daemon.stop()


def test_a_mount_in_a_shared_bind_appears_on_the_host(host: Host) -> None:
    """And in no other case; what the engine itself mounts never does."""
    before = host.mounts()
    make = "mkdir -p /m/x && mount -t tmpfs inner /m/x"
    for propagation in ("rprivate", "rslave"):
        host.daemon.out(
            "run", "--rm", "--cap-add", "SYS_ADMIN", "-v", f"{host.shared}:/m:{propagation}", "docket/base", "sh", "-c", make
        )
        assert host.mounts() == before
    for propagation in ("shared", "rshared"):
        host.daemon.out(
            "run",
            "--rm",
            "--cap-add",
            "SYS_ADMIN",
            "-v",
            f"{host.shared}:/m:{propagation}",
            "--tmpfs",
            "/t",
            "docket/base",
            "sh",
            "-c",
            make,
        )
        assert host.mounts() - before == {f"{host.shared}/x"}
        host.run(f"umount {host.shared}/x")


@pytest.mark.parametrize(("propagation", "seen"), [("rprivate", ""), ("rslave", "late"), ("rshared", "late")])
def test_a_later_mount_on_the_host_reaches_slaves_and_peers(host: Host, propagation: str, seen: str) -> None:
    """A private bind stays as it was at the start."""
    wait = "while [ ! -e /m/go ]; do sleep 0.02; done; ls /m/below"
    volume = f"{host.shared}:/m:{propagation}"
    host.daemon.out("run", "-d", "--name", f"later-{propagation}", "-v", volume, "docket/base", "sh", "-c", wait)
    host.run(f"mount -t tmpfs late {host.shared}/below && touch {host.shared}/below/late && touch {host.shared}/go")
    try:
        assert host.daemon.out("wait", f"later-{propagation}") == "0"
        assert host.daemon.out("logs", f"later-{propagation}") == seen
    finally:
        host.daemon.out("rm", "-f", f"later-{propagation}")
        host.run(f"umount {host.shared}/below; rm {host.shared}/go")


@pytest.mark.parametrize(("propagation", "wanted"), [("rshared", "a shared"), ("rslave", "a shared or slave")])
def test_a_source_that_is_not_shared_is_refused_in_dockers_words(host: Host, propagation: str, wanted: str) -> None:
    """The engine does not change the host's mounts to make it so."""
    done = host.daemon.docker("run", "--rm", "-v", f"{host.alone}/x:/m:{propagation}", "docket/base", "true")
    assert done.returncode == 125
    assert f"path {host.alone}/x is mounted on {host.alone} but it is not {wanted} mount" in done.stderr


@needs_client(25, "older ones know no bind-recursive")
def test_read_only_holds_for_the_mounts_below_unless_that_is_said(host: Host) -> None:
    """As in Docker since 25: recursive by default, `bind-recursive=writable` for the old way, `disabled` for no mounts below."""
    source = f"type=bind,source={host.alone},target=/m"
    touch = "touch /m/x /m/below/y 2>&1 | grep -c Read-only"

    def run(options: str) -> str:
        return host.daemon.docker(
            "run", "--rm", "--mount", f"{source}{options}", "docket/base", "sh", "-c", touch
        ).stdout.strip()

    assert run(",readonly") == "2"
    assert run(",readonly,bind-propagation=rprivate,bind-recursive=readonly") == "2"
    assert run(",readonly,bind-recursive=writable") == "1"
    assert host.run(f"cd {host.alone}/below && echo *").strip() == "y"
    look = "ls /m/below"
    assert host.daemon.out("run", "--rm", "--mount", f"{source},bind-recursive=disabled", "docket/base", "sh", "-c", look) == ""


def test_a_missing_source_is_made_for_v_and_refused_for_mount(daemon: Daemon, tmp_path: Path) -> None:
    """`-v` makes the directory with its parents, `--mount` says what is missing."""
    daemon.out("run", "--rm", "-v", f"{tmp_path}/made/deep:/m", "docket/base", "touch", "/m/file")
    assert (tmp_path / "made/deep/file").exists()
    assert (tmp_path / "made/deep").stat().st_mode & 0o7777 == 0o755
    done = daemon.docker("run", "--rm", "--mount", f"type=bind,source={tmp_path}/no,target=/m", "docket/base", "true")
    assert done.returncode == 125
    assert f"bind source path does not exist: {tmp_path}/no" in done.stderr
    assert not (tmp_path / "no").exists()


def test_a_file_is_bound_on_a_path_that_the_image_has_not(daemon: Daemon, tmp_path: Path) -> None:
    """The mount point is made as a file."""
    (tmp_path / "file").write_text("bound\n")
    assert daemon.out("run", "--rm", "-v", f"{tmp_path}/file:/new/place:ro", "docket/base", "cat", "/new/place") == "bound"


def test_mounts_below_each_other_are_all_seen(daemon: Daemon, tmp_path: Path) -> None:
    """Whatever order they are asked for in."""
    for name in ("outer/inner", "one"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "one/file").touch()
    options = ["-v", f"{tmp_path}/one:/m/inner/deep", "--tmpfs", "/m/inner", "-v", f"{tmp_path}/outer:/m"]
    assert daemon.out("run", "--rm", *options, "docket/base", "ls", "/m/inner/deep") == "file"


def test_s16_a_removed_container_leaves_the_bound_directory(daemon: Daemon, tmp_path: Path) -> None:
    """`rm -f` of a running container with binds, nested ones too, removes its own files and none of the host's."""
    (tmp_path / "data").mkdir()
    for number in range(50):
        (tmp_path / "data" / str(number)).touch()
    volumes = ["-v", f"{tmp_path}/data:/m", "-v", f"{tmp_path}/data:/m2/below"]
    made = daemon.out("run", "-d", *volumes, "docket/base", "sleep", "1000")
    daemon.out("rm", "-f", "-v", made)
    assert len(list((tmp_path / "data").iterdir())) == 50
    assert not (daemon.root / "data" / "containers" / made).exists()
