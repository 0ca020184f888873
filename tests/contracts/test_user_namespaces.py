"""The contract of the kernel port for processes in a user namespace of their own, on `FakeKernel` and `LinuxKernel`."""

from errno import EINVAL, ENOENT, EPERM

import pytest
from contract_kernels import Bench

from docket.domain.confinement.id_maps import IdMapping
from docket.domain.plan import operations as op
from docket.domain.plan.operations import AnyOperation, Plan

MAPS = (IdMapping(0, 100_000, 1000), IdMapping(1000, 300_000, 64_536))
SHOWN = "         0     100000       1000\n      1000     300000      64536\n"


@pytest.fixture(autouse=True)
def mappable(bench: Bench) -> None:
    """Not every filesystem can be mounted with other ids."""
    if type(bench.kernel).__name__ == "LinuxKernel":
        from docket.kernel.linux.id_mapping import why_not_mapped

        if reason := why_not_mapped(bench.ground.root):
            pytest.skip(f"needs id-mapped mounts: {reason}")


def plan(
    bench: Bench,
    *args: str,
    prepare: tuple[AnyOperation, ...] = (),
    settle: tuple[AnyOperation, ...] = (op.WriteIdMaps(MAPS, MAPS),),
    mounts: tuple[AnyOperation, ...] = (),
    lowerdirs: tuple[str, ...] | None = None,
    **options: object,
) -> Plan:
    """A small container whose root is 100000 on the host."""
    made = bench.plan(*args, namespaces=("user", "mount", "uts", "ipc", "pid", "net"), **options)  # type: ignore[arg-type]
    here, target = bench.directory("box"), f"{bench.ground.root}/rootfs"
    inside: list[AnyOperation] = []
    for each in made.inside:
        if isinstance(each, op.MountOverlay):
            inside += [op.AttachOverlay(target)]
        elif isinstance(each, op.EnterRoot):
            inside += [each, op.BecomeRoot(100_000, 100_000)]
        elif isinstance(each, op.MakeNodeInRoot):
            inside += [op.BindInRoot("/dev/null", "/dev/null", recursive=False), *mounts]
        else:
            inside.append(each)
    held = op.HoldOverlay(lowerdirs or (bench.layer,), f"{here}/upper", f"{here}/work", MAPS, MAPS)
    null = op.HoldTree("/dev/null", False, "rprivate")
    return Plan((*made.prepare, *prepare, held, null), made.process, settle, tuple(inside))


async def test_root_inside_is_another_user_on_the_host(bench: Bench) -> None:
    """The maps are in force, several ranges of them, and the process is 0 in them."""
    running = await bench.start(plan(bench, "sh", "-c", "id -u; id -g; cat /proc/self/uid_map /proc/self/gid_map"))
    assert (await bench.finish(running)).stdout.decode() == f"0\n0\n{SHOWN}{SHOWN}"


async def test_the_layers_belong_to_the_containers_root(bench: Bench) -> None:
    """What the image has is readable and writable for it, and what it writes lies in the upper directory."""
    running = await bench.start(plan(bench, "sh", "-c", "cat /etc/hostname; echo new > /etc/hostname; mkdir /made"))
    outcome = await bench.finish(running)
    assert (outcome.code, outcome.stdout, outcome.stderr) == (0, b"localhost\n", b"")
    assert bench.ground.read(f"{bench.directory('box')}/upper/etc/hostname") == b"new\n"
    assert bench.ground.exists(f"{bench.directory('box')}/upper/made")
    assert bench.ground.strays() == []


async def test_a_host_file_is_bound_by_the_rights_of_the_host(bench: Bench) -> None:
    """The mapped root could not pass a directory of mode 0700; the tree was opened before."""
    bench.ground.make_directory(f"{bench.ground.root}/private")
    bench.ground.write(f"{bench.ground.root}/private/file", b"of the host\n")
    source = f"{bench.ground.root}/private/file"
    made = plan(
        bench,
        "cat",
        "/etc/bound",
        prepare=(op.HoldTree(source, True, "rprivate"),),
        mounts=(op.BindInRoot(source, "/etc/bound"),),
    )
    assert (await bench.finish(await bench.start(made))).stdout == b"of the host\n"


