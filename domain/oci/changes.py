"""The Dockerfile instructions of ``docker import --change`` and ``docker commit --change``, applied to an image's parameters.

Allowed are CMD, ENTRYPOINT, ENV, EXPOSE, HEALTHCHECK, LABEL, ONBUILD, STOPSIGNAL, USER, VOLUME and WORKDIR; nothing that would run
or copy anything. Error texts are Docker's. Pure: the same parameters and changes give the same result.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence

from msgspec.structs import replace

from docket.domain.errors import InvalidArgument, Rejected
from docket.domain.oci.healthcheck_change import InvalidHealthcheck, parse_healthcheck
from docket.domain.oci.image_config import Empty, ExecutionParameters
from docket.domain.oci.shell_words import InvalidWord, expand_word, split_words

MAX_CHANGES_BYTES = 256 * 1024
DEFAULT_SHELL = ("/bin/sh", "-c")

_PORT = re.compile(r"(\d{1,5})(?:-(\d{1,5}))?(?:/(\w+))?", re.ASCII)
_PROTOCOLS = frozenset({"tcp", "udp", "sctp"})


class InvalidChange(Rejected):
    """A change that is no instruction, or not one that is allowed; carries an `InvalidArgument` with Docker's text."""

    def __init__(self, message: str) -> None:
        super().__init__(InvalidArgument(message))


def apply_changes(parameters: ExecutionParameters, changes: Sequence[str]) -> ExecutionParameters:
    """Returns the parameters after all changes, in order; raises `InvalidChange` for the first wrong one."""
    cmd_was_set = False
    for line in _instructions(changes):
        word, _, rest = line.partition(" ")
        name = word.upper()
        handler = _HANDLERS.get(name)
        if handler is None:
            raise InvalidChange(f"{word[:60]} is not a valid change command")
        if not rest.strip():
            raise InvalidChange(f"{name} requires at least one argument")
        try:
            parameters = handler(parameters, rest.strip())
        except InvalidWord as error:
            raise InvalidChange(f"{name}: {error}") from error
        cmd_was_set |= name == "CMD"
        if name == "ENTRYPOINT" and not cmd_was_set:
            # The old command was meant as arguments for the old entrypoint.
            parameters = replace(parameters, cmd=None)
    return parameters


def _instructions(changes: Sequence[str]) -> list[str]:
    """One string per instruction: continued lines joined, blank lines and comments left out."""
    text = "\n".join(changes)
    if len(text.encode("utf-8", "surrogatepass")) > MAX_CHANGES_BYTES:
        raise InvalidChange(f"changes are longer than {MAX_CHANGES_BYTES} bytes")
    if any(_is_refused(char) for char in text):
        raise InvalidChange("changes contain a control character or a lone surrogate")
    joined = re.sub(r"\\[ \t\r]*\n", "", text)
    lines = (line.strip().replace("\t", " ", 1) for line in joined.split("\n"))
    return [line for line in lines if line and not line.startswith("#")]


def _is_refused(char: str) -> bool:
    return char == "\x7f" or (char < " " and char not in "\t\r\n") or "\ud800" <= char <= "\udfff"


def _exec_form(rest: str) -> tuple[str, ...] | None:
    """The words of a JSON array of strings; None for anything else, which Docker then takes as the shell form."""
    if not rest.startswith("["):
        return None
    try:
        value = json.loads(rest)
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        return None
    return tuple(value)


def _command(parameters: ExecutionParameters, rest: str) -> tuple[str, ...]:
    words = _exec_form(rest)
    return (*(parameters.shell or DEFAULT_SHELL), rest) if words is None else words


def _cmd(parameters: ExecutionParameters, rest: str) -> ExecutionParameters:
    return replace(parameters, cmd=_command(parameters, rest))


def _entrypoint(parameters: ExecutionParameters, rest: str) -> ExecutionParameters:
    return replace(parameters, entrypoint=_command(parameters, rest) or None)


def _pairs(name: str, parameters: ExecutionParameters, rest: str) -> list[tuple[str, str]]:
    """``K=V K2="V 2"``, or the old form ``K everything that follows``."""
    environment = _environment(parameters)
    words = split_words(rest)
    if "=" not in words[0]:
        key, _, value = rest.partition(" ")
        if not value.strip():
            raise InvalidChange(f"{name} must have two arguments")
        return [(expand_word(key, environment), expand_word(value.strip(), environment))]
    pairs: list[tuple[str, str]] = []
    for word in words:
        key, equals, value = word.partition("=")
        if not equals:
            raise InvalidChange(f"Syntax error - can't find = in {word[:60]!r}. Must be of the form: name=value")
        pairs.append((expand_word(key, environment), expand_word(value, environment)))
    if any(not key for key, _ in pairs):
        raise InvalidChange(f"{name} names can not be blank")
    return pairs


