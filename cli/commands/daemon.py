"""`docket daemon`: the flags of the engine itself. What they do is in `docket.cli.daemon`, which only this command imports."""

from __future__ import annotations

from docket.cli.options import Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from docket.cli.context import Context
    from docket.cli.options import Options


def _handle(context: Context, options: Options) -> int:
    from docket.cli.daemon import run

    flags = options.as_dict()
    # What was on the command line may not be in the configuration file as well; a default may.
    return run(flags, frozenset(name for name in flags if options.given(name)))


DAEMON = Command(
    "docket daemon", "Run the engine",
    (
        ("cgroup-parent", "", "string", "", "Control group that holds those of containers that do not say"),
        ("config-file", "", "string", "/etc/docket/daemon.json", "Read settings from a JSON file"),
        ("data-root", "", "string", "/var/lib/docket", "Directory of the log, images and containers"),
        ("debug", "D", "bool", False, "Log more"),
        ("default-shm-size", "", "string", "64M", "Size of /dev/shm in containers that do not say"),
        ("default-ulimit", "", "ulimit", (), "Limit for containers that do not set it, as name=soft[:hard]"),
        ("exec-opt", "", "list", (), "Runtime option: native.cgroupdriver=cgroupfs or systemd"),
        ("exec-root", "", "string", "/run/docket", "Directory of sockets and other volatile files"),
        ("group", "G", "string", "", "Group that may use the unix socket"),
        ("host", "H", "list", (), "Listen here: unix:///path, tcp://host:port or fd://"),
        ("insecure-registry", "", "list", (), "Registry to speak to without checking who answers"),
        ("insecure-tcp", "", "bool", False, "Allow tcp:// without client certificates"),
        ("label", "", "list", (), "Label of the engine, as key=value"),
        ("log-level", "l", "string", "info", "Log this and what is worse: debug, info, warn, error, fatal"),
        ("log-opt", "", "map", (), "Limits of containers' output: max-size=10m, max-file=3"),
        ("log-retention-days", "", "int", 0, "Days for which archives of old events are kept; 0 for ever"),
        ("log-retention-events", "", "int", 50_000, "Events that stay in the log itself; 0 archives none"),
        ("log-retention-size", "", "string", "1G", "Size up to which archives of old events are kept; 0 keeps none"),
        ("no-new-privileges", "", "bool", False, "Containers get no new privileges unless they ask to"),
        ("pidfile", "p", "string", "", "File for the engine's process id"),
        ("recordings-max-days", "", "int", 7, "Days for which recordings of kernel calls are kept"),
        ("recordings-max-size", "", "string", "64M", "Size up to which recordings of kernel calls are kept; 0 records none"),
        ("registry-mirror", "", "list", (), "Registry to ask before docker.io"),
        ("shutdown-timeout", "", "int", 2, "Seconds that requests may take to end at the end of the daemon"),
        ("tls", "", "bool", False, "Encrypt, without checking who asks"),
        ("tlscacert", "", "string", "", "Trust clients whose certificate this authority signed"),
        ("tlscert", "", "string", "", "The engine's certificate"),
        ("tlskey", "", "string", "", "The key of the engine's certificate"),
        ("tlsverify", "", "bool", False, "Encrypt and check who asks"),
        ("userns-remap", "", "string", "", "User whose subordinate ids the containers' users are: default, user or user:group"),
        ("validate", "", "bool", False, "Check the settings and end"),
    ),
    _handle,
)  # fmt: skip
