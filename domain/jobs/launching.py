"""What start and exec share: confinement, secrets, and the text and exit code of a failed launch."""

from __future__ import annotations

from base64 import b64encode
from hashlib import sha256

from docket.domain.confinement.capabilities import capability_mask
from docket.domain.confinement.seccomp_compiler import compile_profile
from docket.domain.confinement.security_options import parse_security_options, seccomp_profile
from docket.domain.engine import Engine
from docket.domain.errors import Conflict, InvalidArgument, KernelError, Rejected, Unsupported
from docket.domain.model import texts
from docket.domain.model.container.spec import ContainerSpec
from docket.domain.model.container.state import Container
from docket.domain.plan.container import Confinement
from docket.domain.ports import ProcessIdentity

_ENOENT, _EACCES, _EPERM, _ENOEXEC, _ENOTDIR, _EISDIR = 2, 13, 1, 8, 20, 21
_NOT_FOUND, _NOT_EXECUTABLE, _OTHER = 127, 126, 128


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
    profile = seccomp_profile(options, privileged=spec.privileged)
    if profile is None:
        return Confinement(mask, options.no_new_privileges)
    if not host.seccomp:
        raise Rejected(Unsupported("this kernel has no seccomp filters: --security-opt seccomp=unconfined goes without"))
    program = compile_profile(profile, architecture=host.architecture, capabilities=mask, kernel_release=host.kernel_release)
    digest = f"sha256:{sha256(program).hexdigest()}"
    return Confinement(mask, options.no_new_privileges, b64encode(program).decode(), digest)


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


def identity_of(container: Container) -> ProcessIdentity:
    """Which process is the container's first one."""
    return ProcessIdentity(container.pid, container.start_time, container.boot_id)


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
