"""start: intent, plan, outcome; and the watch over the process until its end is in the log.

A start of a running container is `NotModified`. The watch belongs to the engine and not to the job: recovery uses it too.
"""

from __future__ import annotations

import msgspec
import trio

from docket.domain.engine import Engine, Job
from docket.domain.errors import Conflict, KernelError, PortError, Rejected, StoreFailed
from docket.domain.jobs import launching
from docket.domain.jobs.remove import remove_container
from docket.domain.model.container import events
from docket.domain.model.container.commands import StartContainer
from docket.domain.model.container.spec import ContainerSpec
from docket.domain.model.container.state import Container
from docket.domain.model.job.events import JobFailed
from docket.domain.plan import devices
from docket.domain.plan.container import Confinement, Surroundings, container_plan
from docket.domain.plan.operations import Plan
from docket.domain.plan.settings import HostDevices, Peers
from docket.domain.ports import Launch, LaunchFailed, LogSettings, ProcessIdentity

_DISK_PATIENCE_SECONDS = 1.0


async def start(engine: Engine, job: Job) -> None:
    """Start the container that the first argument names."""
    await engine.arrivals.arrived(engine.container(job.arguments[0]).id)
    decided = await engine.execute(StartContainer(job.arguments[0]), job)
    starting = decided[0]
    assert isinstance(starting, events.ContainerStarting)
    await perform_start(engine, job, engine.state.containers[starting.container], starting.run)


async def perform_start(engine: Engine, job: Job, container: Container, run: int) -> None:
    """Carry out the intent. Raises `Rejected` with Docker's text when the container cannot run."""
    await engine.holds.free(container.id)
    releasing = engine.releasing.get(container.id)
    if releasing is not None:
        await releasing.wait()  # the run before this one would otherwise be released over this one's head
    plan = None
    try:
        confinement, plan, launch = _prepare(engine, container, await devices_of(engine, container.spec))
        launched = await engine.ports.kernel.launch(launch)
    except Exception as error:  # also what is a bug: an intent never stays without an outcome
        if plan is not None and not _undone(error):
            await launching.release(engine, job, container.id, launch.exit_file, plan.release())
        await _failed(engine, job, container, run, error)
        raise AssertionError from error
    try:
        await engine.record([started(engine, container, launched.identity, confinement)], job)
    finally:
        # It runs, whether the disk takes the news now or later, and whether the caller still waits or not.
        engine.spawn(watch, engine, container.id, run, plan)


def _undone(error: Exception) -> bool:
    """Whether a failed launch left nothing: the shim took everything back, and lived to tell."""
    return isinstance(error, LaunchFailed) and not any(each.operation == "undo" for each in error.results)


def _undos_that_failed(error: KernelError) -> str:
    """A failed cleanup does not hide the first error; both are told."""
    results = error.results if isinstance(error, LaunchFailed) else ()
    failed = [f"{each.syscall} {each.path}: errno {each.errno}" for each in results if each.operation == "undo"]
    return f"; and taking it back: {', '.join(failed)}" if failed else ""


def plan_of(
    engine: Engine,
    container: Container,
    confinement: Confinement,
    lowerdirs: tuple[str, ...],
    peers: Peers | None = None,
    of_host: HostDevices | None = None,
) -> Plan:
    """The plan of the container's start, on this host as it is now."""
    ports = engine.ports
    found = of_host or HostDevices()
    around = Surroundings(ports.kernel.host(), ports.places, lowerdirs, confinement, peers or Peers(), ports.files, found)
    return container_plan(container.id, container.spec, around)


def plan_again(engine: Engine, container: Container) -> Plan:
    """The plan of a start that was, for the undos of what it prepared; layers are not part of those, and may be gone."""
    return plan_of(engine, container, launching.confinement_of(engine, container.spec), ())


async def devices_of(engine: Engine, spec: ContainerSpec) -> HostDevices:
    """The host's devices that the container gets, with the numbers that they have now. Raises `Rejected` for a missing one."""
    kernel = engine.ports.kernel
    devices.check(spec, kernel.host())
    found = [devices.given(asked, await kernel.devices(asked.source)) for asked in spec.devices]
    if spec.privileged:
        own = {each.target for several in found for each in several}
        found.append(tuple(each for each in devices.of_the_host(await kernel.devices("/dev")) if each.target not in own))
    given = tuple(each for several in found for each in several)
    return HostDevices(given, await devices.block_devices(kernel, spec.resources))


