"""``--sysctl``: only what belongs to a namespace that the container does not share with the host may be set.

IPC and POSIX message queues belong to the IPC namespace, ``net.*`` to the network namespace, the NIS domain name to the UTS
namespace; everything else is the whole machine's (runc, libcontainer/configs/validate). Names come out in their dotted form: they
become paths below /proc/sys, so no part of one may be empty or a parent directory (S6).
"""

from __future__ import annotations

from collections.abc import Mapping

from docket.domain.errors import InvalidArgument, Rejected

IPC_NAMES = frozenset(
    "kernel.msgmax kernel.msgmnb kernel.msgmni kernel.sem kernel.shmall kernel.shmmax kernel.shmmni kernel.shm_rmid_forced".split()
)
_LONGEST_NAME = 255
_LONGEST_VALUE = 4096
_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-")


def check_sysctls(sysctls: Mapping[str, str], *, own_ipc: bool, own_network: bool, own_uts: bool) -> dict[str, str]:
    """The settings by dotted names, in the order given. Raises `Rejected` for one that cannot be the container's own.

    The flags say that a namespace is not the host's, after ``container:ID`` has been followed to its end.
    """
    result: dict[str, str] = {}
    for name, value in sysctls.items():
        dotted = _dotted(name)
        _check_value(dotted, value)
        _check_namespace(dotted, own_ipc, own_network, own_uts)
        if result.setdefault(dotted, value) != value:
            raise _invalid(f'sysctl "{dotted}" is given twice, with different values')
    return result


def _dotted(name: str) -> str:
    dotted = name.replace("/", ".") if "." not in name else name
    parts = dotted.split(".")
    if len(name) > _LONGEST_NAME or not _CHARACTERS.issuperset(dotted) or len(parts) < 2 or not all(parts):
        raise _invalid(f"invalid sysctl {name[:60]!a}: a name is words with dots between, such as net.ipv4.ip_forward")
    return dotted


def _check_value(name: str, value: str) -> None:
    # A newline would be a second write to some files; NUL ends the text for the kernel.
    if len(value) > _LONGEST_VALUE or not value.isascii() or not all(c.isprintable() or c == "\t" for c in value):
        raise _invalid(f'invalid sysctl value for "{name}": printable ASCII of at most {_LONGEST_VALUE} bytes is accepted')


def _check_namespace(name: str, own_ipc: bool, own_network: bool, own_uts: bool) -> None:
    if name in IPC_NAMES or name.startswith("fs.mqueue."):
        if not own_ipc:
            raise _invalid(f'sysctl "{name}" is not allowed in the hosts ipc namespace')
    elif name.startswith("net."):
        if not own_network:
            raise _invalid(f'sysctl "{name}" not allowed in host network namespace')
    elif name == "kernel.hostname" and own_uts:
        raise _invalid(f'sysctl "{name}" is not allowed as it conflicts with the OCI "hostname" field')
    elif name != "kernel.domainname" or not own_uts:
        raise _invalid(f'sysctl "{name}" is not in a separate kernel namespace')


def _invalid(text: str) -> Rejected:
    return Rejected(InvalidArgument(text))
