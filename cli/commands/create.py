"""`docket create`, and the part of `docket run` that makes the container: flags, image, id file."""

from __future__ import annotations

import os

from docket.cli.create_body import create_body
from docket.cli.errors import CliError, EngineError
from docket.cli.options import Command
from docket.cli.sanitise import printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from docket.cli.context import Context
    from docket.cli.options import FlagData, Options

CREATE_FLAGS: tuple[FlagData, ...] = (
    ("add-host", "", "add-host", (), "Add a line host:address to the container's hosts file"),
    ("annotation", "", "map", (), "Add an annotation for the runtime"),
    ("attach", "a", "attach", (), "Attach only to the streams named: stdin, stdout, stderr"),
    ("blkio-weight", "", "uint", 0, "Relative weight of block I/O, 10 to 1000, 0 for none"),
    ("blkio-weight-device", "", "weight-device", (), "Relative weight of block I/O for a device"),
    ("cap-add", "", "list", (), "Add a capability"),
    ("cap-drop", "", "list", (), "Drop a capability"),
    ("cgroup-parent", "", "string", "", "Parent cgroup of the container"),
    ("cgroupns", "", "string", "", "Cgroup namespace: host, private"),
    ("cidfile", "", "string", "", "Write the container's id to this file"),
    ("cpu-period", "", "int", 0, "Length of a CPU scheduling period in microseconds"),
    ("cpu-quota", "", "int", 0, "CPU time in each period in microseconds"),
    ("cpu-rt-period", "", "int", 0, "Length of a real-time period in microseconds"),
    ("cpu-rt-runtime", "", "int", 0, "Real-time CPU time in each period in microseconds"),
    ("cpu-shares", "c", "int", 0, "Relative weight of CPU time"),
    ("cpus", "", "decimal", 0, "Number of CPUs"),
    ("cpuset-cpus", "", "string", "", "CPUs to run on (0-3, 0,1)"),
    ("cpuset-mems", "", "string", "", "Memory nodes to use (0-3, 0,1)"),
    ("device", "", "list", (), "Add a device of the host"),
    ("device-cgroup-rule", "", "list", (), "Add a rule to the list of allowed devices"),
    ("device-read-bps", "", "throttle-bytes", (), "Limit the bytes a second read from a device"),
    ("device-read-iops", "", "throttle-count", (), "Limit the reads a second from a device"),
    ("device-write-bps", "", "throttle-bytes", (), "Limit the bytes a second written to a device"),
    ("device-write-iops", "", "throttle-count", (), "Limit the writes a second to a device"),
    ("disable-content-trust", "", "bool", True, "Accepted for Docker's sake"),
    ("dns", "", "ip-list", (), "Use this DNS server"),
    ("dns-option", "", "list", (), "Set a resolver option"),
    ("dns-search", "", "list", (), "Search this domain"),
    ("domainname", "", "string", "", "NIS domain name of the container"),
    ("entrypoint", "", "string", "", "Use this entrypoint instead of the image's"),
    ("env", "e", "env", (), "Set an environment variable; without a value, take it from this environment"),
    ("env-file", "", "list", (), "Read environment variables from a file"),
    ("expose", "", "list", (), "Expose a port or a range of ports"),
    ("group-add", "", "list", (), "Add a supplementary group"),
    ("health-cmd", "", "string", "", "Command that checks the container's health"),
    ("health-interval", "", "duration", 0, "Time between two checks"),
    ("health-retries", "", "int", 0, "Failures in a row until the container is unhealthy"),
    ("health-start-interval", "", "duration", 0, "Time between two checks while the container starts"),
    ("health-start-period", "", "duration", 0, "Time in which failures do not count yet"),
    ("health-timeout", "", "duration", 0, "Time that a check may take"),
    ("hostname", "h", "string", "", "Host name of the container"),
    ("hugepage-limit", "", "hugepage-limit", (), "Limit huge pages of a size: 2MB=64m"),
    ("init", "", "bool", False, "Run an init that forwards signals and reaps processes"),
    ("interactive", "i", "bool", False, "Keep standard input open"),
    ("ip", "", "string", "", "IPv4 address"),
    ("ip6", "", "string", "", "IPv6 address"),
    ("ipc", "", "string", "", "IPC mode: none, private, shareable, host, container:ID"),
    ("isolation", "", "string", "", "Isolation technology"),
    ("label", "l", "label", (), "Set a label"),
    ("label-file", "", "list", (), "Read labels from a file"),
    ("link", "", "list", (), "Link to another container"),
    ("link-local-ip", "", "list", (), "Link-local address"),
    ("log-driver", "", "string", "", "Logging driver"),
    ("log-opt", "", "list", (), "Option of the logging driver"),
    ("mac-address", "", "string", "", "MAC address"),
    ("memory", "m", "bytes", 0, "Memory limit"),
    ("memory-reservation", "", "bytes", 0, "Memory that is protected from reclaim"),
    ("memory-swap", "", "memory-swap", 0, "Limit of memory and swap together, -1 for no limit on swap"),
    ("memory-swappiness", "", "int", -1, "Inclination to swap, 0 to 100"),
    ("mount", "", "mount", (), "Mount a file system: type=bind|volume|tmpfs,source=…,target=…"),
    ("name", "", "string", "", "Name of the container"),
    ("network", "", "network", (), "Connect to a network: none, host, container:ID or a network's name"),
    ("network-alias", "", "list", (), "Another name in the network"),
    ("no-healthcheck", "", "bool", False, "Switch the image's health check off"),
    ("oom-kill-disable", "", "bool", False, "Do not kill when memory runs out"),
    ("oom-score-adj", "", "int", 0, "Inclination to be killed when memory runs out, -1000 to 1000"),
    ("pid", "", "string", "", "PID namespace: host, container:ID"),
    ("pids-limit", "", "int", 0, "Most processes at a time, -1 for no limit"),
    ("platform", "", "string", "", "Platform of the image, such as linux/amd64"),
    ("privileged", "", "bool", False, "Give all privileges of the host"),
    ("publish", "p", "list", (), "Publish a port of the container on the host"),
    ("publish-all", "P", "bool", False, "Publish all exposed ports on free ports"),
    ("pull", "", "string", "missing", "Fetch the image first: always, missing, never"),
    ("quiet", "q", "bool", False, "Say nothing while the image is fetched"),
    ("rdma", "", "rdma", (), "Limit handles and objects of an RDMA device: mlx5_0=2:2000"),
    ("read-only", "", "bool", False, "Mount the root file system read-only"),
    ("restart", "", "string", "no", "What to do when the container exits"),
    ("rm", "", "bool", False, "Remove the container when it exits"),
    ("runtime", "", "string", "", "Runtime to use"),
    ("security-opt", "", "list", (), "Security option"),
    ("shm-size", "", "bytes", 0, "Size of /dev/shm"),
    ("stop-signal", "", "string", "", "Signal that stops the container"),
    ("stop-timeout", "", "int", 0, "Seconds to wait for the container to stop before it is killed"),
    ("storage-opt", "", "list", (), "Option of the storage driver"),
    ("sysctl", "", "sysctl", (), "Set a kernel parameter"),
    ("tmpfs", "", "list", (), "Mount a tmpfs on a directory"),
    ("tty", "t", "bool", False, "Give the container a terminal"),
    ("ulimit", "", "ulimit", (), "Set a resource limit: name=soft[:hard]"),
    ("user", "u", "string", "", "User, as name or id, and group after a colon"),
    ("userns", "", "string", "", "User namespace: host"),
    ("uts", "", "string", "", "UTS namespace: host"),
    ("volume", "v", "list", (), "Mount a directory or a volume: source:target[:options]"),
    ("volume-driver", "", "string", "", "Driver of volumes"),
    ("volumes-from", "", "list", (), "Mount the volumes of another container"),
    ("workdir", "w", "string", "", "Working directory"),
)
SYNONYMS = {"net": "network", "net-alias": "network-alias", "dns-opt": "dns-option"}


