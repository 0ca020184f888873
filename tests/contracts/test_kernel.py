"""The contract of the kernel port: one suite for `FakeKernel` and `LinuxKernel`, which must agree errno by errno.

What a container sees is asserted through the output of small programs, so that both kernels are asked the same question.
"""

from base64 import b64encode
from errno import EACCES, EBUSY, ELOOP, ENOENT, ENOTDIR, EPERM
from platform import machine

import msgspec
import pytest
from contract_kernels import BASIC, Bench, demultiplexed

from docket.domain.confinement.device_rules import device_program
from docket.domain.confinement.masks import device_rules
from docket.domain.errors import KernelError, Unavailable
from docket.domain.init_program.program import init_program
from docket.domain.plan import operations as op
from docket.domain.ports import Attachment, Remains

INIT = b64encode(init_program(machine()) or b"an init").decode()
LIMITED = [pytest.param("linux", marks=[pytest.mark.root, pytest.mark.controllers("pids", "memory")]), "fake"]
"""For tests that need a controller of the host's."""

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")


def field(status: bytes, name: str) -> str:
    """A line of /proc/pid/status."""
    lines = [line for line in status.decode().splitlines() if line.startswith(f"{name}:")]
    return " ".join(lines[0].split()[1:])


# Ends.


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (("true",), 0),
        (("false",), 1),
        (("sh", "-c", "exit 3"), 3),
        (("sh", "-c", "exit 256"), 0),
        (("/bin/true",), 0),
        (("sh", "-c", "nothing-of-this-name"), 127),
    ],
)
async def test_the_exit_status_is_the_programs(bench: Bench, command: tuple[str, ...], code: int) -> None:
    """A process's exit status arrives unchanged."""
    assert (await bench.run(*command)).code == code


async def test_a_killed_process_ends_with_128_and_the_signal(bench: Bench) -> None:
    """Death by SIGKILL is status 137, as Docker reports it."""
    running = await bench.start(bench.plan("sleep", "1000"))
    assert (await bench.kill(running, 9)).code == 137


async def test_the_first_process_ignores_signals_it_has_no_handler_for(bench: Bench) -> None:
    """SIGTERM to `sleep` as process 1 has no effect (pid_namespaces(7)); SIGKILL has."""
    running = await bench.start(bench.plan("sh", "-c", "echo up; sleep 1000"))
    await bench.lines(running)
    assert await bench.kernel.signal("box", running.identity, 15) is True
    assert (await bench.kill(running, 9)).code == 137


async def test_a_trap_runs_when_the_signal_comes(bench: Bench) -> None:
    """A handler of process 1 is called, and its exit status is the container's."""
    running = await bench.start(bench.plan("sh", "-c", "trap 'echo caught; exit 7' TERM; sleep 1000 & echo up; wait"))
    await bench.lines(running)
    await bench.kernel.signal("box", running.identity, 15)
    outcome = await bench.finish(running)
    assert (outcome.code, outcome.stdout) == (7, b"up\ncaught\n")


async def test_a_container_with_the_hosts_pids_dies_of_sigterm(bench: Bench) -> None:
    """Without a pid namespace of its own a process has the default actions: status 143."""
    running = await bench.start(bench.plan("sleep", "1000", namespaces=("mount", "uts", "ipc", "net")))
    assert (await bench.kill(running, 15)).code == 143


async def test_below_an_init_the_command_gets_signals_and_its_status_is_the_containers(bench: Bench) -> None:
    """`sleep` has no handler for SIGTERM: as process 1 it would ignore it, as the child of an init it dies of it."""
    running = await bench.start(bench.plan("sh", "-c", "echo up; exec sleep 1000", init=INIT))
    await bench.lines(running)
    assert (await bench.kill(running, 15)).code == 143
    assert (await bench.run("sh", "-c", "exit 9", init=INIT)).code == 9


@pytest.mark.parametrize(("command", "errno"), [("nothing-of-this-name", ENOENT), ("/etc/passwd", EACCES), ("/bin", 21)])
async def test_an_init_does_not_hide_that_a_command_cannot_run(bench: Bench, command: str, errno: int) -> None:
    """The start fails as it does without an init, not later inside."""
    failure = await bench.fails(bench.plan(command, init=INIT))
    assert (failure.operation, failure.syscall, failure.errno) == (f"execute {command} below an init", "execve", errno)


async def test_the_end_is_told_as_often_as_it_is_asked_for(bench: Bench) -> None:
    """Until the release every wait is answered, also one that begins after the end."""
    running = await bench.start(bench.plan("sh", "-c", "exit 5"))
    first = await bench.kernel.exited("box")
    assert await bench.kernel.exited("box") == first
    assert first.code == 5
    assert first.time_ns > 0
    await bench.release(running.launch)
    with pytest.raises(Unavailable):
        await bench.kernel.exited("box")


# Failures of a plan.


