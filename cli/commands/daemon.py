"""`docket daemon`: the flags of the engine itself. What they do is in `docket.cli.daemon`, which only this command imports."""

from __future__ import annotations

from docket.cli.options import Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from docket.cli.context import Context
    from docket.cli.options import Options


def _handle(context: Context, options: Options) -> int:
    from docket.cli.daemon import run

    settings = {name.replace("-", "_"): value for name, value in options.as_dict().items()}
    settings["hosts"] = settings.pop("host")
    # What was on the command line, so that a configuration file's value is not hidden by a default.
    settings["given"] = sorted(name.replace("-", "_") for name in options.as_dict() if options.given(name))
    return run(settings)


DAEMON = Command(
    "docket daemon", "Run the engine",
    (
        ("config-file", "", "string", "", "Read settings from a JSON file"),
        ("data-root", "", "string", "/var/lib/docket", "Directory of the log, images and containers"),
        ("debug", "D", "bool", False, "Log more"),
        ("exec-root", "", "string", "/run/docket", "Directory of sockets and other volatile files"),
        ("group", "G", "string", "", "Group that may use the unix socket"),
        ("host", "H", "list", (), "Listen here: unix:///path, tcp://host:port or fd://"),
        ("insecure-registry", "", "list", (), "Registry to speak to without checking who answers"),
        ("insecure-tcp", "", "bool", False, "Allow tcp:// without client certificates"),
        ("log-level", "l", "string", "info", "Log this and what is worse: debug, info, warn, error, fatal"),
        ("pidfile", "p", "string", "", "File for the engine's process id"),
        ("tls", "", "bool", False, "Encrypt, without checking who asks"),
        ("tlscacert", "", "string", "", "Trust clients whose certificate this authority signed"),
        ("tlscert", "", "string", "", "The engine's certificate"),
        ("tlskey", "", "string", "", "The key of the engine's certificate"),
        ("tlsverify", "", "bool", False, "Encrypt and check who asks"),
    ),
    _handle,
)  # fmt: skip
