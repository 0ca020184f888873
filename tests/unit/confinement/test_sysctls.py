"""Sysctls: only those of a namespace that is the container's own."""

from __future__ import annotations

import pytest

from docket.domain.confinement.sysctls import IPC_NAMES, check_sysctls
from docket.domain.errors import Rejected


def check(name: str, value: str = "1", *, ipc: bool = True, network: bool = True, uts: bool = True) -> dict[str, str]:
    return check_sysctls({name: value}, own_ipc=ipc, own_network=network, own_uts=uts)


@pytest.mark.parametrize("name", [*sorted(IPC_NAMES), "fs.mqueue.msg_max", "net.ipv4.ip_forward", "net.core.somaxconn"])
def test_namespaced_ones_are_allowed(name: str) -> None:
    """Of the IPC and the network namespace, in dotted and in path form."""
    assert check(name) == {name: "1"}
    assert check(name.replace(".", "/")) == {name: "1"}


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("kernel.shmmax", {"ipc": False}, 'sysctl "kernel.shmmax" is not allowed in the hosts ipc namespace'),
        ("fs.mqueue.msg_max", {"ipc": False}, 'sysctl "fs.mqueue.msg_max" is not allowed in the hosts ipc namespace'),
        ("net.ipv4.ip_forward", {"network": False}, 'sysctl "net.ipv4.ip_forward" not allowed in host network namespace'),
        ("kernel.hostname", {}, 'sysctl "kernel.hostname" is not allowed as it conflicts with the OCI "hostname" field'),
        ("kernel.hostname", {"uts": False}, 'sysctl "kernel.hostname" is not in a separate kernel namespace'),
        ("kernel.domainname", {"uts": False}, 'sysctl "kernel.domainname" is not in a separate kernel namespace'),
        ("kernel.core_pattern", {}, 'sysctl "kernel.core_pattern" is not in a separate kernel namespace'),
        ("kernel.shmmax2", {}, 'sysctl "kernel.shmmax2" is not in a separate kernel namespace'),
        ("vm.swappiness", {}, 'sysctl "vm.swappiness" is not in a separate kernel namespace'),
        ("fs.mqueue", {}, 'sysctl "fs.mqueue" is not in a separate kernel namespace'),
        ("networking.x", {}, 'sysctl "networking.x" is not in a separate kernel namespace'),
    ],
)
def test_the_hosts_are_refused_in_dockers_words(name: str, options: dict[str, bool], message: str) -> None:
    """A sysctl without a namespace changes the whole machine."""
    with pytest.raises(Rejected) as caught:
        check(name, **options)
    assert str(caught.value) == message


def test_the_nis_domain_belongs_to_the_uts_namespace() -> None:
    """And has no option of its own in the runtime spec."""
    assert check("kernel.domainname", "example") == {"kernel.domainname": "example"}


@pytest.mark.parametrize(
    "name",
    [
        "",
        "net",
        "net.",
        ".net.x",
        "net..x",
        "net.ipv4.../..",
        "net/../kernel/core_pattern",
        "net./x",
        "net.a b",
        "net.x\n",
        "net.é",
        "net." + "x" * 300,
    ],
)
def test_s06_names_cannot_leave_proc_sys(name: str) -> None:
    """No empty or parent part, no slash among dots: the name becomes a path."""
    with pytest.raises(Rejected, match="invalid sysctl"):
        check(name)


@pytest.mark.parametrize("value", ["1\n2", "\0", "x" * 5000, "é", "\x1b[0m"])
def test_values_are_one_printable_line(value: str) -> None:
    """A newline would make two writes of one."""
    with pytest.raises(Rejected, match="invalid sysctl value"):
        check("net.ipv4.ip_forward", value)


def test_one_name_in_two_spellings_is_one_name() -> None:
    """Two values for it are a contradiction."""
    both = {"net/ipv4/ip_forward": "1", "net.ipv4.ip_forward": "0"}
    with pytest.raises(Rejected, match="given twice"):
        check_sysctls(both, own_ipc=True, own_network=True, own_uts=True)
    assert check("net.ipv4.ping_group_range", "0 2147483647") == {"net.ipv4.ping_group_range": "0 2147483647"}
