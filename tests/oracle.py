"""The leak oracle: what the real kernel, the host's disk and this process hold, before and after.

What can be told to belong to one data root (processes, mounts, files, cgroups, listening sockets) is looked for by that; what
cannot (links, firewall rules, loop devices, pinned network namespaces, the host's mount table) is compared with what there was
before. So it also works where other engines are at work, as long as those leave the host's own tables alone, as docket does.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

_PATIENCE_SECONDS = 5.0
_LISTENS = "00010000"  # __SO_ACCEPTCON among the flags of /proc/net/unix
_TRACES = {
    "shim directory": ("shims", "exec/shims"),
    "generated files": ("exec/containers",),
    "trash": ("data/trash",),
    "unfinished blob": ("data/content/ingest",),
}
"""What is there only while something runs, by its place below the root."""


class Oracle:
    """Knows the host as it was when it was made. ``root`` is the directory below which everything of the test's lies."""

    def __init__(self, root: Path) -> None:
        self._root = str(root)
        self._before = self._tables()
        self._descriptors = _descriptors()

    def leaks(self, *, descriptors: bool = False) -> list[str]:
        """Everything that is there and should not be, each in a line; waits a little for what is just ending."""
        end = time.monotonic() + _PATIENCE_SECONDS
        while True:
            found = self._leaks(descriptors=descriptors)
            if not found or time.monotonic() > end:
                return found
            time.sleep(0.02)

    def _leaks(self, *, descriptors: bool) -> list[str]:
        found = [f"process {pid}: {what}" for pid, what in self.processes()]
        for name, lines in self._tables().items():
            found += [f"{name}: {line}" for line in sorted(lines - self._before[name])]
        for kind, paths in _TRACES.items():
            found += [f"{kind} {path}" for below in paths for path in self._below(below)]
        removed = _logged(self._root, "SELECT substr(stream, 11) FROM events WHERE type = 'ContainerRemoved'")
        found += [f"container directory {path}" for path in self._below("data/containers") if Path(path).name in removed]
        found += [f"archive that no seal names {path}" for path in self._below("data/log.archive") if not self._is_sealed(path)]
        found += [f"listening {where}" for where in self.listeners()]
        found += [f"zombie {pid}" for pid in _zombies()]
        if descriptors:
            found += [f"descriptor {line}" for line in sorted(_descriptors() - self._descriptors)]
        return found

    def processes(self) -> list[tuple[int, str]]:
        """Processes that have the root in their mount table's overlays or among their open files."""
        found = []
        for entry in os.listdir("/proc"):
            if entry.isdigit() and int(entry) != os.getpid() and (why := self._belongs(f"/proc/{entry}")):
                found.append((int(entry), why))
        return found

    def listeners(self) -> list[str]:
        """Unix sockets that listen below the root, and TCP ports of other processes that have files open below it."""
        unix = [line.split() for line in _lines("/proc/net/unix")[1:]]
        found = [
            fields[7] for fields in unix if len(fields) > 7 and fields[3] == _LISTENS and fields[7].startswith(f"{self._root}/")
        ]
        ports = _tcp_listeners()
        for entry in os.listdir("/proc"):
            if entry.isdigit() and int(entry) != os.getpid():
                files = _files(f"/proc/{entry}/fd")
                if any(file.startswith(f"{self._root}/") for file in files):
                    found += [f"{ports[file]} of process {entry}" for file in files if file in ports]
        return found

    def _is_sealed(self, path: str) -> bool:
        """Whether a row of the log names an archive. A log without the table, or one that was damaged, has nothing to compare."""
        first, last = Path(path).name.split(".")[0].split("-")
        query = f"SELECT first FROM sealed_ranges WHERE kept AND first = {int(first)} AND last = {int(last)}"
        return path.endswith(".gz") and _logged(self._root, query) != []

    def _belongs(self, process: str) -> str:
        try:
            if f"={self._root}/" in Path(process, "mountinfo").read_text():
                return _command(process)
            for descriptor in os.listdir(f"{process}/fd"):
                if os.readlink(f"{process}/fd/{descriptor}").startswith(f"{self._root}/data/containers"):
                    return _command(process)
        except OSError:
            return ""
        return ""

    def _below(self, path: str) -> list[str]:
        try:
            return sorted(str(each) for each in Path(self._root, path).iterdir())
        except FileNotFoundError:
            return []

    def _tables(self) -> dict[str, set[str]]:
        return {
            "mount": {line for line in _lines("/proc/self/mountinfo") if self._root in line},
            "cgroup": set(_cgroups(self._root)),
            "pinned network namespace": set(_names("/run/netns")) | set(_names("/run/docket/netns")),
            "link": set(_names("/sys/class/net")),
            "loop device": {name for name in _names("/sys/block") if Path("/sys/block", name, "loop/backing_file").exists()},
            "firewall": _firewall(),
        }


