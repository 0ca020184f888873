"""Mount namespaces in memory: resolution, copies, binds, pivot."""

import pytest

from docket.kernel.fake.filesystem import Directory, File, Link, seed
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
