"""What an engine costs: the CPU time and the memory of all its processes.

Each engine has a control group of its own. The harness steps into it to start one of the engine's processes and steps out
again; whatever that process starts belongs to the group and stays counted after it has ended. What the harness itself used in
between is subtracted. Engines are told to make their containers' groups below theirs, so containers count as well.
"""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.namespaces import CGROUP_ROOT

PARENT = "docket-benchmark"
QUIET_SECONDS = 0.1
SETTLE_SECONDS = 5.0
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class Group:
    """The control group of one engine: `cpuacct` where the host has cgroup v1 hierarchies, else the unified hierarchy."""

    def __init__(self, name: str) -> None:
        v1 = CGROUP_ROOT / "cpuacct"
        self.unified = not v1.exists()
        self.mount = CGROUP_ROOT if self.unified else v1
        self.path = self.mount / PARENT / name
        self.containers = f"/{PARENT}/{name}/containers"
        self._processes = self.path / "processes"
        self._processes.mkdir(parents=True, exist_ok=True)
        if not (self._processes / "cgroup.procs").exists():
            raise FileNotFoundError(f"{self.mount} is no control group hierarchy")
        self._harness_ns = 0

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Processes started inside belong to the engine."""
        (self._processes / "cgroup.procs").write_text(str(os.getpid()))
        before = time.process_time_ns()
        try:
            yield
        finally:
            self._harness_ns += time.process_time_ns() - before
            (self.mount / "cgroup.procs").write_text(str(os.getpid()))

    def cpu_ns(self) -> int:
        """CPU time of the engine so far, of the living and the dead."""
        if self.unified:
            fields = dict(line.split() for line in (self.path / "cpu.stat").read_text().splitlines())
            used = int(fields["usage_usec"]) * 1000
        else:
            used = int((self.path / "cpuacct.usage").read_text())
        return used - self._harness_ns

    def settled_cpu_ns(self) -> int:
        """CPU time once what the engine does after its answer is done, so that nothing is left out by answering early."""
        last = self.cpu_ns()
        deadline = time.monotonic() + SETTLE_SECONDS
        while time.monotonic() < deadline:
            time.sleep(QUIET_SECONDS)
            now = self.cpu_ns()
            if now - last < 0.02 * QUIET_SECONDS * 1e9:
                return now
            last = now
        return last

    def pids(self) -> list[int]:
        """The living processes of the engine and its containers."""
        pids: list[int] = []
        for file in self.path.rglob("cgroup.procs"):
            pids += [int(pid) for pid in file.read_text().split()]
        return pids

    def pss_bytes(self, *, without: str = "") -> int:
        """Proportional memory of the engine's processes, leaving out those whose command line contains `without`."""
        total = 0
        for pid in self.pids():
            try:
                command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
            except (FileNotFoundError, ProcessLookupError):
                continue
            if not without or without not in command:
                total += sum(int(line.split()[1]) * 1024 for line in rollup.splitlines() if line.startswith("Pss:"))
        return total

    def private_bytes(self) -> int:
        """Memory that the engine's processes have for themselves right now: what they map of files is not in it. Cheap to ask."""
        total = 0
        for pid in self.pids():
            try:
                resident, of_files = Path(f"/proc/{pid}/statm").read_text().split()[1:3]
            except (FileNotFoundError, ProcessLookupError):
                continue
            total += (int(resident) - int(of_files)) * PAGE_BYTES
        return total

    def remove(self) -> None:
        """Removes the group and those that the engine left below it, in every hierarchy. All processes must have ended."""
        for hierarchy in [CGROUP_ROOT] if self.unified else [path for path in CGROUP_ROOT.iterdir() if path.is_mount()]:
            top = hierarchy / PARENT / self.path.name
            for folder in sorted((path for path in top.rglob("*") if path.is_dir()), reverse=True):
                folder.rmdir()
            if top.exists():
                top.rmdir()
                if not any(path.is_dir() for path in top.parent.iterdir()):
                    top.parent.rmdir()
