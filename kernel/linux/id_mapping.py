"""`HoldOverlay`: an overlay of id-mapped layers, made where nobody sees it, and the question whether a filesystem can be mapped.

    shim                                   helper for the ids          helper for the mounts
    clone3 user ──────────────────────────► waits
    writes its uid_map and gid_map
    opens its namespace
    a byte ───────────────────────────────► ends
    clones and maps the layers' directories
    clone3 mount ─────────────────────────────────────────────────────► attaches the clones on a tmpfs of its own,
                                                                        mounts the overlay of them
    ◄───────────────────────────────────────────────────────────────── the overlay's descriptor, or what failed

Before Linux 6.13 an overlay takes its layers by path and only from the caller's mount namespace, hence the second helper; the
overlay keeps its layers when that namespace is gone. Made with the host's rights it also keeps ``trusted.*`` attributes and device
nodes working as they do without a user namespace. Upper and work directory share one clone: overlayfs wants one mount for both.
"""

from __future__ import annotations

import _socket
import os
from errno import EINVAL, EPIPE

from docket.kernel.linux import abi, syscalls
from docket.kernel.linux.context import Context
from docket.kernel.linux.host import read_small_file, write_control
from docket.kernel.linux.syscalls import SyscallError

OVERLAY = "overlay"
"""What the held overlay is called among the held trees; no host path looks like it."""
_SOL_SOCKET = 1
_SCM_RIGHTS = 1


def hold_overlay(
    context: Context, lowerdirs: list[str], upperdir: str, workdir: str, uids: list[list[int]], gids: list[list[int]]
) -> None:
    trees: list[int] = []
    users = user_namespace(uids, gids)
    try:
        for directory in (*lowerdirs, os.path.dirname(upperdir)):
            trees.append(mapped_tree(directory, users))
        root = on_host(uids), on_host(gids)
        context.hold(OVERLAY, False, "private", _overlay_of(trees, upperdir, workdir, root))
    finally:
        for descriptor in (users, *trees):
            os.close(descriptor)


def on_host(mapping: list[list[int]]) -> int:
    """What id 0 of a container is on the host. Raises `SyscallError` when it is none."""
    for inside, outside, _ in mapping:
        if not inside:
            return outside
    raise SyscallError("write", EINVAL, "uid_map")


