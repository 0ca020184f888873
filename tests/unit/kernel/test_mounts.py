"""Mount namespaces in memory: resolution, copies, binds, pivot."""

from collections.abc import Callable

import pytest

from docket.domain.model.container.spec import MountSpec
from docket.domain.ports import Launch, LaunchFailed
from docket.kernel.fake.filesystem import Directory, File, Link, seed
from docket.kernel.fake.kernel import FakeKernel
from docket.kernel.fake.linux_errno import EINVAL, ELOOP, ENOENT, ENOTDIR, CallFailed
from docket.kernel.fake.mounts import Mount, MountNamespace, path_of


@pytest.fixture
def mounts() -> MountNamespace:
    """A namespace of a process, on a root with a few files."""
    root = Directory(0o755)
    seed(root, {"/a/b/file": b"x", "/etc/passwd": b"", "/new/x": b""})
    seed(
        root,
        {"/up": Link(0o777, target="../../a"), "/loop": Link(0o777, target="/loop"), "/gone": Link(0o777, target="/nowhere")},
    )
    copied, _ = MountNamespace([Mount("ext4", "disk", root)]).copy()
    return copied


def errno_of(mounts: MountNamespace, path: str, **options: bool) -> int:
    with pytest.raises(CallFailed) as caught:
        mounts.resolve(mounts.root(), path, **options)  # type: ignore[arg-type]
    return caught.value.errno


def test_paths_cannot_lead_above_the_root(mounts: MountNamespace) -> None:
    """`..` at the root stays there, in a path and in a link."""
    assert path_of(mounts.resolve(mounts.root(), "/../../a/b/../b")) == "/a/b"
    assert path_of(mounts.resolve(mounts.root(), "/up/b")) == "/a/b"
    inside = mounts.resolve(mounts.root(), "/a")[-1:]
    assert path_of(mounts.resolve(inside, "/../b/file")) == "/b/file"


def test_errors_are_those_of_the_kernel(mounts: MountNamespace) -> None:
    """ENOENT, ENOTDIR and ELOOP where Linux has them."""
    assert errno_of(mounts, "/nowhere") == ENOENT
    assert errno_of(mounts, "/gone") == ENOENT
    assert errno_of(mounts, "/etc/passwd/x") == ENOTDIR
    assert errno_of(mounts, "/etc/passwd/") == ENOTDIR
    assert errno_of(mounts, "/loop") == ELOOP
    assert errno_of(mounts, "/up/b", links=False) == ELOOP
    assert errno_of(mounts, "") == ENOENT


def test_the_last_mount_covers_the_earlier_ones(mounts: MountNamespace) -> None:
    """A mount on a mount is the one that is seen."""
    for name in ("first", "second"):
        made = Directory(0o755, entries={name: File(0o644)})
        mounts.mount(Mount("tmpfs", "tmpfs", made, mounts.resolve(mounts.root(), "/a")))
    found = mounts.resolve(mounts.root(), "/a")[-1].inode
    assert isinstance(found, Directory)
    assert found.names() == ["second"]


def test_a_copy_is_independent(mounts: MountNamespace) -> None:
    """A mount in a new namespace is not seen in the old one."""
    copied, (root,) = mounts.copy(mounts.root())
    copied.mount(Mount("tmpfs", "tmpfs", Directory(0o755), copied.resolve(root, "/a")))
    assert errno_of(copied, "/a/b") == ENOENT
    assert path_of(mounts.resolve(mounts.root(), "/a/b")) == "/a/b"


def test_a_recursive_bind_brings_the_mounts_below(mounts: MountNamespace) -> None:
    """MS_REC copies submounts, without it only the filesystem itself is bound; read-only reaches all of them."""
    made = Directory(0o755, entries={"inner": File(0o644)})
    mounts.mount(Mount("tmpfs", "tmpfs", made, mounts.resolve(mounts.root(), "/a/b")))
    root = mounts.root()
    mounts.bind(mounts.resolve(root, "/a"), mounts.resolve(root, "/new"), readonly=True, recursive=True, propagation="private")
    inner = mounts.resolve(root, "/new/b/inner")
    assert inner[-1].mount.readonly
    mounts.bind(
        mounts.resolve(root, "/a"), mounts.resolve(root, "/etc"), readonly=False, recursive=False, propagation="private"
    )
    assert path_of(mounts.resolve(root, "/etc/b/file")) == "/etc/b/file"


