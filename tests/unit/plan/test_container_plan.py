"""What security depends on in the order of a plan, and what a plan contains for what was asked."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from docket.domain.confinement.id_maps import IdMapping, IdMaps
from docket.domain.confinement.masks import MASKED_PATHS, READONLY_PATHS
from docket.domain.errors import Rejected
from docket.domain.model.container.spec import ContainerSpec, HugepageLimit, MountSpec, RdmaLimit, Resources
from docket.domain.plan import cgroup
from docket.domain.plan import operations as op
from docket.domain.plan.container import Confinement, Surroundings, container_plan, exec_plan
from docket.domain.plan.settings import Peers, Places
from docket.domain.ports import HostFacts, ProcessIdentity

HOST = HostFacts(
    boot_id="b", kernel_release="6.1.0", architecture="x86_64", hostname="h", operating_system="Debian", cpus=2,
    memory_bytes=1 << 30, cgroup_root="/sys/fs/cgroup", controllers=("cpu", "memory", "pids"), capabilities=(1 << 41) - 1,
    seccomp=True, apparmor=False, cgroup_v1_controllers=("io",),
)  # fmt: skip
PLACES = Places("/var/lib/docket", "/run/docket")
SPECS = st.builds(
    ContainerSpec,
    command=st.just(("true",)),
    terminal=st.booleans(),
    readonly_rootfs=st.booleans(),
    network=st.sampled_from(["none", "host"]),
    user=st.sampled_from(["", "alice", "1:2"]),
    working_directory=st.sampled_from(["", "/srv"]),
    mounts=st.lists(
        st.builds(MountSpec, st.just("bind"), st.sampled_from(["/a", "/a/b", "/c"]), st.just("/src")), max_size=2
    ).map(tuple),
)


MAPS = (IdMapping(0, 100_000, 65_536),)
MAPPED = SPECS.map(lambda spec: msgspec.structs.replace(spec, network="none", id_maps=IdMaps(MAPS, MAPS)))


def plan_of(spec: ContainerSpec, *, no_new_privileges: bool = False, program: str = "AAAA") -> op.Plan:
    around = Surroundings(HOST, PLACES, ("/l",), Confinement(5, no_new_privileges, program, "d"))
    return container_plan("c" * 64, spec, around)


def places_of(plan: op.Plan) -> dict[str, int]:
    return {type(operation).__name__: index for index, operation in enumerate(plan.inside)}


@given(SPECS, st.booleans())
def test_the_order_that_security_depends_on_holds_in_every_plan(spec: ContainerSpec, no_new_privileges: bool) -> None:
    """Masks after the pivot, groups before the user's capabilities, the filter where it can be loaded, execve last."""
    plan = plan_of(spec, no_new_privileges=no_new_privileges)
    at = places_of(plan)
    first_mask = next(index for index, each in enumerate(plan.inside) if isinstance(each, op.MaskPath))
    assert at["MountOverlay"] < at["EnterRoot"] < at["ResolveUser"] < at["PivotRoot"] < first_mask
    assert at["MaskPath"] < at["DropBounding"] < at["SetUser"] < at["Capset"] < at["Chdir"] < at["Execve"]
    assert isinstance(plan.inside[-1], op.Execve)
    if no_new_privileges:
        assert at["Capset"] < at["SetNoNewPrivileges"] < at["LoadSeccomp"]
    else:
        assert at["LoadSeccomp"] < at["DropBounding"]


@given(SPECS)
def test_a_plan_survives_the_way_to_the_launcher(spec: ContainerSpec) -> None:
    """Plans are data: what is decoded equals what was built."""
    plan = plan_of(spec)
    assert msgspec.json.decode(msgspec.json.encode(plan), type=op.Plan) == plan
    assert all(operation.describe() for operation in plan.operations())


