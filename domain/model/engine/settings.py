"""The engine's settings, as far as decisions and answers depend on them. Addresses and files are the daemon's own business.

Those of a container (``no_new_privileges`` to ``log_files``) become part of its specification when it is created: a later change
of a setting never changes a container that exists (S58).
"""

from __future__ import annotations

import msgspec

from docket.domain.confinement.id_maps import IdMaps
from docket.domain.model.container.spec import Ulimit


class EngineSettings(msgspec.Struct, frozen=True):
    # What can change while the engine runs.
    labels: tuple[str, ...] = ()
    debug: bool = False
    log_level: str = "info"
    insecure_registries: tuple[str, ...] = ()
    registry_mirrors: tuple[str, ...] = ()
    shutdown_timeout_seconds: int = 2
    """How long requests may go on once the engine was told to end."""

    # What containers are created with when they do not say otherwise.
    no_new_privileges: bool = False
    ulimits: tuple[Ulimit, ...] = ()
    shm_bytes: int = 67_108_864
    log_max_bytes: int = 10_000_000
    log_files: int = 3
    id_maps: IdMaps | None = None
    """The user namespace of containers that do not ask for the host's."""
    cgroup_parent: str = ""
    """The control group above those of containers that do not say; empty is the engine's own."""
    cgroup_driver: str = "cgroupfs"
    """``cgroupfs``, or ``systemd`` for scopes of systemd's."""

    # How many recordings of kernel calls are kept.
    recordings_max_bytes: int = 64 << 20
    """0 keeps none."""
    recordings_max_age_seconds: int = 7 * 86_400

    # How much of the log is kept (`docket.domain.compaction`).
    log_retention_events: int = 50_000
    """So many of the newest events, and less than a range more, stay in the log itself; 0 seals none."""
    log_retention_bytes: int = 1 << 30
    """Of archives; 0 keeps none."""
    log_retention_age_seconds: int = 0
    """Of an archive's newest event; 0 for any age."""

    # What `info` warns of.
    open_addresses: tuple[str, ...] = ()
    """Where the API listens without client certificates."""


RELOADABLE = (
    "labels", "debug", "log_level", "insecure_registries", "registry_mirrors", "shutdown_timeout_seconds",
)  # fmt: skip
"""The fields that a reload changes."""
