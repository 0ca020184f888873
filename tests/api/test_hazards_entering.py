"""The hazards of entering a container (security.md, section 3 A) against a real daemon on the real kernel.

Loops are as long as CI can afford: what they look for shows itself in the first rounds or hardly ever.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from docker_daemon import DAEMON, Daemon
from hostile_images import import_image

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(shutil.which("docker") is None, reason="no docker CLI is installed"),
]

CONFINED = "00000000a80425fb"


def mount_table() -> list[str]:
    """What is mounted in the daemon's, that is the host's, namespace."""
    return [" ".join(line.split()[3:6]) for line in Path("/proc/self/mountinfo").read_text().splitlines()]


def engine_files(daemon: Daemon) -> list[Path]:
    """The interpreter and the libraries that daemon, launcher and shims have in memory."""
    lines = Path(f"/proc/{daemon.process.pid}/maps").read_text().splitlines()
    names = {line.split(maxsplit=5)[5] for line in lines if "/" in line and " r-xp " in line}
    return sorted(Path(name) for name in names if Path(name).is_file())


def digests(paths: list[Path]) -> list[str]:
    return [hashlib.sha256(path.read_bytes()).hexdigest() for path in paths]


@pytest.mark.long
def test_s01_no_container_reaches_the_engines_executable(daemon: Daemon, tmp_path: Path) -> None:
    """A container that opens every /proc/N/exe for writing while execs and entry points pass through it (CVE-2019-5736).

    What enters runs from a sealed copy; `#!/proc/self/exe` executes just that.
    """
    files = engine_files(daemon)
    before = digests(files)
    assert any("python" in path.name for path in files)
    import_image(daemon, "hostile", tmp_path, {"evil": b"#!/proc/self/exe\n", "dir/": b""})
    loop = "while :; do for p in /proc/[0-9]*; do (echo spoilt > $p/exe) 2>/dev/null; done; done"
    made = daemon.out("run", "-d", "--cap-add", "SYS_PTRACE", "hostile", "sh", "-c", loop)
    for _ in range(20):
        assert daemon.docker("exec", made, "/evil").returncode != 0
        assert daemon.docker("exec", made, "true").returncode == 0
    assert daemon.docker("run", "--rm", "hostile", "/evil").returncode != 0
    daemon.out("rm", "-f", made)
    assert digests(files) == before


@pytest.fixture(scope="module")
def leaky(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A daemon that was started with descriptors of the host's root open, which a careless parent leaves behind."""
    opened = [os.open("/", os.O_RDONLY | os.O_DIRECTORY) for _ in range(8)]
    for descriptor in opened:
        os.set_inheritable(descriptor, True)
    daemon = Daemon(tmp_path_factory.mktemp("leaky"), inherited=opened)
    for descriptor in opened:
        os.close(descriptor)
    yield daemon
    daemon.stop()


@pytest.mark.long
def test_s02_no_descriptor_of_the_hosts_is_a_working_directory(leaky: Daemon, tmp_path: Path) -> None:
    """In create, in exec, and as a link of the image's (CVE-2024-21626): refused, and nothing but 0, 1, 2 is open inside."""
    links = {f"w{number}": f"/proc/self/fd/{number}" for number in range(3, 16)}
    import_image(leaky, "linked", tmp_path, {**links, "tmp/": b""})
    made = leaky.out("run", "-d", "linked", "sleep", "1000")
    for number in range(3, 16):
        for directory in (f"/proc/self/fd/{number}", f"/w{number}", f"/proc/self/fd/{number}/.."):
            for command in (("run", "--rm", "-w", directory, "linked"), ("exec", "-w", directory, made)):
                done = leaky.docker(*command, "sh", "-c", "ls /proc/self/cwd/")
                assert done.returncode != 0, (command, done.stdout)
                assert "etc" not in done.stdout.split()
    look = ("sh", "-c", "for f in $(seq 0 64); do [ -e /proc/$$/fd/$f ] && echo $f; done; true")
    assert leaky.out("run", "--rm", "linked", *look).split() == ["0", "1", "2"]
    assert leaky.out("exec", made, *look).split() == ["0", "1", "2"]
    leaky.out("rm", "-f", made)


@pytest.mark.long
def test_s03_a_joining_process_is_not_traced_or_read(daemon: Daemon) -> None:
    """In-container root looks into the root of every process that comes (CVE-2016-9962): it never sees the host's."""
    loop = (
        "while :; do for p in /proc/[0-9]*; do n=${p##*/}; [ $n -gt 1 ] || continue;"
        " [ -e $p/root/etc/machine-id ] && echo reached $n; done; done 2>/dev/null"
    )
    made = daemon.out("run", "-d", "docket/base", "sh", "-c", loop)
    for _ in range(20):
        daemon.out("exec", made, "true")
    assert daemon.out("logs", made) == ""
    daemon.out("rm", "-f", made)