async def test_a_missing_command_fails_at_execute(bench: Bench) -> None:
    """ENOENT of execve is the launch's failure, and names the command."""
    failure = await bench.fails(bench.plan("nothing-of-this-name"))
    assert (failure.operation, failure.syscall, failure.errno) == ("execute nothing-of-this-name", "execve", ENOENT)
    assert failure.path == "nothing-of-this-name"
    assert failure.results[-1].errno == ENOENT
    assert [result.errno for result in failure.results[:-1]] == [0] * (len(failure.results) - 1)


@pytest.mark.parametrize("command", ["/etc/passwd", "/bin", "/dev/null"])
async def test_what_is_no_executable_file_fails_at_execute(bench: Bench, command: str) -> None:
    """A file without the bit and a device are EACCES; Docker tells "permission denied" from it."""
    failure = await bench.fails(bench.plan(command))
    expected = 21 if command == "/bin" else EACCES
    assert (failure.operation, failure.errno) == (f"execute {command}", expected)


async def test_a_missing_layer_fails_at_the_overlay(bench: Bench) -> None:
    """The layer that is not there is named."""
    missing = f"{bench.ground.root}/layers/missing"
    failure = await bench.fails(bench.plan("true", lowerdirs=(bench.layer, missing)))
    assert (failure.operation.split(" of ")[0], failure.errno, failure.path) == ("mount overlay", ENOENT, missing)


async def test_an_unknown_user_fails_where_it_is_looked_up(bench: Bench) -> None:
    """The container never runs as somebody else."""
    failure = await bench.fails(bench.plan("true", user="nobody-of-this-name"))
    assert (failure.operation, failure.errno) == ("resolve user 'nobody-of-this-name'", ENOENT)


async def test_an_unknown_filesystem_fails_at_its_mount(bench: Bench) -> None:
    """ENODEV, as mount(2) has it."""
    failure = await bench.fails(bench.plan("true", mounts=(op.MountInRoot("nonsensefs", "/mnt"),)))
    assert (failure.operation, failure.errno) == ("mount nonsensefs on /mnt in the root", 19)


async def test_a_missing_bind_source_fails(bench: Bench) -> None:
    """A bind of nothing is refused and makes nothing."""
    missing = f"{bench.ground.root}/missing"
    failure = await bench.fails(bench.plan("true", mounts=(op.BindInRoot(missing, "/data"),)))
    assert (failure.syscall, failure.errno, failure.path) == ("open_tree", ENOENT, missing)
    assert not bench.ground.exists(missing)


async def test_a_working_directory_that_is_a_file_fails(bench: Bench) -> None:
    """ENOTDIR at the step that enters it."""
    failure = await bench.fails(bench.plan("true", late=(op.Chdir("/etc/passwd"),)))
    assert (failure.operation, failure.errno) == ("enter /etc/passwd", ENOTDIR)


async def test_s13_a_filter_without_the_right_to_load_it_stops_the_start(bench: Bench) -> None:
    """seccomp(2) after capabilities and without no-new-privileges is EACCES, and the program never runs."""
    allow_all = "BgAAAAAA/38="
    failure = await bench.fails(bench.plan("true", late=(op.LoadSeccomp(allow_all),)))
    assert (failure.operation, failure.errno) == ("load seccomp filter of 1 instructions", EACCES)


async def test_capabilities_do_not_come_back(bench: Bench) -> None:
    """capset(2) to more than what is permitted is EPERM."""
    failure = await bench.fails(bench.plan("true", late=(op.Capset(BASIC | 1 << 21, BASIC | 1 << 21),)))
    assert failure.errno == EPERM


async def test_a_failing_step_leaves_nothing(bench: Bench) -> None:
    """Everything before the failure is taken back: directories, files, the shim's traces, mounts."""
    made = f"{bench.ground.root}/made"
    prepare = (op.MakeDirectory(made), op.WriteFile(f"{made}/hosts", "127.0.0.1 localhost\n"))
    failure = await bench.fails(bench.plan("nothing-of-this-name", prepare=prepare))
    assert not bench.ground.exists(f"{made}/hosts")
    assert not bench.ground.exists(made)
    assert not bench.ground.exists(f"{bench.ground.root}/shims/box")
    assert not bench.ground.exists(f"{bench.ground.root}/box.exit")
    assert bench.ground.strays() == []
    with pytest.raises(Unavailable):
        await bench.kernel.exited("box")
    assert failure.results[3].operation == f"mkdir {made}"


async def test_a_directory_that_was_there_before_is_kept(bench: Bench) -> None:
    """The undo of a plan takes back what the plan made and nothing else."""
    made = f"{bench.ground.root}/made"
    bench.ground.make_directory(made)
    await bench.fails(bench.plan("nothing-of-this-name", prepare=(op.MakeDirectory(made),)))
    assert bench.ground.exists(made)


async def test_a_prepared_step_that_fails_takes_back_the_earlier_ones(bench: Bench) -> None:
    """A failure before the process exists is undone in the same way."""
    made = f"{bench.ground.root}/made"
    prepare = (op.MakeDirectory(made), op.WriteFile(f"{bench.ground.root}/missing/file", "x"))
    failure = await bench.fails(bench.plan("true", prepare=prepare))
    assert (failure.operation, failure.errno) == (f"write {bench.ground.root}/missing/file", ENOENT)
    assert not bench.ground.exists(made)


