"""The fake kernel knows every operation, and what it does with each is what the kernel does."""

import dataclasses
from typing import get_args

import pytest

from docket.domain.confinement.id_maps import IdMapping
from docket.domain.plan import operations as op
from docket.kernel.fake.interpreter import SYSCALLS, Interpreter
from docket.kernel.fake.kernel import FakeKernel
from docket.kernel.fake.linux_errno import EINVAL, EPERM, ESRCH, CallFailed
from docket.kernel.fake.ports import FakeClock
from docket.kernel.fake.streams import Streams
from docket.kernel.fake.task import Task

EVERY = get_args(op.AnyOperation)
_MAPS = (IdMapping(0, 100_000, 65_536),)
EXAMPLES: tuple[op.AnyOperation, ...] = (
    op.MakeDirectory("/run/docket/x"),
    op.WriteFile("/run/docket/x/f", "text"),
    op.Unlink("/run/docket/x/f"),
    op.RemoveDirectory("/run/docket/x"),
    op.StartScope("/sys/fs/cgroup/system.slice/docket-x.scope", "docket-x.scope", "system.slice"),
    op.CreateCgroup("/sys/fs/cgroup/docket/x", ("pids",)),
    op.WriteCgroup("/sys/fs/cgroup/docket/x", "pids.max", "5"),
    op.AttachDeviceFilter("/sys/fs/cgroup/docket/x", "twAAAAEAAACVAAAAAAAAAA=="),
    op.JoinNamespaces(1, 1, ("pid",)),
    op.JoinUsers(1, 1),
    op.HoldOverlay(("/var/lib/docket/layers/1",), "/tmp", "/etc", _MAPS, _MAPS),
    op.Clone(("mount", "uts", "net"), "/sys/fs/cgroup/docket/x"),
    op.HoldTree("/etc", True, "rshared"),
    op.HoldPeerTree(1, 1, "/etc"),
    op.SetDumpable(0),
    op.Setsid(),
    op.Unshare(("ipc",)),
    op.Mount("", "/", "", ("REC", "PRIVATE")),
    op.MountOverlay(("/var/lib/docket/layers/1",), "", "", "/run/docket/rootfs"),
    op.AttachOverlay("/run/docket/rootfs"),
    op.EnterRoot("/run/docket/rootfs"),
    op.MountInRoot("proc", "/proc"),
    op.MountInRoot("tmpfs", "/dev", (), "mode=755"),
    op.MountInRoot("devpts", "/dev/pts"),
    op.MakeNodeInRoot("/dev/null", "c", 1, 3),
    op.SymlinkInRoot("/dev/ptmx", "pts/ptmx"),
    op.MakeDirectoryInRoot("/dev/made/deep"),
    op.BindInRoot("/etc/hostname", "/dev/hostname", readonly=True),
    op.Unshare(("user",)),
    op.WriteIdMaps(_MAPS, _MAPS),
    op.BecomeRoot(100_000, 100_000),
    op.SetAppArmorProfile("docker-default"),
    op.OpenTerminal(24, 80),
    op.ResolveUser("daemon", ("wheel",)),
    op.SetLinkUp("lo"),
    op.Sethostname("box"),
    op.Setdomainname("example"),
    op.WriteSysctl("net.ipv4.ip_forward", "1"),
    op.PivotRoot(),
    op.MaskPath("/proc/kcore"),
    op.SetReadOnly("/proc/sys"),
    op.Setrlimit("NOFILE", 10, 20),
    op.SetOomScoreAdj(5),
    op.LoadSeccomp("BgAAAAAA/38="),
    op.DropBounding(0xFF),
    op.SetUser(),
    op.Capset(0xF, 0xF),
    op.SetParentDeathSignal(),
    op.Umask(0o077),
    op.Chdir("/etc"),
    op.SetNoNewPrivileges(),
    op.Execve(("id",)),
    op.RemoveCgroup("/sys/fs/cgroup/docket/x"),
)


@dataclasses.dataclass
class Stage:
    """An interpreter in the middle of a plan."""

    kernel: FakeKernel
    interpreter: Interpreter
    task: Task

    def errno(self, operation: op.Operation) -> int:
        """The error number of an operation that fails."""
        with pytest.raises(CallFailed) as caught:
            self.interpreter.perform(operation, self.task)
        return caught.value.errno


@pytest.fixture
def stage() -> Stage:
    """A task with a layer to mount, before its process is cloned."""
    kernel = FakeKernel(clock=FakeClock(follow_trio=False), apparmor=("docker-default",))
    kernel.make_layer("/var/lib/docket/layers/1")
    shim = kernel.model.processes.fork(kernel.model.init, (), 0, into={})
    streams = Streams(terminal=True, stdin=False, stdin_once=False)
    return Stage(kernel, Interpreter(kernel.model), Task(shim, streams, ("PATH=/bin",)))


def test_every_operation_has_an_example_and_a_system_call() -> None:
    """A new operation type cannot be forgotten here."""
    assert {type(example) for example in EXAMPLES} == set(EVERY)
    assert set(SYSCALLS) == {kind.__name__ for kind in EVERY}


def test_every_operation_does_its_work(stage: Stage) -> None:
    """One plan with all of them, and what it leaves in the process."""
    for operation in EXAMPLES:
        assert stage.interpreter.perform(operation, stage.task) is True, operation.describe()
    process = stage.task.new
    assert (process.uid, process.gid, process.groups) == (1, 1, (1, 10))
    assert process.capabilities.bounding == 0xFF
    assert (process.capabilities.permitted, process.capabilities.effective) == (0, 0)
    assert (process.no_new_privileges, process.seccomp, process.session, process.dumpable) == (True, "BgAAAAAA/38=", True, 0)
    assert (process.rlimits["NOFILE"], process.umask, process.oom_score_adj) == ((10, 20), 0o077, 5)
    assert process.namespaces["uts"].hostname == "box"
    assert (process.apparmor, process.namespaces["user"].id_maps) == ("docker-default", (_MAPS, _MAPS))
    assert process.environment == {"PATH": "/bin", "HOME": "/usr/sbin"}
    assert stage.kernel.model.init.namespaces["uts"].hostname == "host"
    assert stage.kernel.model.host_mounts.strays == []
    assert stage.interpreter.made == {}


def test_a_kept_directory_is_not_to_be_undone(stage: Stage) -> None:
    """False tells that the plan did not make it."""
    assert stage.interpreter.perform(op.MakeDirectory("/run/docket"), stage.task) is False


def test_s15_a_process_that_started_at_another_time_is_not_joined(stage: Stage) -> None:
    """ESRCH, whatever runs under that pid now."""
    assert stage.errno(op.JoinNamespaces(1, 2, ("pid",))) == ESRCH


def test_rights_that_are_gone_are_missed(stage: Stage) -> None:
    """Without CAP_SETPCAP no bounding set is dropped; a user that is no root has no CAP_SYS_ADMIN for a filter."""
    resolved = next(number for number, each in enumerate(EXAMPLES) if isinstance(each, op.ResolveUser))
    for operation in EXAMPLES[: resolved + 1]:
        stage.interpreter.perform(operation, stage.task)
    stage.interpreter.perform(op.SetUser(), stage.task)
    assert stage.errno(op.DropBounding(1)) == EPERM
    assert stage.errno(op.LoadSeccomp("BgAAAAAA/38=")) == 13
    assert stage.errno(op.Setrlimit("NOFILE", 20, 10)) == EINVAL
    assert stage.errno(op.Sethostname("x" * 65)) == EINVAL
    assert stage.errno(op.Setsid()) == EPERM