class Racer:
    """Exchanges a directory and a symbolic link in a volume for as long as it runs."""

    def __init__(self, volume: Path, target: Path) -> None:
        (volume / "place").mkdir()
        (volume / "spare").symlink_to(target)
        self._volume = volume
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._exchange)

    def _exchange(self) -> None:
        """renameat2(2) with RENAME_EXCHANGE: at every instant there is one or the other."""
        libc = ctypes.CDLL(None, use_errno=True)
        names = [os.fsencode(self._volume / name) for name in ("place", "spare")]
        while not self._stop.is_set():
            assert libc.renameat2(-100, names[0], -100, names[1], 2) == 0, ctypes.get_errno()

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


@pytest.mark.long
@pytest.mark.parametrize("mount", [["--tmpfs", "/v/place/made"], ["-v", "/etc:/v/place/made:ro"], ["-w", "/v/place/made"]])
def test_s04_s07_a_swapped_mount_point_leads_nowhere(daemon: Daemon, tmp_path: Path, mount: list[str]) -> None:
    """A volume's directory becomes a link to a host directory while mounts below it are made (CVE-2021-30465, CVE-2024-45310).

    Nothing is made or mounted outside of the container.
    """
    volume, outside = tmp_path / "volume", tmp_path / "outside"
    volume.mkdir()
    outside.mkdir()
    before = mount_table()
    with Racer(volume, outside):
        for _ in range(15):
            daemon.docker("run", "--rm", "-v", f"{volume}:/v", *mount, "docket/base", "true")
    assert list(outside.iterdir()) == []
    assert mount_table() == before


@pytest.mark.parametrize("place", ["proc", "sys", "dev"])
def test_s04_kernel_filesystems_are_not_mounted_through_a_link(daemon: Daemon, tmp_path: Path, place: str) -> None:
    """An image whose /proc, /sys or /dev is a link is refused (CVE-2019-19921, CVE-2023-27561)."""
    import_image(daemon, "forged", tmp_path, {place: "/elsewhere", "elsewhere/": b""})
    done = daemon.docker("run", "--rm", "forged", "true")
    assert done.returncode == 125
    assert "symbolic links" in done.stderr


@pytest.mark.parametrize("options", [[], ["-t"]])
@pytest.mark.parametrize("node", ["dev/null", "dev/pts/0", "dev/console", "dev/ptmx", "dev/pts", "dev/fd"])
def test_s05_devices_that_the_image_forges_are_not_used(daemon: Daemon, tmp_path: Path, node: str, options: list[str]) -> None:
    """A link in the place of a device that leads to a host file (CVE-2025-31133, CVE-2025-52565): refused or harmless."""
    mark = tmp_path / "mark"
    mark.write_text("untouched")
    import_image(daemon, "forged", tmp_path, {"dev/": b"", node: str(mark), "tmp/": b""})
    daemon.docker(
        "run",
        "--rm",
        *options,
        "forged",
        "sh",
        "-c",
        "echo spoilt > /dev/null; cat /proc/kcore | head -c 1; stat -c %t:%T /dev/null",
    )
    assert mark.read_text() == "untouched"
    assert daemon.out("run", "--rm", "forged", "stat", "-c", "%t:%T", "/dev/null") == "1:3"


@pytest.mark.parametrize("target", ["/proc/self/attr", "/proc/sys", "/proc", "/link"])
def test_s06_no_mount_covers_proc(daemon: Daemon, tmp_path: Path, target: str) -> None:
    """Neither by its name nor through a link of the image's (CVE-2019-16884, CVE-2025-52881)."""
    import_image(daemon, "linked", tmp_path, {"link": "/proc/sys", "tmp/": b""})
    for option in (["--tmpfs", target], ["-v", f"{tmp_path}:{target}"]):
        done = daemon.docker("run", "--rm", *option, "linked", "true")
        assert done.returncode == 125
        assert "cannot be mounted because it is inside /proc" in done.stderr