async def test_a_launch_can_be_tried_again_after_a_failure(bench: Bench) -> None:
    """A failed launch occupies nothing under its key."""
    await bench.fails(bench.plan("nothing-of-this-name"))
    assert (await bench.run("true")).code == 0


# Release.


async def test_release_takes_back_what_was_prepared(bench: Bench) -> None:
    """After the end nothing but lasting things is left."""
    made = f"{bench.ground.root}/made"
    outcome = await bench.run("true", prepare=(op.MakeDirectory(made), op.WriteFile(f"{made}/f", "x")))
    assert outcome.code == 0
    assert not bench.ground.exists(made)
    assert not bench.ground.exists(f"{bench.ground.root}/shims/box")
    assert not bench.ground.exists(f"{bench.ground.root}/box.exit")
    assert bench.ground.exists(f"{bench.directory('box')}/upper")
    assert bench.ground.strays() == []


async def test_release_twice_is_release_once(bench: Bench) -> None:
    """Recovery may repeat a release that was interrupted: what is gone is gone."""
    running = await bench.start(bench.plan("true", prepare=(op.MakeDirectory(f"{bench.ground.root}/made"),)))
    await bench.kernel.exited("box")
    await bench.release(running.launch)
    await bench.release(running.launch)


async def test_the_exit_status_is_kept_until_the_release(bench: Bench) -> None:
    """An engine that starts after the end finds the status; after the release nothing is known any more."""
    running = await bench.start(bench.plan("sh", "-c", "exit 9"))
    end = await bench.kernel.exited("box")
    launch = running.launch
    found = await bench.kernel.find("box", launch.directory, launch.exit_file)
    assert found.exit == end
    await bench.release(launch)
    found = await bench.kernel.find("box", launch.directory, launch.exit_file)
    assert (found.identity, found.exit) == (None, None)


async def test_nothing_is_found_of_what_never_was(bench: Bench) -> None:
    """Recovery's third answer: neither a process nor a status."""
    root = bench.ground.root
    found = await bench.kernel.find("other", f"{root}/shims/other", f"{root}/other.exit")
    assert (found.identity, found.exit) == (None, None)


async def test_a_failing_undo_is_told_and_the_others_are_done(bench: Bench) -> None:
    """A directory that somebody filled is not removed; release says so, having done the rest."""
    first, second = f"{bench.ground.root}/first", f"{bench.ground.root}/second"
    plan = bench.plan("true", prepare=(op.MakeDirectory(first), op.MakeDirectory(second)))
    running = await bench.start(plan)
    await bench.kernel.exited("box")
    bench.ground.write(f"{second}/kept", b"x")
    with pytest.raises(KernelError) as caught:
        await bench.release(running.launch)
    assert (caught.value.operation, caught.value.errno) == (f"rmdir {second}", 39)
    assert not bench.ground.exists(first)
    assert bench.ground.exists(f"{second}/kept")


# Identity.


async def test_a_signal_to_a_process_that_ended_is_not_sent(bench: Bench) -> None:
    """False, not an error: the end is on its way."""
    running = await bench.start(bench.plan("true"))
    await bench.kernel.exited("box")
    assert await bench.kernel.signal("box", running.identity, 9) is False
    await bench.release(running.launch)


@pytest.mark.parametrize("changed", [{"start_time": 1}, {"boot_id": "another boot"}, {"pid": 4_000_000}])
async def test_s15_a_signal_goes_to_the_very_process_or_nowhere(bench: Bench, changed: dict[str, object]) -> None:
    """Another start time, boot or pid is another process: it gets no signal."""
    running = await bench.start(bench.plan("sh", "-c", "echo up; read line; exit 4"), stdin=True)
    await bench.lines(running)
    other = msgspec.structs.replace(running.identity, **changed)
    assert await bench.kernel.signal("box", other, 9) is False
    running.client.send(b"go\n")
    assert (await bench.finish(running)).code == 4


# Streams.


async def test_output_reaches_log_and_client_in_order(bench: Bench) -> None:
    """Each stream's bytes are complete and in order, framed for the client, and recorded in the log."""
    outcome = await bench.run("sh", "-c", "echo one; echo two >&2; echo three; echo four >&2")
    assert (outcome.stdout, outcome.stderr) == (b"one\nthree\n", b"two\nfour\n")
    records = bench.ground.logged(f"{bench.ground.root}/box.log")
    assert b"".join(data for stream, data in records if stream == 1) == b"one\nthree\n"
    assert b"".join(data for stream, data in records if stream == 2) == b"two\nfour\n"


async def test_a_half_close_reaches_the_process(bench: Bench) -> None:
    """Input goes to the program, and the client's end of it is the program's end of file; output still comes after."""
    running = await bench.start(bench.plan("sh", "-c", "cat; echo end"), stdin=True)
    running.client.send(b"hello\n")
    running.client.send_eof()
    assert (await bench.finish(running)).stdout == b"hello\nend\n"


