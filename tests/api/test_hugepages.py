"""docket's own limits of huge pages, through its own command line, on a kernel that has the controller (``vm/run-qemu``)."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from docker_daemon import DAEMON, Daemon

pytestmark = [
    pytest.mark.root,
    pytest.mark.controllers("hugetlb", "pids"),
    pytest.mark.skipif(not Path("/sys/kernel/mm/hugepages/hugepages-2048kB").exists(), reason="needs huge pages of 2 MB"),
]
PAGES = Path("/proc/sys/vm/nr_hugepages")
GROUPS = Path("/sys/fs/cgroup/docket")


@pytest.fixture(scope="module")
def pages() -> Iterator[None]:
    """A few huge pages to use."""
    before = PAGES.read_text()
    PAGES.write_text("8")
    yield
    PAGES.write_text(before)


def docket(daemon: Daemon, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", DAEMON, "-H", daemon.host, *arguments]
    return subprocess.run(command, text=True, capture_output=True, timeout=120, check=False)


def test_huge_pages_are_limited_and_shown(daemon: Daemon, pages: None) -> None:
    """In the kernel's files, in inspect, in stats, in explain; changed by an update of the API."""
    done = docket(daemon, "run", "-d", "--hugepage-limit", "2MB=4m", "docket/base", "sleep", "1000")
    assert done.returncode == 0, done.stderr
    made = done.stdout.strip()
    [group] = GROUPS.glob(f"*/{made}")
    assert (group / "hugetlb.2MB.max").read_text() == "4194304\n"
    assert (group / "hugetlb.2MB.rsvd.max").read_text() == "4194304\n"
    inspected = json.loads(docket(daemon, "inspect", made).stdout)[0]
    assert inspected["HostConfig"]["HugepageLimits"] == [{"pageSize": "2MB", "limit": 4 << 20}]
    status, sample = daemon.request("GET", f"/containers/{made}/stats?stream=0&one-shot=1")
    assert status == 200
    assert sample["hugetlb_stats"]["2MB"] == {"usage": 0, "failcnt": 0}
    assert "> " + str(group / "hugetlb.2MB.max") in docket(daemon, "explain", made).stdout
    status, _ = daemon.request("POST", f"/containers/{made}/update", {"HugepageLimits": [{"pageSize": "2MB", "limit": 0}]})
    assert status == 200
    assert (group / "hugetlb.2MB.rsvd.max").read_text() == "0\n"
    docket(daemon, "rm", "-f", made)


def test_what_is_beyond_the_limit_cannot_be_reserved(daemon: Daemon, pages: None) -> None:
    """A file of huge pages in a tmpfs of them: mmap(2) is refused, where it is granted without the limit."""
    program = (
        "import mmap; m = mmap.mmap(-1, 8 << 20, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x40000); m[0] = 1; print('mapped')"
    )
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, check=True).stdout == b"mapped\n"
    made = docket(daemon, "run", "-d", "--hugepage-limit", "2MB=4m", "docket/base", "sleep", "1000").stdout.strip()
    [group] = GROUPS.glob(f"*/{made}")
    joined = f"open('{group}/cgroup.procs', 'w').write('0'); "
    done = subprocess.run([sys.executable, "-c", joined + program], text=True, capture_output=True, check=False)
    assert "Cannot allocate memory" in done.stderr
    docket(daemon, "rm", "-f", made)


def test_a_size_that_the_host_has_not_is_refused(daemon: Daemon) -> None:
    """With those that it has."""
    done = docket(daemon, "create", "--hugepage-limit", "3MB=4m", "docket/base", "true")
    assert "cannot set hugetlb.3MB.max as asked: this host has no huge pages of that size: it has" in done.stderr