def test_s08_cgroups_can_be_neither_written_nor_mounted(daemon: Daemon) -> None:
    """Every file is read-only, another mount of the hierarchy and new namespaces are refused (CVE-2022-0492)."""
    script = """
        for f in $(find /sys/fs/cgroup -type f | head -n 100); do (echo 1 > $f) 2>/dev/null && echo wrote $f; done
        mkdir -p /tmp/c
        mount -t cgroup2 none /tmp/c 2>/dev/null && echo mounted
        mount -t cgroup -o memory none /tmp/c 2>/dev/null && echo mounted
        mount -o remount,rw /sys/fs/cgroup 2>/dev/null && echo remounted
        unshare -Ur true 2>/dev/null && echo unshared
        unshare -C true 2>/dev/null && echo unshared
        mkdir /sys/fs/cgroup/x 2>/dev/null && echo made
        echo end
    """
    assert daemon.out("run", "--rm", "docket/base", "sh", "-c", script) == "end"


@pytest.mark.parametrize(("user", "effective"), [("0", CONFINED), ("1234", "0" * 16)])
def test_s09_capability_sets_of_start_and_exec(daemon: Daemon, user: str, effective: str) -> None:
    """Bounding is the 14, inheritable and ambient are empty, and another user than root has none (CVE-2022-24769)."""
    made = daemon.out("run", "-d", "-u", user, "docket/base", "sleep", "1000")
    started = daemon.out("exec", made, "cat", "/proc/1/status")
    executed = daemon.out("exec", made, "cat", "/proc/self/status")
    for status in (started, executed):
        fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
        assert [fields[name] for name in ("CapBnd", "CapEff", "CapPrm")] == [CONFINED, effective, effective]
        assert [fields[name] for name in ("CapInh", "CapAmb")] == ["0" * 16] * 2
    daemon.out("rm", "-f", made)


def peak_memory(daemon: Daemon) -> int:
    """The most that daemon and launcher ever had in memory, in kB."""
    children = Path(f"/proc/{daemon.process.pid}/task/{daemon.process.pid}/children").read_text().split()
    total = 0
    for pid in (str(daemon.process.pid), *children):
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        total += next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))
    return total


@pytest.mark.parametrize("kind", ["fifo", "device", "sparse", "directory"])
def test_s12_an_account_file_that_is_none_stops_the_start(daemon: Daemon, tmp_path: Path, kind: str) -> None:
    """A FIFO does not block, two gigabytes are not read (CVE-2024-9676, CVE-2026-47262): refused, and memory stays flat."""
    forged = tmp_path / "passwd"
    match kind:
        case "fifo":
            os.mkfifo(forged)
        case "device":
            os.mknod(forged, 0o20666, os.makedev(1, 5))
        case "sparse":
            with forged.open("wb") as file:
                file.truncate(2 << 30)
        case "directory":
            forged.mkdir()
    import_image(daemon, "accounts", tmp_path, {"etc/": b""})
    before = peak_memory(daemon)
    done = daemon.docker("run", "--rm", "-u", "someone", "-v", f"{forged}:/etc/passwd", "accounts", "true")
    assert done.returncode != 0
    assert "resolve user" in done.stderr or "unable to find user" in done.stderr
    assert peak_memory(daemon) - before < 16_384


def test_s12_a_link_to_the_hosts_accounts_means_the_images(daemon: Daemon, tmp_path: Path) -> None:
    """A user of the host's is not found through a link that leads out of the root."""
    host = tmp_path / "passwd"
    host.write_text("hostuser:x:4242:4242::/:/bin/sh\n")
    import_image(daemon, "linked", tmp_path, {"etc/": b"", "etc/passwd": str(host)})
    done = daemon.docker("run", "--rm", "-u", "hostuser", "linked", "id", "-u")
    assert (done.returncode, done.stdout) == (125, "")


def test_s13_filter_and_no_new_privileges_are_as_asked(daemon: Daemon) -> None:
    """What /proc says of the first process and of an exec."""
    for options, expected in (
        ([], "2 0"),
        (["--security-opt", "no-new-privileges"], "2 1"),
        (["--security-opt", "seccomp=unconfined"], "0 0"),
    ):
        made = daemon.out("run", "-d", *options, "docket/base", "sleep", "1000")
        for process in ("1", "self"):
            status = daemon.out("exec", made, "cat", f"/proc/{process}/status")
            fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
            assert f"{fields['Seccomp']} {fields['NoNewPrivs']}" == expected
        daemon.out("rm", "-f", made)


def test_s14_new_namespaces_and_kernel_interfaces_are_refused(daemon: Daemon) -> None:
    """The tools that a busybox has for them: unshare, mount, setns, reboot, swapon, keyctl's neighbours."""
    commands = "'unshare -m true' 'unshare -U true' 'mount -t tmpfs x /tmp' 'swapon /etc/passwd' 'chroot . true'"
    script = f"for c in {commands}; do $c 2>/dev/null && echo $c; done; true"
    assert daemon.out("run", "--rm", "docket/base", "sh", "-c", script) == "chroot . true"