async def test_without_stdin_the_program_reads_end_of_file(bench: Bench) -> None:
    """A container that was not given stdin has /dev/null."""
    assert (await bench.run("sh", "-c", "cat; echo end")).stdout == b"end\n"


async def test_early_bytes_come_first(bench: Bench) -> None:
    """Input that came with the request is not lost and not overtaken."""
    running = await bench.start(bench.plan("sh", "-c", "read a; read b; echo $a-$b"), stdin=True)
    client = bench.ground.client()
    client.send(b"two\n")
    await bench.kernel.attach("box", Attachment(client.endpoint, stdin=True, early=b"one\n"))
    assert (await bench.finish(running)).stdout == b"one-two\n"


async def test_a_later_client_gets_what_comes_later(bench: Bench) -> None:
    """Attaching adds a client; each gets the streams that it wants."""
    running = await bench.start(bench.plan("sh", "-c", "echo early; read go; echo late; echo noise >&2"), stdin=True)
    await bench.lines(running)
    client = bench.ground.client()
    await bench.kernel.attach("box", Attachment(client.endpoint, stdout=True, stderr=False))
    running.client.send(b"go\n")
    await bench.finish(running)
    assert demultiplexed(await client.receive_all()) == (b"late\n", b"")


async def test_a_client_that_asks_for_the_past_loses_and_repeats_nothing(bench: Bench) -> None:
    """What the log holds comes first, then what the process writes from then on: one seam, at the right byte."""
    running = await bench.start(bench.plan("sh", "-c", "echo early; read go; echo late; echo noise >&2"), stdin=True)
    await bench.lines(running)
    client = bench.ground.client()
    await bench.kernel.attach("box", Attachment(client.endpoint, past_after=-1))
    running.client.send(b"go\n")
    await bench.finish(running)
    assert demultiplexed(await client.receive_all()) == (b"early\nlate\n", b"noise\n")


async def test_clients_stay_connected_until_the_release(bench: Bench) -> None:
    """The end of the stream means that the end is in the log: the docker CLI asks for the status then."""
    running = await bench.start(bench.plan("true"))
    await bench.kernel.exited("box")
    assert not running.client.disconnected()
    await bench.release(running.launch)
    assert await running.client.receive_all() == b""


async def test_a_terminal_is_raw_to_the_client(bench: Bench) -> None:
    """With a terminal there is one stream without frames, lines end with CR LF, and the size is what was asked for."""
    plan = bench.plan("sh", "-c", "stty size; echo hi >&2", mounts=(op.ResolveUser("", (), "early"), op.OpenTerminal(30, 100)))
    running = await bench.start(plan, terminal=True)
    await bench.kernel.exited("box")
    await bench.release(running.launch)
    assert await running.client.receive_all() == b"30 100\r\nhi\r\n"


async def test_a_terminal_can_be_resized(bench: Bench) -> None:
    """The program is told by SIGWINCH, and sees the new size."""
    script = "trap 'stty size; exit 0' WINCH; echo up; sleep 1000 & wait"
    running = await bench.start(bench.plan("sh", "-c", script, mounts=(op.OpenTerminal(30, 100),)), terminal=True)
    told = b""
    while told != b"up\r\n":
        told += await running.client.receive_some()
    await bench.kernel.resize("box", 40, 120)
    assert (await bench.finish(running)).stdout == b"40 120\r\n"


async def test_detach_keys_end_the_connection_and_not_the_process(bench: Bench) -> None:
    """ctrl-p ctrl-q is not input: the client is let go, the process runs on."""
    running = await bench.start(bench.plan("sh", "-c", "read go; exit 6"), stdin=True)
    client = bench.ground.client()
    await bench.kernel.attach("box", Attachment(client.endpoint, stdin=True, detach_keys=b"\x10\x11"))
    client.send(b"\x10\x11")
    assert await client.receive_all() == b""
    running.client.send(b"go\n")
    assert (await bench.finish(running)).code == 6


# What the container sees.


async def test_the_process_sees_its_own_host_name_and_pid(bench: Bench) -> None:
    """The first process is process 1 of its namespace, with the host name that the plan set."""
    assert (await bench.run("sh", "-c", "hostname; echo $$; pwd")).stdout == b"box\n1\n/\n"


async def test_the_environment_is_exactly_what_was_given(bench: Bench) -> None:
    """Nothing of the engine's own environment gets in (S35); HOME comes from the root's accounts."""
    lines = (await bench.run("env")).stdout.decode().splitlines()
    assert sorted(line for line in lines if not line.startswith(("SHLVL", "PWD"))) == ["HOME=/root", "PATH=/bin"]


@pytest.mark.parametrize(
    ("user", "ids"),
    [("", "0 0 0 10"), ("daemon", "1 1 1"), ("daemon:users", "1 100 100"), ("1234", "1234 0 0"), ("7:8", "7 8 8")],
)
async def test_s10_ids_and_groups_are_those_of_the_image(bench: Bench, user: str, ids: str) -> None:
    """USER is resolved in the image's files, the primary group is a supplementary one, and none of the host's is there."""
    outcome = await bench.run("sh", "-c", "id -u; id -g; id -G", user=user)
    assert " ".join(outcome.stdout.decode().split()) == ids


