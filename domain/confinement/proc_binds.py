"""What may be bound inside /proc: a few files that a FUSE filesystem emulates (runc, libcontainer/rootfs_linux.go, checkProcMount).

Everything else there is what engine and container trust to come from the kernel (S6). Needed by the process side: no imports.
"""

BINDABLE_IN_PROC = frozenset(
    (
        "/proc/cpuinfo",
        "/proc/diskstats",
        "/proc/loadavg",
        "/proc/meminfo",
        "/proc/net/dev",
        "/proc/slabinfo",
        "/proc/stat",
        "/proc/swaps",
        "/proc/sys/kernel/ns_last_pid",
        "/proc/uptime",
    )
)


def inside_proc(target: str) -> str:
    """Docker's sentence."""
    return f'"{target}" cannot be mounted because it is inside /proc'
