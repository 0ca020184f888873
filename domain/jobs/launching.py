"""What start and exec share: confinement, secrets, and the text and exit code of a failed launch."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from hashlib import sha256

import trio

from docket.domain.confinement.capabilities import capability_mask
from docket.domain.confinement.seccomp_compiler import compile_profile
from docket.domain.confinement.security_options import apparmor_profile, parse_security_options, seccomp_profile
from docket.domain.engine import Engine, Job
from docket.domain.errors import Conflict, InvalidArgument, KernelError, PortError, Rejected, Unsupported
from docket.domain.model import texts
from docket.domain.model.container.events import ContainerEvent, ContainerExited, ContainerOutOfMemory
from docket.domain.model.container.spec import ContainerSpec
from docket.domain.model.container.state import Container
from docket.domain.model.exec.state import Exec
from docket.domain.model.job.events import JobFailed
from docket.domain.plan.container import Confinement
from docket.domain.plan.operations import Operation
from docket.domain.ports import Exit, ProcessIdentity

_ENOENT, _EACCES, _EPERM, _ENOEXEC, _ENOTDIR, _EISDIR = 2, 13, 1, 8, 20, 21
_NOT_FOUND, _NOT_EXECUTABLE, _OTHER = 127, 126, 128
_SIGKILL = 9
_ATTEMPTS, _PAUSE_SECONDS = 3, 0.1


def confinement_of(engine: Engine, spec: ContainerSpec) -> Confinement:
    """The effective security of a process of this container. Raises `Rejected` for what this host cannot enforce."""
    host = engine.ports.kernel.host()
    options = parse_security_options(spec.security_options)
    mask = capability_mask(
        spec.cap_add,
        spec.cap_drop,
        privileged=spec.privileged,
        base=options.base_capabilities,
        available=host.capabilities,
    )
    apparmor = apparmor_profile(options, host, privileged=spec.privileged)
    profile = seccomp_profile(options, privileged=spec.privileged)
    if profile is None:
        return Confinement(mask, options.no_new_privileges, apparmor=apparmor)
    if not host.seccomp:
        raise Rejected(Unsupported("this kernel has no seccomp filters: --security-opt seccomp=unconfined goes without"))
    program = compile_profile(profile, architecture=host.architecture, capabilities=mask, kernel_release=host.kernel_release)
    digest = f"sha256:{sha256(program).hexdigest()}"
    return Confinement(mask, options.no_new_privileges, b64encode(program).decode(), digest, apparmor)


def environment_of(engine: Engine, spec: ContainerSpec) -> tuple[str, ...]:
    """The environment that the container was created with. Raises `Rejected` when it was forgotten."""
    value = engine.ports.store.secret(spec.environment)
    if value is None:
        raise Rejected(Conflict("the environment of this container was forgotten: create a new container"))
    entries = tuple(entry for entry in value.decode().split("\0") if entry)
    own = [f"HOSTNAME={spec.hostname}"]
    if "PATH" not in spec.environment_names:
        own.append("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
    if spec.terminal and "TERM" not in spec.environment_names:
        own.append("TERM=xterm")
    return (*own, *entries)


def ended(container: str, run: int, end: Exit, reason: str) -> list[ContainerEvent]:
    """What is to be told of the end of a container's first process."""
    exited = ContainerExited(container, run, end.code, end.oom_killed, reason)
    return [ContainerOutOfMemory(container, run), exited] if end.oom_killed else [exited]


def identity_of(started: Container | Exec) -> ProcessIdentity:
    """Which process is the container's first one, or the exec's."""
    return ProcessIdentity(started.pid, started.start_time, started.boot_id)


async def lost(engine: Engine, key: str, identity: ProcessIdentity | None, reason: str) -> tuple[Exit, str]:
    """The end of a process that nobody can be asked about any more: it is killed first, so that the log stays true."""
    for _ in range(_ATTEMPTS if identity is not None else 0):
        assert identity is not None
        try:
            await engine.ports.kernel.signal(key, identity, _SIGKILL)
            break
        except PortError as error:
            reason = f"{reason}; killing it: {error}"
            await trio.sleep(_PAUSE_SECONDS)
    return Exit(128 + _SIGKILL), reason


async def release(engine: Engine, job: Job, key: str, exit_file: str, operations: Sequence[Operation]) -> None:
    """Take back what a process left, now that its end is in the log. What the kernel refuses is tried again, and told each time."""
    for _ in range(_ATTEMPTS):
        try:
            await engine.ports.kernel.release(key, engine.ports.places.shim(key), exit_file, operations)
            return
        except PortError as error:
            engine.note([JobFailed(job.id, type(error).__name__, str(error))], job)
            await trio.sleep(_PAUSE_SECONDS)


def failure_text(error: KernelError, program: str) -> tuple[str, int]:
    """The sentence that Docker clients read an exit code from, and that exit code."""
    if error.syscall == "execve":
        if error.errno in {_ENOENT, _ENOTDIR}:
            text = texts.no_such_executable(program) if "/" in program else texts.executable_not_found(program)
            return text, _NOT_FOUND
        if error.errno == _EISDIR:
            return texts.is_a_directory(program), _NOT_EXECUTABLE
        if error.errno in {_EACCES, _EPERM}:
            return texts.executable_denied(program), _NOT_EXECUTABLE
        if error.errno == _ENOEXEC:
            return f"exec {program}: exec format error", _NOT_EXECUTABLE
    if " " in error.syscall:
        return error.syscall, _OTHER  # a sentence of its own, in Docker's words: no such user, no shared mount
    return str(error), _OTHER


def rejection_of(message: str) -> Rejected:
    """A failed start, as Docker frames it."""
    return Rejected(InvalidArgument(texts.start_failed(message)))