def descriptors_of(pid: int) -> list[str]:
    """What a process holds open, without the numbers that tell sockets and pipes apart; sorted."""
    return sorted(file.partition(":[")[0] for file in _files(f"/proc/{pid}/fd"))


def _files(directory: str) -> list[str]:
    """What a process's descriptors are; nothing of one that has ended."""
    try:
        return [os.readlink(f"{directory}/{descriptor}") for descriptor in os.listdir(directory)]
    except OSError:
        return []


def _tcp_listeners() -> dict[str, str]:
    """Addresses of listening TCP sockets, by what a descriptor of one is called."""
    found = {}
    for name in ("/proc/net/tcp", "/proc/net/tcp6"):
        for fields in (line.split() for line in _lines(name)[1:]):
            if fields[3] == "0A":
                found[f"socket:[{fields[9]}]"] = f"tcp {fields[1]}"
    return found


def _lines(path: str) -> list[str]:
    return Path(path).read_text(errors="replace").splitlines()


def _names(path: str) -> list[str]:
    try:
        return os.listdir(path)
    except FileNotFoundError:
        return []


def _command(process: str) -> str:
    return Path(process, "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")[:200]


def _cgroups(root: str) -> list[str]:
    """Cgroups of containers that the log below ``root`` knows: other engines' stand beside them."""
    known = _logged(root, "SELECT DISTINCT substr(stream, 11) FROM events WHERE stream LIKE 'container-%'")
    tops = [Path(line.split()[4], "docket") for line in _lines("/proc/self/mountinfo") if " - cgroup2 " in line]
    return [str(top / key) for key in known for top in tops if (top / key).is_dir()]


def _logged(root: str, query: str) -> list[str]:
    log = Path(root, "data/log.db")
    if not log.exists():
        return []
    try:
        with closing(sqlite3.connect(f"file:{log}?mode=ro", uri=True)) as connection:
            return [key for (key,) in connection.execute(query)]
    except sqlite3.Error:
        return []  # a test may have damaged it on purpose


def _firewall() -> set[str]:
    if shutil.which("nft") is None:
        return set()
    listed = subprocess.run(["nft", "list", "ruleset"], capture_output=True, text=True, check=False)
    return set(listed.stdout.splitlines())


def _zombies() -> list[int]:
    """Children of this process that nobody has waited for."""
    found = []
    for entry in os.listdir("/proc"):
        try:
            fields = Path("/proc", entry, "stat").read_text().rpartition(")")[2].split() if entry.isdigit() else []
        except OSError:
            continue
        if fields and fields[0] == "Z" and int(fields[1]) == os.getpid():
            found.append(int(entry))
    return found


def _descriptors() -> set[str]:
    found = set()
    for descriptor in os.listdir("/proc/self/fd"):
        try:
            found.add(f"{descriptor}: {os.readlink(f'/proc/self/fd/{descriptor}')}")
        except FileNotFoundError:
            continue
    return found


def kill_leftovers(oracle: Oracle, report: Callable[[str], None]) -> None:
    """End what a failed test left running, so that it does not disturb the next one."""
    for pid, what in oracle.processes():
        report(f"killing {pid}: {what}")
        try:
            os.kill(pid, 9)
        except ProcessLookupError:
            continue