async def test_s09_capability_sets_of_root(bench: Bench) -> None:
    """Bounding, permitted and effective are the ones that were kept, inheritable and ambient empty."""
    status = (await bench.run("cat", "/proc/self/status")).stdout
    kept = f"{BASIC:016x}"
    assert [field(status, name) for name in ("CapBnd", "CapPrm", "CapEff")] == [kept] * 3
    assert [field(status, name) for name in ("CapInh", "CapAmb")] == ["0" * 16] * 2


async def test_s09_another_user_has_no_capabilities(bench: Bench) -> None:
    """After execve only the bounding set is left."""
    status = (await bench.run("cat", "/proc/self/status", user="daemon")).stdout
    assert field(status, "CapBnd") == f"{BASIC:016x}"
    assert [field(status, name) for name in ("CapPrm", "CapEff", "CapInh", "CapAmb")] == ["0" * 16] * 4
    assert field(status, "Uid") == "1 1 1 1"


async def test_s13_no_new_privileges_and_filter_are_in_force(bench: Bench) -> None:
    """What was asked for is what /proc tells."""
    late = (op.SetNoNewPrivileges(), op.LoadSeccomp("BgAAAAAA/38="))
    status = (await bench.run("cat", "/proc/self/status", late=late)).stdout
    assert (field(status, "NoNewPrivs"), field(status, "Seccomp")) == ("1", "2")
    status = (await bench.run("cat", "/proc/self/status")).stdout
    assert (field(status, "NoNewPrivs"), field(status, "Seccomp")) == ("0", "0")


async def test_resource_limits_are_in_force(bench: Bench) -> None:
    """Soft and hard limit of a resource, and the umask."""
    confined = (op.Setrlimit("NOFILE", 256, 512), op.Umask(0o027), op.SetOomScoreAdj(300))
    outcome = await bench.run("sh", "-c", "umask; cat /proc/self/oom_score_adj; cat /proc/self/limits", confined=confined)
    lines = outcome.stdout.decode().splitlines()
    assert lines[:2] == ["0027", "300"]
    assert next(line.split()[3:5] for line in lines if line.startswith("Max open files")) == ["256", "512"]


async def test_a_read_only_root_refuses_writes_and_mounts_below_do_not(bench: Bench) -> None:
    """EROFS on the root; a tmpfs in it stays writable."""
    outcome = await bench.run(
        "sh",
        "-c",
        "touch /file; touch /tmp/file; ls /tmp",
        mounts=(op.MountInRoot("tmpfs", "/tmp"),),
        sealed=(op.SetReadOnly("/"),),
    )
    assert outcome.stdout == b"file\n"
    assert b"Read-only file system" in outcome.stderr


async def test_what_is_written_lands_in_the_upper_layer(bench: Bench) -> None:
    """The layer below stays as it is."""
    await bench.run("sh", "-c", "echo mine > /etc/group; echo new > /file")
    upper = f"{bench.directory('box')}/upper"
    assert bench.ground.read(f"{upper}/etc/group") == b"mine\n"
    assert bench.ground.read(f"{upper}/file") == b"new\n"
    assert b"root:x:0" in bench.ground.read(f"{bench.layer}/etc/group")


async def test_upper_layers_hide_lower_ones(bench: Bench) -> None:
    """The first of the lower directories is the top-most."""
    top = bench.ground.layer()
    bench.ground.write(f"{top}/etc/group", b"top\n")
    assert (await bench.run("cat", "/etc/group", lowerdirs=(top, bench.layer))).stdout == b"top\n"


async def test_bind_mounts_show_the_hosts_files_and_can_be_read_only(bench: Bench) -> None:
    """A writable bind writes to the host, a read-only one is EROFS, and mount points are made."""
    data = f"{bench.ground.root}/data"
    bench.ground.make_directory(data)
    bench.ground.write(f"{data}/file", b"of the host\n")
    binds = (
        op.BindInRoot(data, "/a/rw"),
        op.BindInRoot(data, "/a/ro", readonly=True),
        op.BindInRoot(f"{data}/file", "/etc/one"),
    )
    outcome = await bench.run("sh", "-c", "cat /a/ro/file; touch /a/ro/x; touch /a/rw/made; cat /etc/one", mounts=binds)
    assert outcome.stdout == b"of the host\n" * 2
    assert b"Read-only file system" in outcome.stderr
    assert bench.ground.exists(f"{data}/made")
    assert not bench.ground.exists(f"{data}/x")
    assert bench.ground.strays() == []


async def test_a_missing_bind_source_is_made_with_its_parents_where_that_was_asked_for(bench: Bench) -> None:
    """`-v` makes the host's directory, which then stays."""
    made = f"{bench.ground.root}/a/b/c"
    prepare = (op.MakeDirectory(made, 0o755, lasting=True, parents=True),)
    assert (await bench.run("touch", "/data/x", prepare=prepare, mounts=(op.BindInRoot(made, "/data"),))).code == 0
    assert bench.ground.exists(f"{made}/x")