def user_namespace(uids: list[list[int]], gids: list[list[int]]) -> int:
    """The descriptor of a new user namespace with these maps and no process in it."""
    waiting, going = os.pipe2(os.O_CLOEXEC)
    pid, pidfd = syscalls.clone3(abi.NAMESPACES["user"])
    if pid == 0:
        os.close(going)
        os.read(waiting, 1)
        os._exit(0)
    try:
        write_id_maps(pid, uids, gids)
        return os.open(f"/proc/{pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        for descriptor in (going, waiting, pidfd):
            os.close(descriptor)
        os.waitpid(pid, 0)


def write_id_maps(pid: int, uids: list[list[int]], gids: list[list[int]]) -> None:
    """Map the ids of a process's new user namespace."""
    for name, mapping in (("uid_map", uids), ("gid_map", gids)):
        lines = "\n".join([" ".join([str(number) for number in line]) for line in mapping])
        write_control(f"/proc/{pid}/{name}", lines + "\n")


def mapped_tree(directory: str, users: int) -> int:
    """A clone of a directory's mount that shows its files as owned by the ids of the user namespace ``users``."""
    tree = syscalls.open_tree(abi.AT_FDCWD, directory, abi.OPEN_TREE_CLONE)
    try:
        syscalls.mount_setattr(tree, "", abi.AT_EMPTY_PATH, set_=abi.MOUNT_ATTR_IDMAP, users=users)
    except SyscallError as error:
        os.close(tree)
        raise SyscallError("mount_setattr", error.errno or 0, directory) from None
    return tree


def _overlay_of(trees: list[int], upperdir: str, workdir: str, root: tuple[int, int]) -> int:
    ours, theirs = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
    pid, pidfd = syscalls.clone3(abi.NAMESPACES["mount"])
    if pid == 0:
        _mount_in_helper(trees, upperdir, workdir, root, theirs)
    os.close(pidfd)
    theirs.close()
    return answer_of_helper(ours, pid)


def answer_of_helper(ours: _socket.socket, pid: int) -> int:
    """The descriptor that a helper process sent before it ended, or what failed there, as ``syscall TAB errno TAB path``.

    Closes the socket and reaps the helper. Raises `SyscallError`.
    """
    try:
        message, ancillary, _, _ = ours.recvmsg(4096, 64)
    finally:
        ours.close()
        os.waitpid(pid, 0)
    for _, _, data in ancillary:
        return int.from_bytes(data[:4], "little")
    syscall, errno, path = message.decode("utf-8", "surrogateescape").split("\t") if message else ("clone3", str(EPIPE), "")
    raise SyscallError(syscall, int(errno), path)


def _mount_in_helper(trees: list[int], upperdir: str, workdir: str, root: tuple[int, int], channel: _socket.socket) -> None:
    """Never returns. The names of the layers are short: many of them fit in the one page that mount(2) takes."""
    try:
        try:
            tree = _mount(trees, upperdir, workdir, root)
            channel.sendmsg([b"\0"], [(_SOL_SOCKET, _SCM_RIGHTS, tree.to_bytes(4, "little"))])
        except OSError as error:
            call = error.syscall if isinstance(error, SyscallError) else "mkdir"
            told = f"{call}\t{error.errno}\t{error.filename}"
            channel.send(told.encode("utf-8", "surrogateescape")[:4096])
    finally:
        os._exit(0)


def _mount(trees: list[int], upperdir: str, workdir: str, root: tuple[int, int]) -> int:
    syscalls.mount("", "/", "", abi.MS_REC | abi.MS_PRIVATE)
    box = os.path.dirname(upperdir)
    syscalls.mount("tmpfs", box, "tmpfs", 0, "mode=700")
    os.chdir(box)
    for number, tree in enumerate(trees):
        name = str(number)
        os.mkdir(name)
        point = syscalls.openat2(abi.AT_FDCWD, name, abi.O_PATH, 0)
        syscalls.move_mount(tree, point, name)
        os.close(point)
    *lower, last = [str(number) for number in range(len(trees))]
    upper = f"upperdir={last}/{os.path.basename(upperdir)},workdir={last}/{os.path.basename(workdir)}"
    os.mkdir("root")
    os.chown(".", *root)
    _become(root)
    syscalls.mount("overlay", "root", "overlay", 0, f"lowerdir={':'.join(lower)},{upper}")
    return syscalls.open_tree(abi.AT_FDCWD, "root", abi.OPEN_TREE_CLONE)


def _become(root: tuple[int, int]) -> None:
    """The mapped root with all capabilities: overlayfs works in the layers as who mounted it: the host's root is nobody there."""
    status = read_small_file("/proc/self/status")
    permitted = int(status[status.index("CapPrm:") + 7 :].split(None, 1)[0], 16)
    syscalls.prctl(abi.PR_SET_KEEPCAPS, 1)
    syscalls.setgroups([])
    syscalls.setresgid(root[1])
    syscalls.setresuid(root[0])
    syscalls.capset(permitted, permitted, 0)


def why_not_mapped(directory: str) -> str:
    """Why an overlay with layers below ``directory`` cannot have other ids; empty when it can."""
    try:
        users = user_namespace([[0, 1, 1]], [[0, 1, 1]])
    except OSError as error:
        return f"this kernel makes no user namespace: {os.strerror(error.errno or 0)}"
    try:
        os.close(mapped_tree(directory, users))
    except SyscallError as error:
        return f"mount_setattr {directory}: {os.strerror(error.errno or 0)}"
    finally:
        os.close(users)
    return ""