@given(SPECS)
def test_nothing_is_mounted_before_the_mount_namespace_is_private(spec: ContainerSpec) -> None:
    """The host's mount table never changes."""
    plan = plan_of(spec)
    assert "mount" in plan.process.namespaces
    assert not any(isinstance(each, op.Mount | op.MountOverlay | op.BindInRoot) for each in plan.prepare)
    mounts = [each for each in plan.inside if isinstance(each, op.Mount | op.MountOverlay | op.MountInRoot | op.BindInRoot)]
    assert mounts[0] == op.Mount("", "/", "", ("REC", "SLAVE"))


def test_masked_and_read_only_paths_are_dockers() -> None:
    """Each path of Docker's default spec is closed; a privileged container has none closed."""
    inside = plan_of(ContainerSpec(command=("true",))).inside
    masked = {each.path for each in inside if isinstance(each, op.MaskPath)}
    assert set(MASKED_PATHS) <= masked
    assert {each.path for each in inside if isinstance(each, op.SetReadOnly)} == set(READONLY_PATHS)
    open_wide = plan_of(ContainerSpec(command=("true",), privileged=True)).inside
    assert not any(isinstance(each, op.MaskPath | op.SetReadOnly) for each in open_wide)


def test_what_was_prepared_is_taken_back_in_reverse_and_the_writable_layer_stays() -> None:
    """A run leaves its cgroup and generated files; the container's own directories outlive it."""
    undos = plan_of(ContainerSpec(command=("true",))).release()
    assert isinstance(undos[0], op.RemoveCgroup)
    assert undos[-1] == op.RemoveDirectory(PLACES.runtime("c" * 64))
    assert not any("/var/lib/docket" in getattr(undo, "path", "") for undo in undos)


def test_a_limit_without_its_controller_is_refused_with_the_reason() -> None:
    """A dropped limit would be a lie."""
    with pytest.raises(Rejected, match="bound to cgroup v1"):
        cgroup.check(Resources(blkio_weight=500), HOST)
    with pytest.raises(Rejected, match="no cpuset controller"):
        cgroup.check(Resources(cpuset_cpus="0"), HOST)
    cgroup.check(Resources(memory_bytes=1, nano_cpus=1, pids_limit=1), HOST)


@pytest.mark.parametrize(
    ("resources", "file", "value"),
    [
        (Resources(memory_bytes=64), "memory.max", "64"),
        (Resources(memory_bytes=64), "memory.swap.max", "64"),
        (Resources(memory_bytes=64, memory_swap_bytes=64), "memory.swap.max", "0"),
        (Resources(memory_bytes=64, memory_swap_bytes=-1), "memory.swap.max", "max"),
        (Resources(nano_cpus=1_500_000_000), "cpu.max", "150000 100000"),
        (Resources(cpu_quota_us=5000, cpu_period_us=10_000), "cpu.max", "5000 10000"),
        (Resources(cpu_shares=1024), "cpu.weight", "39"),
        (Resources(pids_limit=-1), "pids.max", "max"),
        (Resources(hugepages=(HugepageLimit("2MB", 64 << 20),)), "hugetlb.2MB.max", "67108864"),
        (Resources(hugepages=(HugepageLimit("1GB", 0),)), "hugetlb.1GB.rsvd.max", "0"),
        (Resources(rdma=(RdmaLimit("mlx5_0", 2),)), "rdma.max", "mlx5_0 hca_handle=2 hca_object=max"),
        (Resources(rdma=(RdmaLimit("a", 0, 9), RdmaLimit("b", None, 7))), "rdma.max", "b hca_handle=max hca_object=7"),
    ],
)
def test_limits_become_cgroup_files(resources: Resources, file: str, value: str) -> None:
    """The numbers that Docker users give, in the words of cgroup v2."""
    assert (file, value) in {(name, text) for _, name, text in cgroup.settings(resources)}


