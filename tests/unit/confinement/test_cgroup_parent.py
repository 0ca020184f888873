"""The parents of cgroups: paths, and the names of slices."""

from __future__ import annotations

import pytest

from docket.domain.confinement.cgroup_parent import check_cgroup_parent, check_slice, parent_path
from docket.domain.errors import Rejected
from docket.domain.model.container.spec import ContainerSpec
from docket.domain.plan.settings import Places
from docket.domain.ports import HostFacts

HOST = HostFacts(
    boot_id="b", kernel_release="6.1.0", architecture="x86_64", hostname="h", operating_system="Debian", cpus=2,
    memory_bytes=1 << 30, cgroup_root="/sys/fs/cgroup", controllers=(), capabilities=0, seccomp=True, apparmor=False,
)  # fmt: skip


@pytest.mark.parametrize(
    ("given", "path"),
    [
        ("/shop", "shop"),
        ("shop/web/", "shop/web"),
        ("//shop//web", "shop/web"),
        ("system.slice", "system.slice"),
        ("a-b-c.slice", "a.slice/a-b.slice/a-b-c.slice"),
        ("-.slice", ""),
        ("/a-b.slice", "a-b.slice"),
    ],
)
def test_a_slice_lies_where_systemd_puts_it(given: str, path: str) -> None:
    """systemd.slice(5): each dash is a level. A path is a path, whatever its names are."""
    assert check_cgroup_parent(given) == given
    assert parent_path(given) == path
    above = f"/sys/fs/cgroup/{path}".rstrip("/")
    assert Places("/data", "/exec").cgroup(HOST, "id", ContainerSpec(cgroup_parent=given)) == f"{above}/id"


def test_without_a_parent_it_is_among_the_engines_own() -> None:
    """The engine's group is not shared with another engine."""
    assert check_cgroup_parent("") == ""
    assert Places("/data", "/exec", "docket/engine").cgroup(HOST, "id", ContainerSpec()) == "/sys/fs/cgroup/docket/engine/id"


@pytest.mark.parametrize(
    "given", ["..", "/a/../b", "a/./b", "a\nb", "a\0b", "\u202e", "x" * 256, "/y" * 600, "a--b.slice", "-a.slice", "a-.slice"]
)
def test_a_parent_that_leads_elsewhere_is_refused(given: str) -> None:
    """It becomes part of a path of the host."""
    with pytest.raises(Rejected, match="invalid cgroup-parent"):
        check_cgroup_parent(given)


@pytest.mark.parametrize(("parent", "path"), [("", "system.slice"), ("a-b.slice", "a.slice/a-b.slice"), ("-.slice", "")])
def test_a_scope_lies_in_its_slice(parent: str, path: str) -> None:
    """With the driver systemd; the container is below the scope, beside its shim."""
    spec = ContainerSpec(cgroup_parent=check_slice(parent), cgroup_driver="systemd")
    scope = Places("/data", "/exec").scope(HOST, "id", spec)
    assert (scope.unit, scope.slice) == ("docket-id.scope", parent or "system.slice")
    assert scope.path == f"/sys/fs/cgroup/{path}".rstrip("/") + "/docket-id.scope"
    assert Places("/data", "/exec").cgroup(HOST, "id", spec) == f"{scope.path}/container"


@pytest.mark.parametrize("given", ["/shop", "shop", "/a-b.slice", "a.service", "a.slice/", "a--b.slice"])
def test_systemd_takes_slices_only(given: str) -> None:
    """In dockerd's words."""
    with pytest.raises(Rejected, match=r"should be a valid slice|single dashes"):
        check_slice(given)