def test_pivot_forgets_the_old_root(mounts: MountNamespace) -> None:
    """After the pivot only the new root's mounts are there; what is no mount point cannot be pivoted to."""
    root = mounts.root()
    with pytest.raises(CallFailed) as caught:
        mounts.pivot(mounts.resolve(root, "/a"))
    assert caught.value.errno == EINVAL
    mounts.mount(Mount("tmpfs", "new", Directory(0o755, entries={"d": Directory(0o755)}), mounts.resolve(root, "/a")))
    mounts.mount(Mount("tmpfs", "below", Directory(0o755), mounts.resolve(root, "/a/d")))
    mounts.mount(Mount("tmpfs", "elsewhere", Directory(0o755), mounts.resolve(root, "/etc")))
    mounts.pivot(mounts.resolve(root, "/a")[-1:])
    assert [mount.source for mount in mounts.mounts] == ["new", "below"]
    assert errno_of(mounts, "/a") == ENOENT


def test_mounts_that_reach_the_host_are_told() -> None:
    """A mount in the host's namespace, or below one that is shared with it, is a stray."""
    host = MountNamespace([Mount("ext4", "disk", Directory(0o755, entries={"a": Directory(0o755)}), propagation="shared")])
    copied, _ = host.copy()
    copied.mount(Mount("tmpfs", "tmpfs", Directory(0o755), copied.resolve(copied.root(), "/a")))
    assert host.strays == ["/a"]
    copied.mounts[0].propagation = "slave"
    copied.mount(Mount("tmpfs", "tmpfs", Directory(0o755), copied.resolve(copied.root(), "/a")))
    assert host.strays == ["/a"]


async def shared_start(make_launch: Callable[..., Launch], mounts: tuple[MountSpec, ...]) -> tuple[FakeKernel, str]:
    """Start a container with these mounts; the kernel, and what the start failed with."""
    kernel = FakeKernel()
    for path in ("/srv/data", "/srv/more"):
        kernel.make_layer(path, system=False)
    try:
        await kernel.launch(make_launch(kernel, "sleep", "1000", mounts=mounts))
    except LaunchFailed as failure:
        return kernel, failure.syscall
    return kernel, ""


async def test_a_shared_bind_is_a_peer_and_nothing_of_the_engines_reaches_the_host(make_launch: Callable[..., Launch]) -> None:
    """Other mounts are made before it, so that none of them lies on it."""
    shared = MountSpec("bind", "/data", "/srv/data", propagation="rshared")
    kernel, failed = await shared_start(
        make_launch, (shared, MountSpec("tmpfs", "/data2"), MountSpec("bind", "/b", "/srv/more"))
    )
    assert failed == ""
    assert kernel.model.host_mounts.strays == []
    process = next(process for process in kernel.model.processes.living() if process.args == ("sleep", "1000"))
    assert process.mounts.resolve(process.root, "/data")[-1].mount.propagation == "shared"


async def test_a_second_shared_bind_is_not_attached_to_a_first_one(make_launch: Callable[..., Launch]) -> None:
    """It would appear on the host, whatever name led there."""
    mounts = tuple(MountSpec("bind", target, "/srv/data", propagation="shared") for target in ("/data", "/data/more"))
    kernel, failed = await shared_start(make_launch, mounts)
    assert failed == "move_mount"
    assert kernel.model.host_mounts.strays == []


async def test_a_private_source_cannot_be_shared(make_launch: Callable[..., Launch]) -> None:
    """Docker's sentence, before anything is mounted."""
    kernel = FakeKernel()
    kernel.make_layer("/srv/data", system=False)
    kernel.model.host_mounts.mounts[0].propagation = "private"
    for propagation, wanted in (("rshared", "a shared"), ("slave", "a shared or slave")):
        mounts = (MountSpec("bind", "/data", "/srv/data", propagation=propagation),)
        with pytest.raises(LaunchFailed) as caught:
            await kernel.launch(make_launch(kernel, "true", mounts=mounts))
        assert caught.value.syscall == f"path /srv/data is mounted on / but it is not {wanted} mount"
