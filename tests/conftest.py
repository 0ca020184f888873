"""What every test of docket shares: where privileged tests can run, and how much hypothesis tries.

A test that cannot run here is skipped with the exact reason, and the end of the session lists each reason with the number
of tests behind it: nothing is skipped silently.
"""

import os
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from tests.oracle import Oracle, kill_leftovers

CAP_SYS_ADMIN = 21
DEFAULT_CONTROLLERS = ("cpu", "memory", "pids")
CGROUP_ROOT = Path("/sys/fs/cgroup")

# Wall time says nothing on a shared machine, so there is no deadline. CI repeats the same examples, so that a red run is the
# fault of the change and not of the dice; developers' runs look further.
settings.register_profile("dev", deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", settings.get_profile("dev"), derandomize=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci" if os.environ.get("CI") else "dev"))


def why_no_root() -> str | None:
    """Why tests that make namespaces and mounts cannot run here, or None."""
    if sys.platform != "linux":
        return f"needs Linux, this is {sys.platform}"
    if os.geteuid() != 0:
        return "needs root: run scripts/test as root or with sudo"
    for line in Path("/proc/self/status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == "CapEff" and not int(value, 16) >> CAP_SYS_ADMIN & 1:
            return "needs CAP_SYS_ADMIN, which this root lacks (inside a container?)"
    return None


def why_no_controllers(wanted: tuple[str, ...]) -> str | None:
    """Why tests that set resource limits cannot run here, or None. `wanted` names cgroup controllers."""
    reason = why_no_root()
    if reason is not None:
        return reason
    # The file exists in a cgroup v2 hierarchy only: on a hybrid host /sys/fs/cgroup is a tmpfs of v1 hierarchies.
    try:
        available = (CGROUP_ROOT / "cgroup.controllers").read_text().split()
    except FileNotFoundError:
        return f"needs a pure cgroup v2 hierarchy at {CGROUP_ROOT}: run it in the machine of vm/run"
    missing = [name for name in wanted if name not in available]
    return (
        f"needs the cgroup controllers {' '.join(missing)} at {CGROUP_ROOT}: run it in the machine of vm/run"
        if missing
        else None
    )


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skips what this machine cannot run, before any fixture asks for privileges."""
    if item.get_closest_marker("root") is not None:
        reason = why_no_root()
        if reason is not None:
            pytest.skip(reason)
    marker = item.get_closest_marker("controllers")
    if marker is not None:
        reason = why_no_controllers(tuple(marker.args) or DEFAULT_CONTROLLERS)
        if reason is not None:
            pytest.skip(reason)


@pytest.fixture(autouse=True)
def leaves_nothing(request: pytest.FixtureRequest) -> Iterator[None]:
    """After every test on the real kernel: no process, mount, cgroup, file, link or rule is left that it made."""
    if request.node.get_closest_marker("root") is None and request.node.get_closest_marker("controllers") is None:
        yield
        return
    oracle = Oracle(request.getfixturevalue("tmp_path"))
    yield
    leaks = oracle.leaks()
    kill_leftovers(oracle, print)
    assert leaks == []


@pytest.fixture(scope="session", autouse=True)
def nothing_lives_on(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """At the very end: what fixtures of whole modules ran has ended too."""
    yield
    if why_no_root() is None:
        oracle = Oracle(tmp_path_factory.getbasetemp())
        living = oracle.processes()
        kill_leftovers(oracle, print)
        assert living == []


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Lists, once for each reason, how many tests did not run on this machine."""
    reasons: Counter[str] = Counter()
    for report in terminalreporter.stats.get("skipped", []):
        cause = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        reasons[cause.removeprefix("Skipped: ")] += 1
    for reason, count in sorted(reasons.items()):
        terminalreporter.write_line(f"not run here: {count} {'test' if count == 1 else 'tests'}: {reason}")
