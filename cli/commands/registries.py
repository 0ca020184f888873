"""What speaks to registries: `push`, `search`, `login` and `logout`. Credentials are the client's to keep, as with docker."""

from __future__ import annotations

import os

from docket.cli.client import quote
from docket.cli.credentials import INDEX, Config, auth_header, hostname, key_of
from docket.cli.errors import CliError
from docket.cli.formatting import filters, print_rows
from docket.cli.options import Command
from docket.cli.sanitise import printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from docket.cli.context import Context
    from docket.cli.options import Options

_TITLES = {
    "Name": "NAME",
    "Description": "DESCRIPTION",
    "StarCount": "STARS",
    "IsOfficial": "OFFICIAL",
    "IsAutomated": "AUTOMATED",
}
_SHORT_DESCRIPTION = 45


def _push(context: Context, options: Options) -> int:
    from docket.cli.pulling import full_name, show_progress, split_tag

    name = options.args[0]
    repository, tag = full_name(name)
    if "@" in name:
        raise CliError("cannot push a digest reference")
    if options["all-tags"]:
        if split_tag(name)[1]:
            raise CliError("tag can't be used with --all-tags/-a")
        tag = ""
    elif not split_tag(name)[1] and not options["quiet"]:
        context.line(f"Using default tag: {tag}")
    context.flush()
    path = f"/images/{quote(split_tag(name)[0], '/:')}/push"
    response = context.client().request("POST", path, [("tag", tag)], headers=auth_header(repository))
    show_progress(response, None if options["quiet"] else 1)
    if options["quiet"]:
        context.line(printable(f"{repository}:{tag}" if tag else repository))
    return 0


def _search(context: Context, options: Options) -> int:
    term = options.args[0]
    query = [("term", term)] + ([("limit", str(options["limit"]))] if options["limit"] else []) + filters(options["filter"])
    first, slash, _ = term.partition("/")
    is_host = bool(slash) and ("." in first or ":" in first or first == "localhost")
    headers = auth_header(f"{first}/" if is_host else "docker.io/")
    from docket.domain.compact_json import loads

    found = loads(context.client().request("GET", "/images/search", query, headers=headers).read())
    rows = [
        {
            "Name": printable(str(each.get("name", ""))),
            "Description": _description(str(each.get("description") or ""), options["no-trunc"]),
            "StarCount": str(each.get("star_count", 0)),
            "IsOfficial": "[OK]" if each.get("is_official") else "",
            "IsAutomated": "[OK]" if each.get("is_automated") else "",
        }
        for each in found or ()
    ]
    print_rows(context, rows, options["format"], _TITLES, "Name Description StarCount IsOfficial")
    return 0


def _description(text: str, whole: bool) -> str:
    line = printable(text.replace("\n", " ").replace("\r", " "))
    return line if whole or len(line) <= _SHORT_DESCRIPTION else line[: _SHORT_DESCRIPTION - 1] + "…"


def _login(context: Context, options: Options) -> int:
    key = key_of(options.args[0]) if options.args else INDEX
    username, password = options["username"], options["password"]
    config = Config()
    if options["password-stdin"]:
        if not username:
            raise CliError("Must provide --username with --password-stdin")
        if options.given("password"):
            raise CliError("--password and --password-stdin are mutually exclusive")
        password = _read_all(0).rstrip("\n").rstrip("\r")
    elif options.given("password"):
        context.warn("WARNING! Using --password via the CLI is insecure. Use --password-stdin.")
    told = config.find(key) if not username and not password else {}
    if not told:
        told = _asked(context, username, password, key)
    answer = context.client().value("POST", "/auth", (), {**told, "serveraddress": key}) or {}
    token = str(answer.get("IdentityToken") or "")
    warning = config.store(key, {**told, "identitytoken": token} if token else told) if told.get("username") else ""
    if warning:
        context.warn(printable(warning))
    context.line(printable(str(answer.get("Status") or "Login Succeeded")))
    return 0


def _asked(context: Context, username: str, password: str, key: str) -> dict[str, str]:
    """What the command line does not say is asked for, where somebody can answer."""
    if (not username or not password) and not os.isatty(0):
        raise CliError("Error: Cannot perform an interactive login from a non TTY device")
    if not username:
        context.write(f"Username for {hostname(key)}: ")
        context.flush()
        username = _read_line()
    if not password:
        import getpass

        password = getpass.getpass("Password: ")
    if not username or not password:
        raise CliError("username and password must not be empty")
    return {"username": username, "password": password}


def _read_line() -> str:
    line = b""
    while (char := os.read(0, 1)) not in (b"", b"\n"):
        line += char
    return line.decode("utf-8", "surrogateescape").strip()


def _read_all(descriptor: int) -> str:
    data = b""
    while piece := os.read(descriptor, 65536):
        data += piece
    return data.decode("utf-8", "surrogateescape")


def _logout(context: Context, options: Options) -> int:
    key = key_of(options.args[0]) if options.args else INDEX
    if Config().erase(key):
        context.line(printable(f"Removing login credentials for {key}"))
    else:
        context.line(printable(f"Not logged in to {key}"))
    return 0


PUSH = Command(
    "docket push", "Send an image to a registry",
    (
        ("all-tags", "a", "bool", False, "Send all tags of the repository"),
        ("quiet", "q", "bool", False, "Say nothing but the name"),
    ),
    _push, "NAME[:TAG]", 1, 1, aliases=("docket image push", "docket push"),
)  # fmt: skip
SEARCH = Command(
    "docket search", "Search a registry for images",
    (
        ("filter", "f", "filter", (), "Show those that match: is-official, is-automated, stars"),
        ("format", "", "string", "", "Print by a Go template, as json, or as a table of a template's fields"),
        ("limit", "", "int", 0, "Show at most so many, up to 100"),
        ("no-trunc", "", "bool", False, "Cut nothing off"),
    ),
    _search, "TERM", 1, 1,
)  # fmt: skip
LOGIN = Command(
    "docket login", "Check credentials for a registry and keep them",
    (
        ("password", "p", "string", "", "Password; it is seen by everybody who lists processes"),
        ("password-stdin", "", "bool", False, "Take the password from standard input"),
        ("username", "u", "string", "", "Username"),
    ),
    _login, "[SERVER]", 0, 1,
)  # fmt: skip
LOGOUT = Command(
    "docket logout", "Forget the credentials for a registry", (), _logout, "[SERVER]", 0, 1,
)  # fmt: skip
