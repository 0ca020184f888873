"""What an image made of a container says about running it: what was asked for, over what the container was created with.

As Docker merges it: lists of variables, ports, volumes and labels are joined, what was asked for first; single values are taken
from the container where nothing was asked for; an entrypoint that was asked for does away with the container's command.
"""

from __future__ import annotations

from msgspec.structs import replace

from docket.domain.oci.image_config import ExecutionParameters


def merged(asked: ExecutionParameters, own: ExecutionParameters) -> ExecutionParameters:
    """Returns ``asked`` completed from ``own``, the container's."""
    entrypoint, cmd = asked.entrypoint, asked.cmd
    if not entrypoint:
        cmd = cmd or own.cmd
        entrypoint = own.entrypoint if entrypoint is None else entrypoint
    return replace(
        asked,
        user=asked.user or own.user,
        exposed_ports={**own.exposed_ports, **asked.exposed_ports},
        env=_environment(asked.env, own.env),
        entrypoint=entrypoint,
        cmd=cmd,
        healthcheck=asked.healthcheck or own.healthcheck,
        volumes={**own.volumes, **asked.volumes},
        working_dir=asked.working_dir or own.working_dir,
        labels={**own.labels, **asked.labels},
        on_build=asked.on_build or own.on_build,
        stop_signal=asked.stop_signal or own.stop_signal,
        stop_timeout=own.stop_timeout if asked.stop_timeout is None else asked.stop_timeout,
        shell=asked.shell or own.shell,
    )


def _environment(asked: tuple[str, ...], own: tuple[str, ...]) -> tuple[str, ...]:
    names = {entry.partition("=")[0] for entry in asked}
    return (*asked, *(entry for entry in own if entry.partition("=")[0] not in names))