def test_s3_an_exec_cannot_be_traced_while_it_enters() -> None:
    """Dumpable is cleared before the first namespace of the container is joined (CVE-2016-9962)."""
    plan = exec_plan(ProcessIdentity(1, 2, "b"), ContainerSpec(), "", "/", None, "", Confinement(0), HOST)
    at = places_of(plan)
    assert at["SetDumpable"] < at["JoinNamespaces"] < at["ResolveUser"] < at["SetUser"] < at["Execve"]


@given(MAPPED, st.booleans())
def test_in_a_user_namespace_the_host_opens_and_the_mapped_root_builds(spec: ContainerSpec, no_new_privileges: bool) -> None:
    """Ids are mapped while the process waits; it becomes root before it makes anything; what is bound was held before it was."""
    plan = plan_of(spec, no_new_privileges=no_new_privileges)
    at = places_of(plan)
    assert plan.process.namespaces[0] == "user"
    assert plan.settle[0] == op.WriteIdMaps(MAPS, MAPS)
    assert at["Mount"] < at["AttachOverlay"] < at["EnterRoot"] < at["BecomeRoot"] < at["MountInRoot"] < at["PivotRoot"]
    assert at["PivotRoot"] < at["DropBounding"] < at["SetUser"] < at["Capset"] < at["Chdir"] < at["Execve"]
    first = next(index for index, each in enumerate(plan.inside) if isinstance(each, op.MountInRoot | op.BindInRoot))
    assert at["BecomeRoot"] < first
    held = [(each.source, each.recursive, each.propagation) for each in plan.prepare if isinstance(each, op.HoldTree)]
    assert held == [(each.source, each.recursive, each.propagation) for each in plan.inside if isinstance(each, op.BindInRoot)]
    assert not any(isinstance(each, op.MakeNodeInRoot | op.MountOverlay | op.HoldTree | op.Setrlimit) for each in plan.inside)
    sysctls = {each.name for each in plan.inside if isinstance(each, op.WriteSysctl)}
    assert sysctls == {"net.ipv4.ip_unprivileged_port_start"}


@given(MAPPED)
def test_what_is_generated_belongs_to_the_mapped_root(spec: ContainerSpec) -> None:
    """/etc/hosts and its like; the engine's own directories stay the host's."""
    plan = plan_of(spec)
    assert {(each.uid, each.gid) for each in plan.prepare if isinstance(each, op.WriteFile)} == {(100_000, 100_000)}
    kept = [each for each in plan.prepare if isinstance(each, op.MakeDirectory) and each.path.startswith("/var/lib/docket/")]
    assert {(each.uid, each.gid) for each in kept} == {(0, 0)}
    assert [each for each in plan.release() if not isinstance(each, op.Unlink | op.RemoveDirectory | op.RemoveCgroup)] == []


def test_an_exec_joins_the_users_of_its_container_first() -> None:
    """With the rights that only the host's root has; and its limits are set from outside."""
    spec = ContainerSpec(command=("true",), id_maps=IdMaps(MAPS, MAPS), oom_score_adj=5)
    plan = exec_plan(ProcessIdentity(7, 8, "b"), spec, "", "/", (24, 80), "", Confinement(5, apparmor="docker-default"), HOST)
    at = places_of(plan)
    joined = next(each for each in plan.inside if isinstance(each, op.JoinNamespaces))
    assert joined.namespaces == ("user", "ipc", "uts", "net", "cgroup", "mount")
    assert at["SetDumpable"] < at["SetAppArmorProfile"] < at["JoinNamespaces"] < at["BecomeRoot"] < at["EnterRoot"]
    assert at["BecomeRoot"] < at["OpenTerminal"] < at["SetUser"]
    assert plan.settle == (op.SetOomScoreAdj(5),)