def create_container(context: Context, options: Options, *, detached: bool = False) -> str:
    """Creates the container and returns its id; fetches the image when the engine does not have it and `--pull` allows it."""
    if options["pull"] not in ("always", "missing", "never"):
        raise CliError(
            f'invalid pull option: \'{printable(options["pull"])}\': must be one of "always", "missing" or "never"', 125
        )
    body = create_body(options, detached=detached)
    cidfile = _open_cidfile(options["cidfile"])
    try:
        if options["pull"] == "always":
            _fetch(context, options, body["Image"])
        answer = _create(context, options, body)
        for warning in answer.get("Warnings") or ():
            context.warn(f"WARNING: {printable(warning)}")
        identifier: str = answer["Id"]
        if cidfile is not None:
            cidfile.write(identifier)
    except BaseException:
        # Docker leaves no empty id file behind.
        if cidfile is not None:
            cidfile.close()
            os.unlink(options["cidfile"])
        raise
    if cidfile is not None:
        cidfile.close()
    return identifier


def _create(context: Context, options: Options, body: dict[str, Any]) -> dict[str, Any]:
    query = [(flag, options[flag]) for flag in ("name", "platform") if options[flag]]
    client = context.client()
    try:
        created: dict[str, Any] = client.value("POST", "/containers/create", query, body)
    except EngineError as error:
        if error.code != 404 or not error.reason.startswith("No such image") or options["pull"] != "missing":
            raise
        if not options["quiet"]:
            context.warn(f"Unable to find image '{printable(_tagged(body['Image']))}' locally")
        _fetch(context, options, body["Image"])
        created = client.value("POST", "/containers/create", query, body)
    return created


def _tagged(image: str) -> str:
    return image if "@" in image or ":" in image.rpartition("/")[2] else f"{image}:latest"


def _fetch(context: Context, options: Options, image: str) -> None:
    from docket.cli.pulling import pull

    pull(context, image, options["platform"], None if options["quiet"] else 2)


def _open_cidfile(path: str) -> Any:
    """The id file, which must be new: two containers that write to one file would be mixed up."""
    if not path:
        return None
    try:
        return open(path, "x", encoding="ascii")
    except FileExistsError:
        message = f"container ID file found, make sure the other container isn't running or delete {printable(path)}"
        raise CliError(message, 125) from None
    except OSError as error:
        raise CliError(
            f"failed to create the container ID file: {printable(path)}: {(error.strerror or '').lower()}", 125
        ) from None


def _handle(context: Context, options: Options) -> int:
    context.line(create_container(context, options))
    return 0


CREATE = Command(
    "docket create", "Create a container without starting it", CREATE_FLAGS, _handle, "IMAGE [COMMAND] [ARG...]", 1, -1,
    interspersed=False, aliases=("docket container create", "docket create"), synonyms=SYNONYMS,
)  # fmt: skip
