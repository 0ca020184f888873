"""The harness's own mount and network namespaces, so that no engine's mounts, devices or control groups meet the host's.

A host with cgroup v1 hierarchies and the v2 hierarchy beside them is laid out anew with the v1 ones alone: crun, podman's
runtime, refuses the mixture. docket, which uses v2 only, gets that hierarchy back in a namespace of its daemon's.
"""

import ctypes
import os
import subprocess
from pathlib import Path

CGROUP_ROOT = Path("/sys/fs/cgroup")
UNIFIED = CGROUP_ROOT / "unified"
CLONE_NEWNS = 0x00020000
CLONE_NEWNET = 0x40000000
MNT_DETACH = 2


def enter() -> None:
    """Moves the harness into namespaces of its own. Raises OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNS | CLONE_NEWNET) != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"unshare: {os.strerror(error)}")
    _mount("--make-rprivate", "/")
    if UNIFIED.is_mount():
        _without_unified()


def _without_unified() -> None:
    hierarchies = [path for path in CGROUP_ROOT.iterdir() if path.is_mount() and path != UNIFIED]
    links = {path.name: path.readlink() for path in CGROUP_ROOT.iterdir() if path.is_symlink()}
    before = os.open(CGROUP_ROOT, os.O_PATH | os.O_DIRECTORY)
    _mount("-t", "tmpfs", "-o", "mode=755", "tmpfs", str(CGROUP_ROOT))
    UNIFIED.mkdir()
    for path in hierarchies:
        path.mkdir()
        # Not canonicalised: the name behind the descriptor is the new, empty directory by now.
        command = ["mount", "--no-canonicalize", "--bind", f"/proc/self/fd/{before}/{path.name}", str(path)]
        subprocess.run(command, check=True, pass_fds=(before,))
    for name, target in links.items():
        (CGROUP_ROOT / name).symlink_to(target)
    os.close(before)


def with_unified() -> list[str]:
    """What to put before a command that needs the cgroup v2 hierarchy which `enter` took away."""
    if not UNIFIED.is_dir():
        return []
    return ["unshare", "--mount", "sh", "-c", f'mount -t cgroup2 cgroup2 {UNIFIED} && exec "$@"', "sh"]


def volatile(folder: Path) -> None:
    """Makes the folder, in memory, as /run is where engines keep by default what a reboot ends."""
    folder.mkdir()
    _mount("-t", "tmpfs", "-o", "mode=755", "tmpfs", str(folder))


def detach_below(folder: str) -> None:
    """Takes away what the engines left mounted below their data, so that it can be deleted."""
    libc = ctypes.CDLL(None, use_errno=True)
    for line in reversed(Path("/proc/self/mountinfo").read_text().splitlines()):
        point = line.split()[4]
        if point.startswith(folder + "/"):
            libc.umount2(point.encode(), MNT_DETACH)


def _mount(*args: str) -> None:
    subprocess.run(["mount", *args], check=True)
