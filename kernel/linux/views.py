"""Views: descriptors of containers' root filesystems, for the engine to look at files and copy them (S17, S18).

No process of the container's is asked, nothing of the image is executed or loaded, and the engine's own root, working directory
and mount table stay what they are. What is done with names happens beneath the view's descriptor, with openat2(2).

    a container that runs    the root of its first process, with the mounts that the container has
    its root alone           a detached clone of that mount: the overlay, and nothing that is mounted on it
    one that does not        a mount namespace of its own, in which a plan's operations have mounted what it would have

A thread that enters a mount namespace stays there, so it is one that ends with it. The namespace lives as long as the view's
descriptors do: when the engine dies, the kernel takes everything back.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from errno import ESRCH
from typing import TypeVar

import msgspec

from docket.domain.errors import KernelError
from docket.domain.plan.operations import AnyOperation
from docket.domain.ports import ProcessIdentity
from docket.kernel.linux import abi, syscalls
from docket.kernel.linux.context import Context
from docket.kernel.linux.interpreter import perform
from docket.kernel.linux.syscalls import SyscallError

_MOUNT_NAMESPACE = abi.NAMESPACES["mount"]
_CLONE_FS = 0x200

T = TypeVar("T")


class LinuxView:
    """Implements `docket.domain.container_files.View`."""

    def __init__(self, root: int, *kept: int) -> None:
        self.root = root
        self._kept = kept

    def close(self) -> None:
        """Give the descriptors back; what was mounted for the view goes with them."""
        for descriptor in (self.root, *self._kept):
            os.close(descriptor)


class LinuxViews:
    """Implements `docket.domain.container_files.Views`. Blocking; to be called in worker threads."""

    def of_process(self, identity: ProcessIdentity, *, alone: bool = False) -> LinuxView:
        """What the process has as its root. Raises `KernelError` ESRCH when that very process has ended."""
        try:
            view = _of_process(identity)
            return _alone(view) if alone else view
        except SyscallError as error:
            raise _kernel_error("look at the container's files", error) from error
        except OSError as error:
            raise KernelError("look at the container's files", "open", error.errno or 0, "", error.strerror or "") from error

    def of_plan(self, operations: Sequence[AnyOperation]) -> LinuxView:
        """What the operations mount, in a mount namespace of its own. Raises `KernelError`; then nothing is mounted."""
        return _in_own_thread(lambda: _mounted(operations))


def _of_process(identity: ProcessIdentity) -> LinuxView:
    process = os.open(f"/proc/{identity.pid}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    opened: list[int] = []
    try:
        # The descriptor means one process for good: after its end everything beneath fails.
        if _start_time(process) != identity.start_time:
            raise SyscallError("open", ESRCH, f"/proc/{identity.pid}")
        opened.append(os.open("ns/mnt", os.O_RDONLY | os.O_CLOEXEC, dir_fd=process))
        opened.append(os.open("root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=process))
    except FileNotFoundError as error:  # of a zombie
        _close(opened)
        raise SyscallError("open", ESRCH, f"/proc/{identity.pid}/root") from error
    except BaseException:
        _close(opened)
        raise
    finally:
        os.close(process)
    namespace, root = opened
    return LinuxView(root, namespace)


def _start_time(process: int) -> int:
    descriptor = os.open("stat", os.O_RDONLY | os.O_CLOEXEC, dir_fd=process)
    try:
        stat = os.read(descriptor, 4096).decode("utf-8", "surrogateescape")
    finally:
        os.close(descriptor)
    return int(stat[stat.rindex(")") + 2 :].split()[19])


def _close(descriptors: Sequence[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)


def _alone(view: LinuxView) -> LinuxView:
    """open_tree(2) clones only what is mounted in the caller's own namespace: a thread goes there."""
    root, namespace = view.root, view._kept[0]

    def clone() -> int:
        syscalls.unshare(_CLONE_FS)
        syscalls.setns(namespace, _MOUNT_NAMESPACE)
        return syscalls.open_tree(root, "", abi.OPEN_TREE_CLONE | abi.AT_EMPTY_PATH)

    try:
        return LinuxView(_in_own_thread(clone))
    finally:
        view.close()


def _mounted(operations: Sequence[AnyOperation]) -> LinuxView:
    syscalls.unshare(_MOUNT_NAMESPACE | _CLONE_FS)
    context = Context([], [])
    try:
        for operation in operations:
            try:
                perform(context, msgspec.to_builtins(operation))
            except SyscallError as error:
                raise _kernel_error(operation.describe(), error) from error
        namespace = os.open("/proc/thread-self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    except BaseException:
        if context.root >= 0:
            os.close(context.root)
        raise
    return LinuxView(context.root, namespace)


def _kernel_error(operation: str, error: SyscallError) -> KernelError:
    number = error.errno or 0
    return KernelError(operation, error.syscall, number, error.path, os.strerror(number))


def _in_own_thread(work: Callable[[], T]) -> T:
    """Do the work in a thread that nobody uses afterwards, and give what it gave or raised."""
    results: list[T] = []
    failures: list[BaseException] = []

    def run() -> None:
        try:
            results.append(work())
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=run, name="docket-view", daemon=True)
    thread.start()
    thread.join()
    if failures:
        raise failures[0]
    return results[0]
