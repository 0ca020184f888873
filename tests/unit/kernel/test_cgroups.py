"""The cgroup2 model: top-down controllers, no internal processes, what cannot be removed."""

import pytest

from docket.kernel.fake.cgroups import Cgroups
from docket.kernel.fake.linux_errno import EBUSY, EEXIST, EINVAL, ENOENT, ERANGE, CallFailed

ROOT = "/sys/fs/cgroup"


@pytest.fixture
def cgroups() -> Cgroups:
    """A hierarchy with two controllers."""
    return Cgroups(controllers=("memory", "pids"))


def write_errno(cgroups: Cgroups, path: str, file: str, value: str) -> int:
    with pytest.raises(CallFailed) as caught:
        cgroups.write(path, file, value)
    return caught.value.errno


def test_controllers_are_enabled_on_the_way_down(cgroups: Cgroups) -> None:
    """Interface files of a controller exist where the parent enabled it."""
    cgroups.create(f"{ROOT}/docket/a", ("pids",))
    assert cgroups.read(f"{ROOT}/docket/a", "cgroup.controllers") == "pids"
    assert cgroups.read(f"{ROOT}/docket/a", "pids.max") == "max"
    assert cgroups.read(f"{ROOT}/docket", "cgroup.subtree_control") == "pids"
    assert write_errno(cgroups, f"{ROOT}/docket/a", "memory.max", "1") == ENOENT


def test_a_controller_that_the_host_lacks_cannot_be_enabled(cgroups: Cgroups) -> None:
    """ENOENT for a known one, EINVAL for a word that is none."""
    with pytest.raises(CallFailed) as caught:
        cgroups.create(f"{ROOT}/a", ("cpu",))
    assert caught.value.errno == ENOENT
    assert write_errno(cgroups, ROOT, "cgroup.subtree_control", "+nonsense") == EINVAL


def test_a_group_with_processes_or_children_is_busy(cgroups: Cgroups) -> None:
    """EBUSY of rmdir, and of enabling controllers over processes."""
    cgroups.create(f"{ROOT}/a/b", ("memory",))
    cgroups.join(f"{ROOT}/a/b", 100)
    for path in (f"{ROOT}/a", f"{ROOT}/a/b"):
        with pytest.raises(CallFailed) as caught:
            cgroups.rmdir(path)
        assert caught.value.errno == EBUSY
    assert write_errno(cgroups, f"{ROOT}/a/b", "cgroup.subtree_control", "+memory") == EBUSY
    with pytest.raises(CallFailed) as caught:
        cgroups.join(f"{ROOT}/a", 101)
    assert caught.value.errno == EBUSY
    assert cgroups.read(f"{ROOT}/a", "cgroup.events") == "populated 1\nfrozen 0"
    cgroups.leave(100)
    cgroups.rmdir(f"{ROOT}/a/b")
    assert not cgroups.exists(f"{ROOT}/a/b")


def test_freezing_reaches_the_subtree(cgroups: Cgroups) -> None:
    """A group below a frozen one is frozen."""
    cgroups.create(f"{ROOT}/a/b", ())
    cgroups.write(f"{ROOT}/a", "cgroup.freeze", "1")
    assert cgroups.find(f"{ROOT}/a/b").frozen
    assert cgroups.read(f"{ROOT}/a/b", "cgroup.freeze") == "0"
    assert write_errno(cgroups, f"{ROOT}/a", "cgroup.freeze", "2") == ERANGE


def test_mkdir_and_rmdir_answer_as_system_calls(cgroups: Cgroups) -> None:
    """EEXIST and ENOENT."""
    cgroups.mkdir(f"{ROOT}/a")
    for call, path, errno in ((cgroups.mkdir, "a", EEXIST), (cgroups.mkdir, "x/y", ENOENT), (cgroups.rmdir, "x", ENOENT)):
        with pytest.raises(CallFailed) as caught:
            call(f"{ROOT}/{path}")
        assert caught.value.errno == errno
