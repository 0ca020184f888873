"""The one place that knows which function performs which operation.

Operations come as the plan's JSON has them, ``[type, field, …]``: launcher and shim know no message library. A failure is a
`SyscallError`; what an operation is for, and its undo, are the plan's business.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from docket.kernel.linux import host, id_mapping, process, rootfs, systemd
from docket.kernel.linux.context import Context
from docket.kernel.linux.syscalls import SyscallError

Operation = list[Any]

_PERFORM: dict[str, Callable[..., bool | None]] = {
    "MakeDirectory": host.make_directory,
    "RemoveDirectory": host.remove_directory,
    "WriteFile": host.write_file,
    "Unlink": host.unlink,
    "StartScope": systemd.start_scope,
    "CreateCgroup": host.create_cgroup,
    "RemoveCgroup": host.remove_cgroup,
    "WriteCgroup": host.write_cgroup,
    "AttachDeviceFilter": host.attach_device_filter,
    "JoinNamespaces": host.join_namespaces,
    "JoinUsers": host.join_users,
    "WriteIdMaps": process.write_id_maps,
    "HoldOverlay": id_mapping.hold_overlay,
    "AttachOverlay": rootfs.attach_overlay,
    "BecomeRoot": process.become_root,
    "SetAppArmorProfile": process.set_apparmor_profile,
    "SetDumpable": process.set_dumpable,
    "Setsid": process.setsid,
    "Unshare": process.unshare,
    "Mount": rootfs.mount,
    "HoldTree": rootfs.hold_tree,
    "HoldPeerTree": rootfs.hold_peer_tree,
    "MountOverlay": rootfs.mount_overlay,
    "EnterRoot": rootfs.enter_root,
    "MountInRoot": rootfs.mount_in_root,
    "BindInRoot": rootfs.bind_in_root,
    "MakeNodeInRoot": rootfs.make_node_in_root,
    "SymlinkInRoot": rootfs.symlink_in_root,
    "MakeDirectoryInRoot": rootfs.make_directory_in_root,
    "OpenTerminal": process.open_terminal,
    "ResolveUser": process.resolve_user_in_root,
    "SetLinkUp": process.set_link_up,
    "Sethostname": process.sethostname,
    "Setdomainname": process.setdomainname,
    "WriteSysctl": rootfs.write_sysctl,
    "PivotRoot": rootfs.pivot_root,
    "MaskPath": rootfs.mask_path,
    "SetReadOnly": rootfs.set_read_only,
    "Setrlimit": process.setrlimit,
    "SetOomScoreAdj": process.set_oom_score_adj,
    "SetNoNewPrivileges": process.set_no_new_privileges,
    "LoadSeccomp": process.load_seccomp,
    "DropBounding": process.drop_bounding,
    "SetUser": process.set_user,
    "Capset": process.capset,
    "SetParentDeathSignal": process.set_parent_death_signal,
    "Umask": process.umask,
    "Chdir": process.chdir,
    "Execve": process.execve,
}


def perform(context: Context, operation: Operation) -> bool:
    """Perform one operation; False when there was nothing to do, and so nothing to undo. Raises `SyscallError`."""
    try:
        return _PERFORM[operation[0]](context, *operation[1:]) is not False
    except SyscallError:
        raise
    except OSError as error:
        raise SyscallError(operation[0].lower(), error.errno or 0, str(error.filename or "")) from error