def test_an_apparmor_profile_is_set_before_anything_of_the_containers_is_there() -> None:
    """Through the host's own procfs, which no image can be in the place of (S6)."""
    around = Surroundings(HOST, PLACES, ("/l",), Confinement(5, apparmor="docker-default"))
    plan = container_plan("c" * 64, ContainerSpec(command=("true",)), around)
    assert plan.inside[:2] == (op.Setsid(), op.SetAppArmorProfile("docker-default"))


def test_a_time_namespace_where_the_kernel_has_them() -> None:
    """For the first process and for execs; the host's clock offsets are nothing that a container changes."""
    spec = ContainerSpec(command=("true",))
    for has in (True, False):
        host = msgspec.structs.replace(HOST, time_namespaces=has)
        plan = container_plan("c" * 64, spec, Surroundings(host, PLACES, ("/l",), Confinement(0)))
        assert ("time" in plan.process.namespaces) is has
        joining = exec_plan(ProcessIdentity(1, 2, "b"), spec, "", "/", None, "", Confinement(0), host)
        joined = next(each for each in joining.inside if isinstance(each, op.JoinNamespaces))
        assert ("time" in joined.namespaces) is has


@pytest.mark.parametrize(
    ("resources", "facts", "reason"),
    [
        (
            Resources(hugepages=(HugepageLimit("2MB", 0),)),
            {},
            "hugetlb.2MB.max as asked: the kernel offers no hugetlb controller",
        ),
        (
            Resources(hugepages=(HugepageLimit("4MB", 0),)),
            {"controllers": ("hugetlb",)},
            "no huge pages of that size: it has 2MB",
        ),
        (Resources(rdma=(RdmaLimit("x", 0),)), {}, "rdma.max as asked: the kernel offers no rdma controller"),
        (Resources(rdma=(RdmaLimit("x", 0),)), {"controllers": ("rdma",)}, "no RDMA device x: it has none"),
    ],
)
def test_what_the_host_has_not_cannot_be_limited(resources: Resources, facts: dict[str, Any], reason: str) -> None:
    """The controller, the page size, the device: refused when the container is created."""
    host = msgspec.structs.replace(HOST, huge_page_sizes=("2MB",), **facts)
    with pytest.raises(Rejected, match=reason):
        cgroup.check(resources, host)


def test_controllers_of_few_are_enabled_for_who_asks() -> None:
    """hugetlb and rdma are not handed on to containers without such limits: systemd, for one, does not count with them."""
    host = msgspec.structs.replace(HOST, controllers=("pids", "hugetlb", "rdma"))
    assert cgroup.prepare("/g", Resources(), host)[0] == op.CreateCgroup("/g", ("pids",))
    asked = Resources(hugepages=(HugepageLimit("2MB", 0),), rdma=(RdmaLimit("x", 0),))
    assert cgroup.prepare("/g", asked, host)[0] == op.CreateCgroup("/g", ("pids", "hugetlb", "rdma"))


@pytest.mark.parametrize("kind", ["network", "pid", "ipc"])
def test_who_joins_a_namespace_joins_the_users_it_belongs_to(kind: str) -> None:
    """Without a user namespace of its own there is nothing to map; without mapped ids nobody's users are joined."""
    maps = (IdMapping(0, 100_000, 65_536),)
    lender = ProcessIdentity(7, 70, "boot")
    peers = Peers(**{kind: lender})
    around = Surroundings(HOST, PLACES, ("/l",), Confinement(0), peers)
    spec = ContainerSpec(command=("true",), id_maps=IdMaps(maps, maps), **{kind: "container:x"})
    plan = container_plan("c" * 64, spec, around)
    assert plan.prepare[-1] == op.JoinUsers(7, 70)
    assert "user" not in plan.process.namespaces
    assert not any(isinstance(each, op.WriteIdMaps) for each in plan.settle)
    assert any(isinstance(each, op.BecomeRoot) for each in plan.inside)
    plain = container_plan("c" * 64, msgspec.structs.replace(spec, id_maps=None), around)
    assert not any(isinstance(each, op.JoinUsers) for each in plain.prepare)
