"""What is hidden from a container, and which devices it has: Docker's defaults as data (security.md, section 2).

Masked paths are hidden, read-only paths stay readable; ``--privileged`` and ``systempaths=unconfined`` lift both. Devices are
decided twice, by the nodes in /dev and by the rules of the cgroup, because anyone with MKNOD can make further nodes.
"""

from __future__ import annotations

import msgspec

MASKED_PATHS = (
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
)
READONLY_PATHS = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")


class DeviceNode(msgspec.Struct, frozen=True):
    """A character device in /dev, mode 0666, owned by root."""

    name: str
    major: int
    minor: int


class DeviceRule(msgspec.Struct, frozen=True):
    """A rule of the device cgroup; later rules win. ``kind`` is ``a``, ``b`` or ``c``; None stands for every number."""

    allow: bool
    kind: str
    major: int | None
    minor: int | None
    access: str

    def text(self) -> str:
        """As the device cgroup writes it, ``c 1:3 rwm``."""
        numbers = ":".join("*" if number is None else str(number) for number in (self.major, self.minor))
        return f"{self.kind} {numbers} {self.access}"


DEVICE_NODES = (
    DeviceNode("null", 1, 3),
    DeviceNode("zero", 1, 5),
    DeviceNode("full", 1, 7),
    DeviceNode("random", 1, 8),
    DeviceNode("urandom", 1, 9),
    DeviceNode("tty", 5, 0),
)
DEVICE_LINKS = (
    ("/dev/fd", "/proc/self/fd"),
    ("/dev/stdin", "/proc/self/fd/0"),
    ("/dev/stdout", "/proc/self/fd/1"),
    ("/dev/stderr", "/proc/self/fd/2"),
    ("/dev/ptmx", "pts/ptmx"),
)

DEVICE_RULES = (
    DeviceRule(False, "a", None, None, "rwm"),
    # Making a node gives no access to the device behind it.
    DeviceRule(True, "c", None, None, "m"),
    DeviceRule(True, "b", None, None, "m"),
    *(DeviceRule(True, "c", node.major, node.minor, "rwm") for node in DEVICE_NODES),
    DeviceRule(True, "c", 5, 1, "rwm"),  # console
    DeviceRule(True, "c", 5, 2, "rwm"),  # ptmx
    DeviceRule(True, "c", 136, None, "rwm"),  # pts/*
    DeviceRule(False, "c", 10, 229, "rwm"),  # fuse
)
PRIVILEGED_DEVICE_RULES = (DeviceRule(True, "a", None, None, "rwm"),)


def masked_paths(possible_cpus: int, *, asked: tuple[str, ...] | None = None, lifted: bool = False) -> tuple[str, ...]:
    """What to hide: ``asked`` replaces the defaults, ``lifted`` (privileged, systempaths=unconfined) means nothing.

    Each possible CPU has a file that tells how the host is loaded (thermal_throttle).
    """
    if lifted:
        return ()
    if asked is not None:
        return asked
    throttles = (f"/sys/devices/system/cpu/cpu{cpu}/thermal_throttle" for cpu in range(possible_cpus))
    return (*MASKED_PATHS, *throttles)


def readonly_paths(*, asked: tuple[str, ...] | None = None, lifted: bool = False) -> tuple[str, ...]:
    """What to make read-only, as `masked_paths`."""
    if lifted:
        return ()
    return READONLY_PATHS if asked is None else asked


def device_rules(*, privileged: bool = False) -> tuple[DeviceRule, ...]:
    """The rules before those for devices that the container was given by name."""
    return PRIVILEGED_DEVICE_RULES if privileged else DEVICE_RULES
