"""The daemon's options, from flags and from a configuration file with dockerd's keys.

Rules, all dockerd's: an option may be in one of the two, not in both; a key that is not known is refused; a file that was named
must be there, the default one need not be. What dockerd knows and docket does not is refused too, rather than ignored.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import msgspec

from docket.cli import daemon_values as values
from docket.cli import remapping
from docket.domain.model.container.spec import Ulimit
from docket.domain.model.engine.settings import EngineSettings
from docket.domain.oci.strict_json import InvalidDocument, decode_strict

# Options that are called otherwise in the file than on the command line.
_FILE_KEYS = {
    "host": "hosts",
    "label": "labels",
    "insecure-registry": "insecure-registries",
    "registry-mirror": "registry-mirrors",
    "default-ulimit": "default-ulimits",
    "log-opt": "log-opts",
    "exec-opt": "exec-opts",
}
# What a key's value is in the file.
_KINDS: dict[str, tuple[type, str]] = {
    **dict.fromkeys(("hosts", "labels", "insecure-registries", "registry-mirrors", "exec-opts"), (list, "a list of strings")),
    **dict.fromkeys(("debug", "tls", "tlsverify", "insecure-tcp", "no-new-privileges"), (bool, "true or false")),
    **dict.fromkeys(
        (
            "data-root",
            "exec-root",
            "pidfile",
            "group",
            "log-level",
            "tlscacert",
            "tlscert",
            "tlskey",
            "userns-remap",
            "cgroup-parent",
        ),
        (str, "a string"),
    ),
    "default-ulimits": (dict, "an object of limits"),
    "log-opts": (dict, "an object of strings"),
    "shutdown-timeout": (int, "a number of seconds"),
    "recordings-max-days": (int, "a number of days"),
    "log-retention-days": (int, "a number of days"),
    "log-retention-events": (int, "a number of events"),
}
_SIZES = ("default-shm-size", "recordings-max-size", "log-retention-size")
# Keys of dockerd with the only value that docket has, so that a file that says no more than the truth can be shared.
_FIXED: dict[str, Any] = {"live-restore": True, "log-driver": "json-file", "storage-driver": "overlay2"}


class OptionsRefused(Exception):
    """Options that cannot be used; one line, and the exit code that dockerd has for it."""

    def __init__(self, message: str, status: int = 1) -> None:
        super().__init__(message)
        self.status = status


class DaemonOptions(msgspec.Struct, frozen=True):
    """Everything the daemon was told."""

    hosts: tuple[str, ...]
    data_root: str
    exec_root: str
    pidfile: str
    group: str
    tls: bool
    tlsverify: bool
    tlscacert: str
    tlscert: str
    tlskey: str
    insecure_tcp: bool
    settings: EngineSettings
    config_file: str
    """The file that was read; empty when there was none."""


def read_options(flags: dict[str, Any], given: frozenset[str]) -> DaemonOptions:
    """The options of ``flags`` (by name, defaults included; ``given`` were on the command line) and of the file they name.

    Raises `OptionsRefused`.
    """
    path = flags["config-file"]
    from_file = _read_file(path, required="config-file" in given)
    if from_file is not None:
        try:
            _check_keys(from_file, flags, given)
            _check_kinds(from_file)
        except ValueError as error:
            raise _file_refused(path, error) from None
    found = from_file or {}
    told = {name: found.get(_FILE_KEYS.get(name, name), value) for name, value in flags.items()}
    try:
        return _options(told, set(found), os.path.abspath(path) if from_file is not None else "", given)
    except ValueError as error:
        raise OptionsRefused(str(error)) from None


def _read_file(path: str, *, required: bool) -> dict[str, Any] | None:
    try:
        with open(path, "rb") as file:
            data = file.read(4 * 1024 * 1024 + 1)
    except FileNotFoundError:
        if not required:
            return None
        raise _file_refused(path, ValueError(f"open {path}: no such file or directory")) from None
    except OSError as error:
        raise _file_refused(path, ValueError(f"open {path}: {(error.strerror or str(error)).lower()}")) from None
    try:
        found: dict[str, Any] = decode_strict(data.removeprefix(b"\xef\xbb\xbf") or b"{}", dict, path)
    except InvalidDocument as error:
        raise _file_refused(path, ValueError(str(error).removeprefix(f"{path}: "))) from None
    return found


def _file_refused(path: str, error: ValueError) -> OptionsRefused:
    return OptionsRefused(f"unable to configure the Docker daemon with file {path}: {error}")


def _check_keys(found: dict[str, Any], flags: dict[str, Any], given: frozenset[str]) -> None:
    unknown = [key for key in found if key not in _KINDS and key not in _SIZES and key not in _FIXED]
    if unknown:
        raise ValueError(f"the following directives don't match any configuration option: {', '.join(sorted(unknown))}")
    twice = [(key, flags[name]) for name in sorted(given) if (key := _FILE_KEYS.get(name, name)) in found]
    if twice:
        told = ", ".join(f"{key}: (from flag: {_shown(flag)}, from file: {_shown(found[key])})" for key, flag in twice)
        raise ValueError(f"the following directives are specified both as a flag and in the configuration file: {told}")


def _shown(value: Any) -> str:
    """As Go prints it."""
    if isinstance(value, list | tuple):
        return f"[{' '.join(_shown(each) for each in value)}]"
    if isinstance(value, dict):
        if set(value) == {"Name", "Soft", "Hard"}:
            return f"{value['Name']}={value['Soft']}:{value['Hard']}"
        return f"map[{' '.join(f'{key}:{_shown(each)}' for key, each in sorted(value.items()))}]"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _check_kinds(found: dict[str, Any]) -> None:
    for key, value in found.items():
        if key in _FIXED:
            if value != _FIXED[key]:
                raise ValueError(f"{key}: {_shown(value)} is not supported, only {_shown(_FIXED[key])}")
            continue
        kind, words = _KINDS.get(key, (object, ""))
        inner = value if kind is list else value.values() if key == "log-opts" and isinstance(value, dict) else ()
        if (kind is not object and type(value) is not kind) or not all(isinstance(each, str) for each in inner):
            raise ValueError(f"{key} must be {words}")
        if key in _SIZES and type(value) not in (int, str):
            raise ValueError(f"{key} must be a size such as 64m")


def _options(told: dict[str, Any], in_file: set[str], config_file: str, given: frozenset[str]) -> DaemonOptions:
    verify = told["tlsverify"] or ("tlsverify" not in given | in_file and bool(os.environ.get("DOCKER_TLS_VERIFY")))
    tls = verify or told["tls"]
    ca, certificate, key = _tls_files(told) if tls else ("", "", "")
    return DaemonOptions(
        hosts=tuple(values.host(each, tls=tls) for each in told["host"] or [f"unix://{values.DEFAULT_SOCKET}"]),
        data_root=os.path.abspath(told["data-root"]),
        exec_root=os.path.abspath(told["exec-root"]),
        pidfile=os.path.abspath(told["pidfile"]) if told["pidfile"] else "",
        group=told["group"],
        tls=tls,
        tlsverify=verify,
        tlscacert=ca if verify else "",
        tlscert=certificate,
        tlskey=key,
        insecure_tcp=told["insecure-tcp"],
        settings=_settings(told, in_file),
        config_file=config_file,
    )


def _tls_files(told: dict[str, Any]) -> tuple[str, ...]:
    directory = os.environ.get("DOCKER_CERT_PATH") or os.path.expanduser("~/.docket")
    names = (("tlscacert", "ca.pem"), ("tlscert", "cert.pem"), ("tlskey", "key.pem"))
    return tuple(told[option] or f"{directory}/{name}" for option, name in names)


def _settings(told: dict[str, Any], in_file: set[str]) -> EngineSettings:
    level = _checked("log-level", "log-level" in in_file, values.log_level, told["log-level"])
    debug = told["debug"] or level == "debug"
    limits = told["default-ulimit"]
    options = told["log-opt"]
    driver = values.cgroup_driver(told["exec-opt"])
    max_bytes, files = values.log_options(options if isinstance(options, dict) else values.log_options_of_flags(options))
    return EngineSettings(
        labels=_checked("label", "labels" in in_file, values.labels, told["label"]),
        debug=debug,
        log_level="debug" if debug else level,
        insecure_registries=values.insecure_registries(told["insecure-registry"]),
        registry_mirrors=values.registry_mirrors(told["registry-mirror"]),
        shutdown_timeout_seconds=values.shutdown_timeout(told["shutdown-timeout"]),
        no_new_privileges=told["no-new-privileges"],
        ulimits=values.ulimits_of_file(limits) if isinstance(limits, dict) else _flag_limits(limits),
        shm_bytes=values.size(told["default-shm-size"]),
        log_max_bytes=max_bytes,
        log_files=files,
        id_maps=remapping.id_maps(told["userns-remap"]),
        cgroup_parent=values.cgroup_parent(told["cgroup-parent"], driver),
        cgroup_driver=driver,
        recordings_max_bytes=values.recordings_size(told["recordings-max-size"]),
        recordings_max_age_seconds=values.recordings_days(told["recordings-max-days"]) * 86_400,
        log_retention_events=values.retained("log-retention-events", told["log-retention-events"]),
        log_retention_bytes=values.recordings_size(told["log-retention-size"]),
        log_retention_age_seconds=values.retained("log-retention-days", told["log-retention-days"]) * 86_400,
    )


def _flag_limits(limits: list[dict[str, Any]]) -> tuple[Ulimit, ...]:
    return values.ulimits(Ulimit(limit["Name"], limit["Soft"], limit["Hard"]) for limit in limits)


def _checked(flag: str, from_file: bool, convert: Callable[[Any], Any], value: Any) -> Any:
    """A flag's text that does not convert ends as dockerd's does, with exit code 125; a file's with 1."""
    try:
        return convert(value)
    except ValueError as error:
        if from_file or flag == "log-level":
            raise
        shown = value if isinstance(value, str) else " ".join(value)
        raise OptionsRefused(f'invalid argument "{shown}" for "--{flag}" flag: {error}', 125) from None
