"""What the operations of one plan share while they are performed, and the raising of their failures."""

from __future__ import annotations

DEFAULT_PATH = b"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class ResolvedUser:
    """The result of `ResolveUser`."""

    __slots__ = ("gid", "groups", "home", "uid")

    def __init__(self, uid: int, gid: int, groups: list[int], home: bytes) -> None:
        self.uid = uid
        self.gid = gid
        self.groups = groups
        self.home = home


class Context:
    """State of a plan under way: the entered root, named results, and what was handed over beside the plan."""

    __slots__ = (
        "arguments",
        "channel",
        "child_pid",
        "environment",
        "home_cgroup",
        "init_fd",
        "keep_fd",
        "pidfds",
        "root",
        "trees",
        "users",
        "users_of",
    )

    def __init__(self, arguments: list[str], environment: list[str]) -> None:
        self.arguments = arguments
        self.environment = [entry.encode("utf-8", "surrogateescape") for entry in environment]
        self.root = -1
        """Descriptor of the root filesystem, from `EnterRoot` on."""
        self.trees: dict[tuple[str, bool, str], list[int]] = {}
        """Clones of mounts, by source, whether with the mounts below, and propagation (`HoldTree`)."""
        self.users: dict[str, ResolvedUser] = {}
        self.pidfds: dict[int, int] = {}
        """Processes whose namespaces are joined, opened while their pids still mean them."""
        self.child_pid = 0
        """The cloned process, on the shim's side."""
        self.keep_fd = -1
        """The status pipe, which the child needs until execve."""
        self.init_fd = -1
        """The sealed file that is executed as the container's init, if there is one."""
        self.home_cgroup = ""
        """The cgroup that the shim was in before it was put into a scope (`StartScope`)."""
        self.users_of = 0
        """The process whose user namespace the new one will be in (`JoinUsers`); 0 for the shim's own, or a new one."""
        self.channel: object = None
        """The socket to the shim that descriptors are sent through."""

    def hold(self, source: str, recursive: bool, propagation: str, tree: int) -> None:
        """Keep the descriptor of a clone for `take`."""
        self.trees.setdefault((source, recursive, propagation), []).append(tree)

    def take(self, source: str, recursive: bool, propagation: str) -> int:
        """The descriptor of a clone that was held; -1 when none was."""
        held = self.trees.get((source, recursive, propagation))
        return held.pop(0) if held else -1

    def environ(self) -> dict[bytes, bytes]:
        """The environment as execve wants it; of equal names the last one counts."""
        entries = {}
        for entry in self.environment:
            name, separator, value = entry.partition(b"=")
            if separator:
                entries[name] = value
        return entries