def _env(parameters: ExecutionParameters, rest: str) -> ExecutionParameters:
    env = list(parameters.env)
    for key, value in _pairs("ENV", parameters, rest):
        entry = f"{key}={value}"
        place = next((index for index, old in enumerate(env) if old.partition("=")[0] == key), None)
        if place is None:
            env.append(entry)
        else:
            env[place] = entry
    return replace(parameters, env=tuple(env))


def _label(parameters: ExecutionParameters, rest: str) -> ExecutionParameters:
    return replace(parameters, labels={**parameters.labels, **dict(_pairs("LABEL", parameters, rest))})


def _expose(parameters: ExecutionParameters, rest: str) -> ExecutionParameters:
    ports = dict(parameters.exposed_ports)
    for word in _words(parameters, rest):
        for port in _ports(word):
            ports[port] = Empty()
    return replace(parameters, exposed_ports=ports)


def _ports(text: str) -> list[str]:
    match = _PORT.fullmatch(text)
    if match is None:
        raise InvalidChange(f"invalid containerPort: {text[:60]}")
    first, protocol = int(match[1]), (match[3] or "tcp").lower()
    last = int(match[2] or match[1])
    if protocol not in _PROTOCOLS:
        raise InvalidChange(f"invalid proto: {protocol[:60]}")
    if not first <= last <= 65535:
        raise InvalidChange(f"invalid containerPort: {text[:60]}")
    return [f"{port}/{protocol}" for port in range(first, last + 1)]


def _volume(parameters: ExecutionParameters, rest: str) -> ExecutionParameters:
    paths = _exec_form(rest)
    words = _words(parameters, rest) if paths is None else list(paths)
    if any(not word.strip() for word in words):
        raise InvalidChange("VOLUME specified can not be an empty string")
    return replace(parameters, volumes={**parameters.volumes, **{word: Empty() for word in words}})


def _workdir(parameters: ExecutionParameters, rest: str) -> ExecutionParameters:
    path = expand_word(rest, _environment(parameters))
    base = parameters.working_dir or "/"
    return replace(parameters, working_dir=_clean(path if path.startswith("/") else f"{base}/{path}"))


def _clean(path: str) -> str:
    """The absolute path without empty parts, ``.`` and ``..``."""
    parts: list[str] = []
    for part in path.split("/"):
        if part == "..":
            parts = parts[:-1]
        elif part not in ("", "."):
            parts.append(part)
    return "/" + "/".join(parts)


def _user(parameters: ExecutionParameters, rest: str) -> ExecutionParameters:
    return replace(parameters, user=_single("USER", parameters, rest))


def _stop_signal(parameters: ExecutionParameters, rest: str) -> ExecutionParameters:
    signal = _single("STOPSIGNAL", parameters, rest)
    if not re.fullmatch(r"(?:[1-9]|[1-5][0-9]|6[0-4])|(?:SIG)?[A-Z][A-Z0-9]+(?:[+-][0-9]{1,2})?", signal.upper(), re.ASCII):
        raise InvalidChange(f"invalid signal: {signal[:60]}")
    return replace(parameters, stop_signal=signal)


def _healthcheck(parameters: ExecutionParameters, rest: str) -> ExecutionParameters:
    try:
        return replace(parameters, healthcheck=parse_healthcheck(rest, _exec_form))
    except InvalidHealthcheck as error:
        raise InvalidChange(str(error)) from error


def _on_build(parameters: ExecutionParameters, rest: str) -> ExecutionParameters:
    trigger = rest.split(None, 1)[0].upper()
    if trigger == "ONBUILD":
        raise InvalidChange("Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed")
    if trigger in ("FROM", "MAINTAINER"):
        raise InvalidChange(f"{trigger} isn't allowed as an ONBUILD trigger")
    return replace(parameters, on_build=(*parameters.on_build, rest))


def _single(name: str, parameters: ExecutionParameters, rest: str) -> str:
    words = _words(parameters, rest)
    if len(words) != 1:
        raise InvalidChange(f"{name} requires exactly one argument")
    return words[0]


def _words(parameters: ExecutionParameters, rest: str) -> list[str]:
    environment = _environment(parameters)
    return [expand_word(word, environment) for word in split_words(rest)]


def _environment(parameters: ExecutionParameters) -> dict[str, str]:
    pairs = (entry.partition("=") for entry in parameters.env)
    return {key: value for key, _, value in pairs}


_HANDLERS: dict[str, Callable[[ExecutionParameters, str], ExecutionParameters]] = {
    "CMD": _cmd,
    "ENTRYPOINT": _entrypoint,
    "ENV": _env,
    "EXPOSE": _expose,
    "HEALTHCHECK": _healthcheck,
    "LABEL": _label,
    "ONBUILD": _on_build,
    "STOPSIGNAL": _stop_signal,
    "USER": _user,
    "VOLUME": _volume,
    "WORKDIR": _workdir,
}