async def test_a_missing_source_fails_before_the_process_exists(bench: Bench) -> None:
    """ENOENT of open_tree, with the path."""
    failure = await bench.fails(plan(bench, "true", prepare=(op.HoldTree("/no/such/file", True, "rprivate"),)))
    assert (failure.syscall, failure.errno, failure.path) == ("open_tree", ENOENT, "/no/such/file")


async def test_a_missing_layer_is_named(bench: Bench) -> None:
    """As for an overlay without maps."""
    failure = await bench.fails(plan(bench, "true", lowerdirs=("/no/such/layer",)))
    assert (failure.syscall, failure.errno, failure.path) == ("open_tree", ENOENT, "/no/such/layer")


async def test_no_device_node_is_made(bench: Bench) -> None:
    """mknod(2) is refused in a user namespace, whatever its root's capabilities are."""
    failure = await bench.fails(plan(bench, "true", mounts=(op.MakeNodeInRoot("/dev/zero", "c", 1, 5),)))
    assert (failure.syscall, failure.errno, failure.path) == ("mknodat", EPERM, "/dev/zero")


async def test_without_maps_nobody_becomes_root(bench: Bench) -> None:
    """setgroups(2) is refused until the groups are mapped."""
    failure = await bench.fails(plan(bench, "true", settle=()))
    assert (failure.syscall, failure.errno) == ("setgroups", EPERM)


async def test_limits_are_set_from_outside(bench: Bench) -> None:
    """While the process waits: in its namespace it has no right to raise them."""
    settle = (op.WriteIdMaps(MAPS, MAPS), op.Setrlimit("NOFILE", 77, 88), op.SetOomScoreAdj(300))
    made = plan(bench, "sh", "-c", "cat /proc/self/limits /proc/self/oom_score_adj", settle=settle)
    lines = (await bench.finish(await bench.start(made))).stdout.decode().splitlines()
    assert next(line.split()[3:5] for line in lines if line.startswith("Max open files")) == ["77", "88"]
    assert lines[-1] == "300"


async def test_an_exec_joins_the_user_namespace(bench: Bench) -> None:
    """It is the same root as the container's."""
    running = await bench.start(plan(bench, "sh", "-c", "echo up; sleep 1000"))
    await bench.lines(running)
    made = bench.exec_plan(running.identity, "sh", "-c", "id -u; cat /proc/self/uid_map; echo hi > /etc/motd; cat /etc/motd")
    join = op.JoinNamespaces(running.identity.pid, running.identity.start_time, ("user", "ipc", "uts", "net", "mount"))
    inside = tuple(
        joined
        for each in made.inside
        for joined in ((join, op.BecomeRoot(100_000, 100_000)) if isinstance(each, op.JoinNamespaces) else (each,))
    )
    outcome = await bench.finish(await bench.start(Plan(made.prepare, made.process, (), inside), "more"))
    assert outcome.stdout.decode() == f"0\n{SHOWN}hi\n"
    await bench.kill(running)


async def test_an_apparmor_profile_that_cannot_be_applied_stops_the_start(bench: Bench) -> None:
    """Without AppArmor the kernel answers EINVAL, without the profile ENOENT; nothing runs unconfined instead (S13)."""
    made = bench.plan("true")
    inside = (op.Setsid(), op.SetAppArmorProfile("docket-no-such-profile"), *made.inside[1:])
    failure = await bench.fails(Plan(made.prepare, made.process, (), inside))
    assert failure.operation == "set AppArmor profile docket-no-such-profile"
    assert (failure.syscall, failure.errno) == ("write", ENOENT if bench.kernel.host().apparmor else EINVAL)
