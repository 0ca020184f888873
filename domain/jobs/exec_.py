"""exec: one more process in a running container."""

from __future__ import annotations

import msgspec

from docket.domain.engine import Engine, Job
from docket.domain.errors import KernelError, PortError, Rejected
from docket.domain.jobs import launching
from docket.domain.model import texts
from docket.domain.model.container.spec import ContainerSpec
from docket.domain.model.exec import events
from docket.domain.model.exec.commands import CreateExec, StartExec
from docket.domain.model.exec.events import ExecSpec
from docket.domain.plan.container import Confinement, exec_plan
from docket.domain.ports import Launch, LaunchFailed


class CreateRequest(msgspec.Struct, frozen=True):
    """What to run; arguments and environment are kept apart from the log (S54)."""

    spec: ExecSpec
    arguments: tuple[str, ...]
    environment: tuple[str, ...] = ()


async def create(engine: Engine, job: Job) -> str:
    """Returns the new exec instance's id."""
    request: CreateRequest = job.request
    ids = engine.ports.ids
    key, arguments, environment = ids.new(), ids.new(32), ids.new(32)
    program = request.arguments[0] if request.arguments else ""
    spec = msgspec.structs.replace(request.spec, arguments=arguments, environment=environment, program=program)
    secrets = {
        arguments: "\0".join(request.arguments).encode(),
        environment: "\0".join(request.environment).encode(),
    }
    await engine.execute(CreateExec(key, job.arguments[0], spec), job, secrets)
    return key


async def start(engine: Engine, job: Job) -> None:
    """Start the exec instance that the first argument names, with ``job.attachments`` on its streams."""
    await engine.execute(StartExec(job.arguments[0]), job)
    instance = engine.state.execs[job.arguments[0]]
    container = engine.state.containers[instance.container]
    try:
        launched = await engine.ports.kernel.launch(_launch(engine, job, instance.id))
    except Exception as error:  # also what is a bug: an intent never stays without an outcome
        text, code = str(error) or type(error).__name__, 126
        if isinstance(error, KernelError):
            text, code = launching.failure_text(error, instance.spec.program)
            code = 127 if code == 127 else 126
        operation, syscall, errno = (
            (error.operation, error.syscall, error.errno) if isinstance(error, KernelError) else ("", "", 0)
        )
        failed = events.ExecStartFailed(instance.id, container.id, operation, text, syscall, errno, code)
        if not isinstance(error, LaunchFailed):
            await launching.release(engine, job, instance.id, engine.ports.places.exit_file(container.id, instance.id), ())
        await engine.record([failed], job)
        if not isinstance(error, PortError):
            raise
        raise launching.rejection_of(text) from error
    identity = launched.identity
    started = events.ExecStarted(instance.id, container.id, identity.pid, identity.start_time, identity.boot_id)
    try:
        if job.attachments:
            engine.note([started], job)  # the client is answered by the end of its stream, and that waits for `ExecExited`
        else:
            await engine.record([started], job)
    finally:
        engine.spawn(watch, engine, instance.id, container.id)  # it runs, whatever becomes of the caller and the disk


def _launch(engine: Engine, job: Job, exec_id: str) -> Launch:
    ports, instance = engine.ports, engine.state.execs[exec_id]
    container = engine.state.containers[instance.container]
    spec = instance.spec
    arguments, environment = ports.store.secret(spec.arguments), ports.store.secret(spec.environment)
    if arguments is None or environment is None:
        raise Rejected(texts.no_such_exec(exec_id))
    own = tuple(entry for entry in environment.decode().split("\0") if entry)
    plan = exec_plan(
        launching.identity_of(container),
        container.spec,
        spec.user or container.spec.user,
        spec.working_directory or container.spec.working_directory or "/",
        spec.console_size if spec.terminal else None,
        container.cgroup,
        _confinement(engine, container.spec, spec),
        ports.kernel.host(),
    )
    return Launch(
        exec_id,
        plan,
        ports.places.shim(exec_id),
        ports.places.exit_file(container.id, exec_id),
        (*launching.environment_of(engine, container.spec), *(("TERM=xterm",) if spec.terminal else ()), *own),
        tuple(arguments.decode().split("\0")),
        terminal=spec.terminal,
        stdin=spec.stdin,
        stdin_once=True,
        attachments=job.attachments,
        cgroup=container.cgroup,
        beside=container.id,
    )


def _confinement(engine: Engine, container: ContainerSpec, spec: ExecSpec) -> Confinement:
    """The container's; ``--privileged`` adds every capability and leaves the filter in force, as with Docker."""
    confinement = launching.confinement_of(engine, container)
    if not spec.privileged:
        return confinement
    return msgspec.structs.replace(confinement, capabilities=engine.ports.kernel.host().capabilities)


async def watch(engine: Engine, exec_id: str, container_id: str) -> None:
    """Wait for the process's end, and see that it is in the log before its clients are let go."""
    job = engine.task("watch", (exec_id,))
    try:
        end, reason = await engine.ports.kernel.exited(exec_id), ""
    except PortError as error:
        watched = engine.state.execs.get(exec_id)
        identity = launching.identity_of(watched) if watched is not None and watched.pid else None
        end, reason = await launching.lost(engine, exec_id, identity, str(error))
    await engine.record_surely([events.ExecExited(exec_id, container_id, end.code, reason)], job)
    await launching.release(engine, job, exec_id, engine.ports.places.exit_file(container_id, exec_id), ())