def test_s15_a_reused_pid_gets_no_signal(daemon: Daemon) -> None:
    """A container that ended while the engine was down is not killed by its pid, whoever has that now."""
    made = daemon.out("run", "-d", "docket/base", "sleep", "1000")
    pid = int(daemon.out("inspect", "-f", "{{.State.Pid}}", made))
    daemon.stop(signal.SIGKILL)
    os.kill(pid, signal.SIGKILL)
    bystander = reused(pid)
    daemon.start()
    assert daemon.docker("kill", made).returncode != 0
    assert daemon.out("inspect", "-f", "{{.State.Running}}", made) == "false"
    assert bystander.poll() is None
    bystander.kill()
    bystander.wait()
    daemon.out("rm", made)


def reused(pid: int) -> subprocess.Popen[bytes]:
    """A process with the pid of one that has ended (ns_last_pid); any other when somebody was faster."""
    for _ in range(50):
        if not Path(f"/proc/{pid}").exists():
            break
        threading.Event().wait(0.02)
    try:
        Path("/proc/sys/kernel/ns_last_pid").write_text(str(pid - 1))
    except OSError:
        pass
    return subprocess.Popen(["sleep", "1000"])


def test_s16_a_busy_bind_does_not_lose_its_data(daemon: Daemon, tmp_path: Path) -> None:
    """A process of the host that holds the container's mount namespace keeps its binds alive past `rm -f`: the data stays."""
    data = tmp_path / "data"
    data.mkdir()
    for number in range(20):
        (data / str(number)).write_text("kept")
    made = daemon.out("run", "-d", "-v", f"{data}:/m", "docket/base", "sleep", "1000")
    pid = daemon.out("inspect", "-f", "{{.State.Pid}}", made)
    holder = subprocess.Popen(
        ["nsenter", "--target", pid, "--mount", "--", "/bin/sh", "-c", "cd /m; echo in; exec sleep 1000"],
        stdout=subprocess.PIPE,
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"in\n"
    daemon.out("rm", "-f", made)
    assert sorted(path.name for path in data.iterdir()) == sorted(str(number) for number in range(20))
    holder.kill()
    holder.wait()
    holder.stdout.close()


@pytest.mark.parametrize(
    "options",
    [
        [],
        ["--security-opt", "no-new-privileges"],
        ["--cap-drop", "ALL", "--cap-add", "CHOWN"],
        ["--security-opt", "seccomp=unconfined"],
        ["--security-opt", "preset=strict"],
        ["--privileged"],
    ],
    ids=" ".join,
)
def test_s58_what_the_log_says_of_a_start_is_in_force(daemon: Daemon, options: list[str]) -> None:
    """The security of a start is in its event, and equals what /proc says of the process."""
    made = daemon.out("run", "-d", *options, "docket/base", "sleep", "1000")
    pid = daemon.out("inspect", "-f", "{{.State.Pid}}", made)
    status = Path(f"/proc/{pid}/status").read_text()
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    command = [sys.executable, "-c", DAEMON, "-H", daemon.host, "log", "--json"]
    shown = subprocess.run(command, text=True, capture_output=True, timeout=60, check=True).stdout
    entries = [json.loads(line) for line in shown.splitlines()]
    started = next(each["data"] for each in entries if each["type"] == "ContainerStarted" and each["data"]["container"] == made)
    assert int(fields["CapBnd"], 16) == started["capabilities"]
    assert fields["NoNewPrivs"] == str(int(started["no_new_privileges"]))
    assert fields["Seccomp"] == ("2" if started["seccomp"] else "0")
    assert started["privileged"] == ("--privileged" in options)
    daemon.out("rm", "-f", made)


def test_s49_each_container_has_its_own_environment(daemon: Daemon) -> None:
    """Containers that are created and started side by side see their own variables, the image's, and no others."""

    def run(number: int) -> set[str]:
        options = [word for each in range(number % 3 + 1) for word in ("-e", f"OWN{each}={number}")]
        return set(daemon.out("run", "--rm", *options, "docket/base", "env").splitlines())

    alone = set(daemon.out("run", "--rm", "docket/base", "env").splitlines())
    common = {line for line in alone if not line.startswith("HOSTNAME=")}
    with ThreadPoolExecutor(6) as several:
        for number, seen in enumerate(several.map(run, range(18))):
            own = {f"OWN{each}={number}" for each in range(number % 3 + 1)}
            assert {line for line in seen if not line.startswith("HOSTNAME=")} == common | own
