"""What the operations of one plan share while they are performed."""

from __future__ import annotations

from dataclasses import dataclass, field

from docket.domain.confinement.users import User
from docket.kernel.fake.filesystem import MergedDirectory
from docket.kernel.fake.mounts import Location
from docket.kernel.fake.processes import Namespace, Process
from docket.kernel.fake.streams import Streams


@dataclass(eq=False)
class Task:
    """A plan under way."""

    shim: Process
    streams: Streams
    environment: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ()
    into: dict[str, Namespace] = field(default_factory=dict)
    """Namespaces joined by the shim for the process it will clone."""
    process: Process | None = None
    root: Location = ()
    """The root filesystem, from `EnterRoot` on."""
    trees: dict[tuple[str, bool, str], Location] = field(default_factory=dict)
    """Host mounts that are held, by source, whether with the mounts below, and propagation."""
    overlay: MergedDirectory | None = None
    """The overlay that is held."""
    users: dict[str, User] = field(default_factory=dict)
    home: str = ""

    @property
    def new(self) -> Process:
        """The new process."""
        assert self.process is not None
        return self.process

    def environ(self) -> dict[str, str]:
        """The environment as execve gets it; of equal names the last one counts."""
        entries = dict(entry.split("=", 1) for entry in self.environment if "=" in entry)
        return entries if "HOME" in entries or not self.home else {**entries, "HOME": self.home}