def _prepare(engine: Engine, container: Container, of_host: HostDevices) -> tuple[Confinement, Plan, Launch]:
    ports, spec = engine.ports, container.spec
    confinement = launching.confinement_of(engine, spec)
    lowerdirs = ports.rootfs.lowerdirs(container.layers)
    plan = plan_of(engine, container, confinement, lowerdirs, _peers(engine, container), of_host)
    launch = Launch(
        container.id,
        plan,
        ports.places.shim(container.id),
        ports.places.exit_file(container.id),
        launching.environment_of(engine, spec),
        terminal=spec.terminal,
        stdin=spec.stdin,
        stdin_once=spec.stdin_once,
        log=LogSettings(ports.places.log(container.id), spec.log_max_bytes, spec.log_files)
        if spec.log_driver != "none"
        else None,
        run=container.run,
        attachments=tuple(engine.waiting.pop(container.id, ())),
        cgroup=ports.places.cgroup(ports.kernel.host(), container.id, spec),
    )
    return confinement, plan, launch


def _peers(engine: Engine, container: Container) -> Peers:
    """The processes of ``container:<id>`` modes, which must run now."""
    found = {}
    for kind in ("network", "pid", "ipc"):
        mode: str = getattr(container.spec, kind)
        if mode.startswith("container:"):
            peer = engine.container(mode.removeprefix("container:"))
            if not peer.alive:
                raise Rejected(Conflict(f"cannot join {kind} of a non running container: {peer.id}"))
            if kind == "ipc" and peer.spec.ipc in {"private", "none"}:
                hint = "non-shareable IPC (hint: use IpcMode:shareable for the donor container)"
                raise Rejected(Conflict(f"cannot join IPC of container {peer.id}: {hint}"))
            if container.spec.id_maps is not None and peer.spec.id_maps != container.spec.id_maps:
                hint = "its users are others on the host: create both with the same --userns"
                raise Rejected(Conflict(f"cannot join {kind} of container {peer.id}: {hint}"))
            found[kind] = launching.identity_of(peer)
    return Peers(**found)


def started(
    engine: Engine, container: Container, identity: ProcessIdentity, confinement: Confinement
) -> events.ContainerStarted:
    """The outcome of the container's present run: which process it is, and the security in force (S58)."""
    return events.ContainerStarted(
        container.id,
        container.run,
        identity.pid,
        identity.start_time,
        identity.boot_id,
        engine.ports.places.cgroup(engine.ports.kernel.host(), container.id, container.spec),
        confinement.capabilities,
        confinement.no_new_privileges,
        confinement.seccomp_digest,
        container.spec.privileged,
        confinement.apparmor,
        container.spec.id_maps is not None,
    )


async def _failed(engine: Engine, job: Job, container: Container, run: int, error: Exception) -> None:
    program = container.spec.arguments[0]
    if isinstance(error, KernelError):
        text, code = launching.failure_text(error, program)
        outcome = events.ContainerStartFailed(container.id, run, error.operation, text, error.syscall, error.errno, code)
        outcome = msgspec.structs.replace(outcome, message=text + _undos_that_failed(error))
    else:
        text, code = str(error) or type(error).__name__, 128
        outcome = events.ContainerStartFailed(container.id, run, "", text, exit_code=code)
    try:
        await engine.record([outcome], job)
    finally:
        for attachment in engine.waiting.pop(container.id, ()):
            attachment.endpoint.close()
    if container.spec.auto_remove:
        await remove_container(engine, job, container.id)
    if isinstance(error, PortError):
        raise launching.rejection_of(text) from error
    raise error


async def watch(engine: Engine, container_id: str, run: int, plan: Plan) -> None:
    """Wait for the end of a container's first process, and see that it is in the log before anything is let go."""
    ports = engine.ports
    job = engine.task("watch", (container_id,))
    try:
        end, reason = await ports.kernel.exited(container_id), ""
    except PortError as error:
        watched = engine.state.containers.get(container_id)
        identity = launching.identity_of(watched) if watched is not None and watched.pid else None
        end, reason = await launching.lost(engine, container_id, identity, str(error))
    engine.releasing[container_id] = released = trio.Event()
    try:
        await engine.record_surely(launching.ended(container_id, run, end, reason), job)
        await launching.release(engine, job, container_id, ports.places.exit_file(container_id), plan.release())
    finally:
        del engine.releasing[container_id]
        released.set()
    container = engine.state.containers.get(container_id)
    if container is not None and container.spec.auto_remove and container.run == run:
        await _remove_itself(engine, job, container_id)


async def _remove_itself(engine: Engine, job: Job, container_id: str) -> None:
    """``--rm``. Somebody else may be removing the container already; a failure is an event of its own."""
    while True:
        try:
            await remove_container(engine, job, container_id)
        except Rejected:
            return
        except PortError as error:
            engine.note([JobFailed(job.id, type(error).__name__, str(error))], job)
        except StoreFailed:
            await trio.sleep(_DISK_PATIENCE_SECONDS)  # nobody will ask again
            continue
        return
