"""create: check what was asked against host and image, and make the container. No effect outside the log."""

from __future__ import annotations

import msgspec

from docket.domain.confinement.cgroup_parent import check_slice
from docket.domain.confinement.container_options import check_options
from docket.domain.confinement.resource_limits import check_resources
from docket.domain.confinement.sysctls import check_sysctls
from docket.domain.confinement.ulimits import check_ulimits
from docket.domain.engine import Engine, Job
from docket.domain.errors import InvalidArgument, Rejected, Rejection, Unsupported
from docket.domain.init_program.program import init_program
from docket.domain.jobs.launching import confinement_of
from docket.domain.model import texts
from docket.domain.model.container.commands import CreateContainer
from docket.domain.model.container.events import ContainerCreated
from docket.domain.model.container.spec import ContainerSpec
from docket.domain.model.engine.settings import EngineSettings
from docket.domain.model.image.decide import find_image
from docket.domain.model.image.state import Image
from docket.domain.plan import cgroup, devices

_SHORT_ID = 12


class Create(msgspec.Struct, frozen=True):
    """The request: ``entrypoint`` and ``command`` of None take the image's; ``environment`` holds ``NAME=value`` entries.

    In ``spec``, zero for the size of /dev/shm and the limits of the output takes the engine's settings.
    """

    spec: ContainerSpec
    name: str = ""
    entrypoint: tuple[str, ...] | None = None
    command: tuple[str, ...] | None = None
    environment: tuple[str, ...] = ()


async def create(engine: Engine, job: Job) -> str:
    """Returns the new container's id."""
    request: Create = job.request
    image = find_image(engine.state, request.spec.image)
    if isinstance(image, Rejection):
        raise Rejected(image)
    ids = engine.ports.ids
    container, secret = ids.new(), ids.new(32)
    environment = merged_environment(image.defaults.environment, request.environment)
    spec = _complete(engine, request, image, container)
    await _check_sources(engine, spec)
    names = tuple(entry.partition("=")[0] for entry in environment)
    spec = msgspec.structs.replace(spec, environment=secret, environment_names=names)
    command = CreateContainer(container, request.name, int(ids.new(8), 16), image.id, image.layers, spec)
    events = await engine.execute(command, job, {secret: "\0".join(environment).encode()})
    assert isinstance(events[0], ContainerCreated)
    return events[0].container


def merged_environment(image: tuple[str, ...], asked: tuple[str, ...]) -> tuple[str, ...]:
    """The image's variables under the caller's own; a name without ``=`` removes the image's."""
    merged = {entry.partition("=")[0]: entry for entry in image}
    for entry in asked:
        name, separator, _ = entry.partition("=")
        if separator:
            merged[name] = entry
        else:
            merged.pop(name, None)
    return tuple(merged.values())


def _complete(engine: Engine, request: Create, image: Image, container: str) -> ContainerSpec:
    """The specification with the image's defaults merged in, and checked. Raises `Rejected`."""
    spec, defaults = _with_engine_defaults(request.spec, engine.settings), image.defaults
    entrypoint = defaults.entrypoint or () if request.entrypoint is None else request.entrypoint
    command = request.command
    if not command:
        command = (defaults.command or ()) if request.entrypoint is None else ()
    if not (*entrypoint, *command):
        raise Rejected(InvalidArgument("no command specified"))
    host = engine.ports.kernel.host()
    check_options(spec, request.environment)
    if spec.cgroup_driver == "systemd":
        check_slice(spec.cgroup_parent)
    check_resources(spec.resources, host)
    cgroup.check(spec.resources, host)
    devices.check(spec, host)
    confinement_of(engine, spec)
    if spec.init and not init_program(host.architecture):
        raise Rejected(Unsupported(f"--init: docket has no init for {host.architecture}"))
    sysctls = check_sysctls(
        spec.sysctls, own_ipc=spec.ipc != "host", own_network=_own_network(engine, spec), own_uts=spec.uts != "host"
    )
    directory = spec.working_directory or defaults.working_directory
    if directory and not directory.startswith("/"):
        raise Rejected(InvalidArgument(f"the working directory '{directory}' is invalid, it needs to be an absolute path"))
    hostname = host.hostname if spec.uts == "host" or spec.network == "host" else container[:_SHORT_ID]
    return msgspec.structs.replace(
        spec,
        entrypoint=tuple(entrypoint),
        command=tuple(command),
        working_directory=directory,
        user=spec.user or defaults.user,
        labels={**defaults.labels, **spec.labels},
        exposed_ports=tuple(dict.fromkeys((*defaults.exposed_ports, *spec.exposed_ports))),
        volumes=tuple(dict.fromkeys((*defaults.volumes, *spec.volumes))),
        stop_signal=spec.stop_signal or defaults.stop_signal,
        hostname=spec.hostname or hostname,
        ulimits=check_ulimits(spec.ulimits),
        sysctls=sysctls,
    )


async def _check_sources(engine: Engine, spec: ContainerSpec) -> None:
    """A bind whose source is missing and is not to be made. Raises `Rejected`."""
    for mount in spec.mounts:
        if mount.kind == "bind" and not mount.create_source and not await engine.ports.kernel.exists(mount.source):
            raise Rejected(texts.missing_bind_source(mount.source))


def _with_engine_defaults(spec: ContainerSpec, settings: EngineSettings) -> ContainerSpec:
    """What the engine's settings say where the request says nothing. It is kept with the container (S58)."""
    asked = {limit.name for limit in spec.ulimits}
    options = spec.security_options
    if settings.no_new_privileges and not any(option.startswith("no-new-privileges") for option in options):
        options = (*options, "no-new-privileges")
    return msgspec.structs.replace(
        spec,
        cgroup_parent=spec.cgroup_parent or settings.cgroup_parent,
        cgroup_driver=settings.cgroup_driver,
        id_maps=None if spec.userns == "host" else settings.id_maps,
        security_options=options,
        ulimits=(*spec.ulimits, *(limit for limit in settings.ulimits if limit.name not in asked)),
        shm_bytes=spec.shm_bytes or settings.shm_bytes,
        log_max_bytes=spec.log_max_bytes or settings.log_max_bytes,
        log_files=spec.log_files or settings.log_files,
    )


def _own_network(engine: Engine, spec: ContainerSpec) -> bool:
    """Whether network sysctls touch only containers: a peer that uses the host's network lends just that."""
    seen = 0
    while spec.network.startswith("container:") and seen < len(engine.state.containers):
        spec = engine.container(spec.network.removeprefix("container:")).spec
        seen += 1
    return spec.network != "host"