@pytest.mark.parametrize("target", ["/proc/1", "/proc/sys/kernel", "/proc", "/linked"])
async def test_s06_nothing_is_mounted_inside_proc(bench: Bench, target: str) -> None:
    """Neither by its name nor through a link of the image (CVE-2019-16884): what is trusted of /proc comes from the kernel."""
    data = f"{bench.ground.root}/data"
    bench.ground.make_directory(data)
    for key, mount in (("one", op.BindInRoot(data, target)), ("two", op.MountInRoot("tmpfs", target))):
        plan = bench.plan("true", key=key, mounts=(op.SymlinkInRoot("/linked", "/proc/sys"), mount))
        failure = await bench.fails(plan, key)
        assert (failure.syscall, failure.errno) == (f'"{target}" cannot be mounted because it is inside /proc', EPERM)


async def test_a_file_of_proc_that_is_emulated_can_be_bound(bench: Bench) -> None:
    """What lxcfs does for /proc/meminfo works as with Docker."""
    bench.ground.write(f"{bench.ground.root}/uptime", b"1.00 1.00\n")
    outcome = await bench.run("cat", "/proc/uptime", mounts=(op.BindInRoot(f"{bench.ground.root}/uptime", "/proc/uptime"),))
    assert outcome.stdout == b"1.00 1.00\n"


async def test_a_bind_to_a_linked_path_stays_inside_the_root(bench: Bench) -> None:
    """The image's link is followed beneath the root, absolute or not (S4, S7)."""
    data = f"{bench.ground.root}/data"
    bench.ground.make_directory(data)
    bench.ground.write(f"{data}/file", b"bound\n")
    mounts = (
        op.MakeDirectoryInRoot("/real"),
        op.SymlinkInRoot("/absolute", "/real"),
        op.SymlinkInRoot("/above", "../../../real"),
        op.BindInRoot(data, "/absolute/one"),
        op.BindInRoot(f"{data}/file", "/above/two"),
    )
    assert (await bench.run("cat", "/real/one/file", "/real/two", mounts=mounts)).stdout == b"bound\n" * 2
    assert bench.ground.strays() == []


async def test_masked_paths_are_empty(bench: Bench) -> None:
    """A masked file reads as nothing, a masked directory has no entries; a missing path needs no mask."""
    masks = (op.MaskPath("/etc/passwd"), op.MaskPath("/tmp"), op.MaskPath("/nothing/here"))
    mounts = (op.MountInRoot("tmpfs", "/tmp"),)
    outcome = await bench.run("sh", "-c", "cat /etc/passwd; ls /tmp; touch /tmp/x; echo end", mounts=mounts, sealed=masks)
    assert outcome.stdout == b"end\n"
    assert b"Read-only file system" in outcome.stderr


async def test_s05_a_forged_null_device_masks_nothing(bench: Bench) -> None:
    """A mask is bound only when /dev/null is the null device; else the start fails."""
    mounts = (op.MountInRoot("tmpfs", "/dev"), op.MakeNodeInRoot("/dev/null", "c", 1, 5))
    failure = await bench.fails(bench.plan("true", mounts=mounts, sealed=(op.MaskPath("/etc/passwd"),)))
    assert failure.operation == "mask /etc/passwd"
    assert failure.errno == 22


async def test_s04_a_link_in_the_place_of_proc_is_refused(bench: Bench) -> None:
    """The kernel's own filesystems are not mounted through a link of the image's."""
    mounts = (op.SymlinkInRoot("/linked", "/tmp"), op.MountInRoot("proc", "/linked"))
    failure = await bench.fails(bench.plan("true", mounts=mounts))
    assert (failure.operation, failure.errno) == ("mount proc on /linked in the root", ELOOP)


async def test_s07_mount_points_are_not_made_outside_of_the_root(bench: Bench) -> None:
    """A link that leads to a host path leads to that path inside the root."""
    outside = f"{bench.ground.root}/outside"
    bench.ground.make_directory(outside)
    mounts = (
        op.MakeDirectoryInRoot(outside),
        op.SymlinkInRoot("/link", outside),
        op.MountInRoot("tmpfs", "/link/new"),
    )
    assert (await bench.run("ls", "/link", mounts=mounts)).stdout == b"new\n"
    assert not bench.ground.exists(f"{outside}/new")


async def test_a_read_only_path_refuses_writes(bench: Bench) -> None:
    """SetReadOnly of a directory that is no mount point; a missing one is left alone."""
    sealed = (op.SetReadOnly("/etc"), op.SetReadOnly("/nothing/here"))
    outcome = await bench.run("sh", "-c", "touch /etc/x; touch /x; echo end", sealed=sealed)
    assert outcome.stdout == b"end\n"
    assert outcome.stderr.count(b"Read-only file system") == 1


async def test_sysctls_are_set_in_the_containers_namespaces(bench: Bench) -> None:
    """A network sysctl through the root's procfs."""
    mounts = (op.WriteSysctl("net.ipv4.ip_unprivileged_port_start", "0"), op.SetLinkUp("lo"))
    outcome = await bench.run("cat", "/proc/sys/net/ipv4/ip_unprivileged_port_start", mounts=mounts)
    assert outcome.stdout == b"0\n"


async def test_an_unknown_sysctl_fails(bench: Bench) -> None:
    """ENOENT at the operation that names it."""
    failure = await bench.fails(bench.plan("true", mounts=(op.WriteSysctl("net.ipv4.nonsense", "1"),)))
    assert (failure.operation, failure.errno) == ("set sysctl net.ipv4.nonsense = 1", ENOENT)


async def test_a_missing_link_is_not_set_up(bench: Bench) -> None:
    """ENODEV for a network device that is not there."""
    failure = await bench.fails(bench.plan("true", mounts=(op.SetLinkUp("eth7"),)))
    assert failure.errno == 19


async def test_the_working_directory_is_made_and_entered(bench: Bench) -> None:
    """WORKDIR need not exist in the image."""
    mounts = (op.MakeDirectoryInRoot("/srv/app/here"),)
    assert (await bench.run("pwd", mounts=mounts, late=(op.Chdir("/srv/app/here"),))).stdout == b"/srv/app/here\n"


# Control groups.


async def test_a_cgroup_lives_as_long_as_its_container(bench: Bench) -> None:
    """Made before the process, gone after the release."""
    cgroup = bench.cgroup("one")
    running = await bench.start(bench.plan("sleep", "1000", prepare=(op.CreateCgroup(cgroup),), cgroup=cgroup))
    assert bench.ground.exists(cgroup)
    rows = await bench.kernel.processes(cgroup)
    assert [(row.pid, row.uid) for row in rows] == [(running.identity.pid, 0)]
    await bench.kill(running)
    assert not bench.ground.exists(cgroup)


async def test_a_failed_plan_removes_its_cgroup(bench: Bench) -> None:
    """Also when the process was in it already."""
    cgroup = bench.cgroup("two")
    await bench.fails(bench.plan("nothing-of-this-name", prepare=(op.CreateCgroup(cgroup),), cgroup=cgroup))
    assert not bench.ground.exists(cgroup)


async def test_a_cgroup_is_removed_with_what_runs_in_it(bench: Bench) -> None:
    """Removing kills what is left, so that no process outlives its container's group."""
    cgroup = bench.cgroup("three")
    running = await bench.start(
        bench.plan("sleep", "1000", prepare=(op.CreateCgroup(cgroup),), cgroup=cgroup, namespaces=("mount", "uts"))
    )
    other = await bench.start(bench.plan("sleep", "1000", key="other", cgroup=cgroup), "other")
    await bench.kill(running)
    assert (await bench.kernel.exited("other")).code == 137
    await bench.release(other.launch)
    assert not bench.ground.exists(cgroup)


async def test_a_missing_cgroup_fails_the_clone(bench: Bench) -> None:
    """The process is in its group from the first instruction, or is not made."""
    failure = await bench.fails(bench.plan("true", cgroup=bench.cgroup("missing")))
    assert (failure.operation.split()[0], failure.errno) == ("clone", ENOENT)


async def test_cgroup_interface_files_answer_as_the_kernels(bench: Bench) -> None:
    """A file of a controller that is not enabled is ENOENT, an unknown controller EINVAL, a number out of range ERANGE."""
    cgroup = bench.cgroup("four")
    for file, value, errno in (
        ("memory.nonsense", "1", ENOENT),
        ("cgroup.subtree_control", "+nonsense", 22),
        ("cgroup.freeze", "2", 34),
        ("cgroup.freeze", "x", 22),
        ("cgroup.procs", "x", 22),
        ("cgroup.controllers", "x", 22),
    ):
        prepare = (op.CreateCgroup(cgroup), op.WriteCgroup(cgroup, file, value))
        failure = await bench.fails(bench.plan("true", prepare=prepare))
        assert (failure.operation, failure.errno) == (f"set {file} = {value} in {cgroup}", errno)


@pytest.mark.parametrize("bench", LIMITED, indirect=True)
async def test_limits_of_a_cgroup_are_kept(bench: Bench) -> None:
    """A limit is written when its controller is enabled, and is what statistics tell."""
    cgroup = bench.cgroup("five")
    prepare = (op.CreateCgroup(cgroup, ("pids",)), op.WriteCgroup(cgroup, "pids.max", "20"))
    running = await bench.start(bench.plan("sleep", "1000", prepare=prepare, cgroup=cgroup))
    statistics = await bench.kernel.statistics(cgroup, running.identity.pid)
    assert (statistics.pids, statistics.pids_limit) == (1, 20)
    await bench.kill(running)


@pytest.mark.parametrize("bench", LIMITED, indirect=True)
async def test_a_running_process_is_configured_up_to_the_first_failure(bench: Bench) -> None:
    """Limits are written while it runs; what comes after a failure is not, and the failure is told."""
    cgroup = bench.cgroup("ten")
    prepare = (op.CreateCgroup(cgroup, ("pids",)), op.WriteCgroup(cgroup, "pids.max", "20"))
    running = await bench.start(bench.plan("sleep", "1000", prepare=prepare, cgroup=cgroup))
    await bench.kernel.configure("box", [op.WriteCgroup(cgroup, "pids.max", "30")])
    assert bench.ground.read(f"{cgroup}/pids.max").strip() == b"30"
    with pytest.raises(KernelError) as caught:
        await bench.kernel.configure(
            "box", [op.WriteCgroup(cgroup, "pids.nonsense", "1"), op.WriteCgroup(cgroup, "pids.max", "40")]
        )
    assert (caught.value.operation, caught.value.errno) == (f"set pids.nonsense = 1 in {cgroup}", ENOENT)
    assert bench.ground.read(f"{cgroup}/pids.max").strip() == b"30"
    await bench.kill(running)


@pytest.mark.parametrize("bench", LIMITED, indirect=True)
async def test_a_group_with_controllers_for_children_takes_no_process(bench: Bench) -> None:
    """EBUSY of the clone: a cgroup that gives domain controllers to children has no processes of its own."""
    cgroup = bench.cgroup("eight")
    prepare = (op.CreateCgroup(f"{cgroup}/child", ("memory",)),)
    failure = await bench.fails(bench.plan("true", prepare=prepare, cgroup=cgroup))
    assert (failure.operation.split()[0], failure.errno) == ("clone", EBUSY)


async def test_a_device_filter_is_attached_to_a_cgroup_that_is_there(bench: Bench) -> None:
    """A program that allows everything changes nothing; without the cgroup the start fails."""
    cgroup, allow = bench.cgroup("nine"), b64encode(device_program(device_rules(privileged=True))).decode()
    prepare = (op.CreateCgroup(cgroup), op.AttachDeviceFilter(cgroup, allow))
    assert (await bench.run("cat", "/dev/null", prepare=prepare, cgroup=cgroup)).code == 0
    failure = await bench.fails(bench.plan("true", prepare=(op.AttachDeviceFilter(bench.cgroup("missing"), allow),)))
    assert (failure.operation.split(" in ")[0], failure.errno) == ("filter devices with 8 instructions", ENOENT)


async def test_a_frozen_cgroup_stands_still_until_it_is_thawed(bench: Bench) -> None:
    """The kernel says that it is frozen, and after the thaw input is answered."""
    cgroup = bench.cgroup("six")
    plan = bench.plan("sh", "-c", "echo up; read go; echo $go", prepare=(op.CreateCgroup(cgroup),), cgroup=cgroup)
    running = await bench.start(plan, stdin=True)
    await bench.lines(running)
    await bench.kernel.freeze(cgroup)
    assert b"frozen 1" in bench.ground.read(f"{cgroup}/cgroup.events")
    running.client.send(b"go\n")
    await bench.kernel.thaw(cgroup)
    assert b"frozen 0" in bench.ground.read(f"{cgroup}/cgroup.events")
    assert (await bench.finish(running)).stdout == b"up\ngo\n"


async def test_a_frozen_process_can_be_killed(bench: Bench) -> None:
    """SIGKILL needs no thaw in cgroup2."""
    cgroup = bench.cgroup("seven")
    running = await bench.start(bench.plan("sleep", "1000", prepare=(op.CreateCgroup(cgroup),), cgroup=cgroup))
    await bench.kernel.freeze(cgroup)
    assert (await bench.kill(running)).code == 137


async def test_freezing_what_is_not_there_is_an_error(bench: Bench) -> None:
    """ENOENT, as a `KernelError`."""
    with pytest.raises(KernelError) as caught:
        await bench.kernel.freeze(bench.cgroup("missing"))
    assert caught.value.errno == ENOENT


# Processes that are not known.


async def test_an_unknown_key_is_unavailable(bench: Bench) -> None:
    """Nothing can be asked of a process that this engine neither launched nor found."""
    client = bench.ground.client()
    for call in (
        lambda: bench.kernel.exited("unknown"),
        lambda: bench.kernel.resize("unknown", 1, 1),
        lambda: bench.kernel.attach("unknown", Attachment(client.endpoint)),
    ):
        with pytest.raises(Unavailable):
            await call()


async def test_what_is_left_on_the_host_is_listed(bench: Bench) -> None:
    """Recovery finds what a crash left: directories by name, files by path; what is not there is no error."""
    root = bench.ground.root
    for name in ("left/b", "left/a", "other/a"):
        bench.ground.make_directory(f"{root}/{name}")
    bench.ground.write(f"{root}/left/file", b"")
    directories, files = [f"{root}/left", f"{root}/other", f"{root}/none"], [f"{root}/left/file", f"{root}/left/none"]
    remains = await bench.kernel.remains(directories, files)
    assert remains == Remains(("a", "b"), (f"{root}/left/file",))


async def test_cgroups_that_are_left_are_listed(bench: Bench) -> None:
    """A cgroup is a path as well."""
    cgroup = bench.cgroup("left")
    running = await bench.start(bench.plan("sleep", "1000", prepare=(op.CreateCgroup(cgroup),), cgroup=cgroup))
    assert (await bench.kernel.remains([], [cgroup])).paths == (cgroup,)
    await bench.kill(running)
    assert (await bench.kernel.remains([], [cgroup])).paths == ()
