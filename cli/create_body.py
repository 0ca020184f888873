"""The body of `POST /containers/create` from the flags of `run` and `create`.

Field for field what the docker CLI 28 sends: a differential test compares the two. Checks are those that Docker makes in the
client; all others are the engine's.
"""

from __future__ import annotations

import os

from docket.cli.endpoints import network_settings, port_settings
from docket.cli.errors import CliError
from docket.cli.mounts import tmpfs, volumes_and_binds
from docket.cli.sanitise import printable
from docket.cli.values import is_number

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from docket.cli.options import Options


def create_body(options: Options, *, detached: bool = False) -> dict[str, Any]:
    """The whole body. `detached` is `run -d`: no stream is attached.

    Raises CliError (125) for values that Docker refuses in the client.
    """
    image, *arguments = options.args
    streams = options["attach"]
    interactive = options["interactive"]
    if options["rm"] and options["restart"] not in ("", "no"):
        raise CliError("conflicting options: cannot specify both --restart and --rm", 125)
    mode, endpoints = network_settings(options)
    ports, bindings = port_settings(options["publish"], options["expose"])
    volumes, binds = volumes_and_binds(options["volume"])
    body: dict[str, Any] = {
        "Hostname": options["hostname"],
        "Domainname": options["domainname"],
        "User": options["user"],
        "AttachStdin": interactive if not streams else "stdin" in streams or interactive,
        "AttachStdout": not streams or "stdout" in streams,
        "AttachStderr": not streams or "stderr" in streams,
        "ExposedPorts": ports,
        "Tty": options["tty"],
        "OpenStdin": interactive,
        "StdinOnce": False,
        "Env": environment(options["env-file"], options["env"]) or None,
        "Cmd": arguments or None,
        "Healthcheck": _health(options),
        "Image": image,
        "Volumes": volumes,
        "WorkingDir": options["workdir"],
        "Entrypoint": [options["entrypoint"]] if options.given("entrypoint") else None,
        "OnBuild": None,
        "Labels": _pairs(_read_lines(options["label-file"]) + options["label"]),
        "StopSignal": options["stop-signal"],
        "StopTimeout": options["stop-timeout"] if options.given("stop-timeout") else None,
    }
    if detached:
        body["AttachStdin"] = body["AttachStdout"] = body["AttachStderr"] = False
    body["StdinOnce"] = body["OpenStdin"] and body["AttachStdin"]
    for optional in ("ExposedPorts", "Healthcheck", "StopSignal", "StopTimeout"):
        if not body[optional] and body[optional] != 0:
            del body[optional]
    body["HostConfig"] = _host_config(options, mode, binds, bindings)
    body["NetworkingConfig"] = {"EndpointsConfig": endpoints}
    return body


def _host_config(options: Options, mode: str, binds: list[str] | None, bindings: Any) -> dict[str, Any]:
    security, unmasked = _security(options["security-opt"])
    config: dict[str, Any] = {
        "Binds": binds,
        "ContainerIDFile": options["cidfile"],
        "LogConfig": {"Type": options["log-driver"], "Config": _log_options(options)},
        "NetworkMode": mode,
        "PortBindings": bindings,
        "RestartPolicy": _restart(options["restart"]),
        "AutoRemove": options["rm"],
        "VolumeDriver": options["volume-driver"],
        "VolumesFrom": options["volumes-from"] or None,
        "ConsoleSize": [0, 0],
        "CapAdd": _capabilities(options["cap-add"]),
        "CapDrop": _capabilities(options["cap-drop"]),
        "CgroupnsMode": _mode("cgroupns", options, ("", "host", "private"), ()),
        "Dns": options["dns"],
        "DnsOptions": options["dns-option"],
        "DnsSearch": options["dns-search"],
        "ExtraHosts": options["add-host"] or None,
        "GroupAdd": options["group-add"] or None,
        "IpcMode": options["ipc"],
        "Cgroup": "",
        "Links": options["link"] or None,
        "OomScoreAdj": options["oom-score-adj"],
        "PidMode": _mode("pid", options, ("", "host"), ("container:",)),
        "Privileged": options["privileged"],
        "PublishAllPorts": options["publish-all"],
        "ReadonlyRootfs": options["read-only"],
        "SecurityOpt": security if options["security-opt"] else None,
        "UTSMode": _mode("uts", options, ("", "host"), ()),
        "UsernsMode": _mode("userns", options, ("", "host"), ()),
        "ShmSize": options["shm-size"],
        "Isolation": options["isolation"],
        "MaskedPaths": [] if unmasked else None,
        "ReadonlyPaths": [] if unmasked else None,
    }
    config |= _resources(options)
    config |= _when_given(options)
    return config


def _resources(options: Options) -> dict[str, Any]:
    ulimits = {limit["Name"]: limit for limit in options["ulimit"]}
    return {
        "CpuShares": options["cpu-shares"],
        "Memory": options["memory"],
        "NanoCpus": options["cpus"],
        "CgroupParent": options["cgroup-parent"],
        "BlkioWeight": options["blkio-weight"],
        "BlkioWeightDevice": options["blkio-weight-device"],
        "BlkioDeviceReadBps": options["device-read-bps"],
        "BlkioDeviceWriteBps": options["device-write-bps"],
        "BlkioDeviceReadIOps": options["device-read-iops"],
        "BlkioDeviceWriteIOps": options["device-write-iops"],
        "CpuPeriod": options["cpu-period"],
        "CpuQuota": options["cpu-quota"],
        "CpuRealtimePeriod": options["cpu-rt-period"],
        "CpuRealtimeRuntime": options["cpu-rt-runtime"],
        "CpusetCpus": options["cpuset-cpus"],
        "CpusetMems": options["cpuset-mems"],
        "Devices": [_device(text) for text in options["device"]],
        "DeviceCgroupRules": options["device-cgroup-rule"] or None,
        "DeviceRequests": None,
        "MemoryReservation": options["memory-reservation"],
        "MemorySwap": options["memory-swap"],
        "MemorySwappiness": options["memory-swappiness"],
        "OomKillDisable": options["oom-kill-disable"],
        "PidsLimit": options["pids-limit"],
        "Ulimits": [ulimits[name] for name in sorted(ulimits)],
        "CpuCount": 0,
        "CpuPercent": 0,
        "IOMaximumIOps": 0,
        "IOMaximumBandwidth": 0,
    }


def _when_given(options: Options) -> dict[str, Any]:
    """The fields that are absent unless asked for."""
    given: dict[str, Any] = {}
    if options["annotation"]:
        given["Annotations"] = _pairs(options["annotation"])
    if options["storage-opt"]:
        given["StorageOpt"] = _pairs(options["storage-opt"])
    if options["tmpfs"]:
        given["Tmpfs"] = tmpfs(options["tmpfs"])
    if options["sysctl"]:
        given["Sysctls"] = _pairs(options["sysctl"])
    if options["hugepage-limit"]:
        given["HugepageLimits"] = list(options["hugepage-limit"])
    if options["rdma"]:
        given["Rdma"] = dict(options["rdma"])
    if options["runtime"]:
        given["Runtime"] = options["runtime"]
    if options["mount"]:
        given["Mounts"] = options["mount"]
    if options.given("init"):
        given["Init"] = options["init"]
    return given


def environment(files: list[str], given: list[str]) -> list[str]:
    """`NAME=value` lines: those of files, then those given; a name without a value is taken from the client's environment.

    A later setting of a name replaces the earlier one. A bare name that the client has not set is dropped from a file and
    passed on from the command line, where it asks the engine to unset an image's variable.
    """
    lines = []
    for line in _read_lines(files):
        name, equals, _ = line.partition("=")
        if not name or any(char.isspace() for char in name):
            raise CliError(f"invalid env file: variable {printable(repr(name))} contains whitespaces or is empty", 125)
        if equals:
            lines.append(line)
        elif name in os.environ:
            lines.append(f"{name}={os.environ[name]}")
    lines += [line if "=" in line or line not in os.environ else f"{line}={os.environ[line]}" for line in given]
    merged: dict[str, str] = {}
    for line in lines:
        name = line.partition("=")[0]
        merged.pop(name, None)
        merged[name] = line
    return list(merged.values())


def _read_lines(paths: list[str]) -> list[str]:
    """The lines of files that are neither empty nor comments, without leading blanks."""
    lines: list[str] = []
    for path in paths:
        try:
            with open(path, encoding="utf-8-sig") as file:
                text = file.read()
        except OSError as error:
            raise CliError(f"open {printable(path)}: {(error.strerror or str(error)).lower()}", 125) from None
        except UnicodeDecodeError:
            raise CliError(f"{printable(path)}: env file contains invalid utf8 bytes", 125) from None
        lines += [line.lstrip() for line in text.split("\n") if line.strip() and not line.lstrip().startswith("#")]
    return [line.removesuffix("\r") for line in lines]


def _pairs(texts: list[str]) -> dict[str, str]:
    return {name: value for name, _, value in (text.partition("=") for text in texts)}


def _health(options: Options) -> dict[str, Any] | None:
    flags = ("cmd", "interval", "retries", "timeout", "start-period", "start-interval")
    given = any(options.given(f"health-{flag}") for flag in flags)
    if options["no-healthcheck"]:
        if given:
            raise CliError("--no-healthcheck conflicts with --health-* options", 125)
        return {"Test": ["NONE"]}
    if not given:
        return None
    for flag in ("interval", "timeout", "start-period", "start-interval", "retries"):
        if options[f"health-{flag}"] < 0:
            raise CliError(f"--health-{flag} cannot be negative", 125)
    check: dict[str, Any] = {"Test": ["CMD-SHELL", options["health-cmd"]] if options["health-cmd"] else None}
    for flag, key in (
        ("interval", "Interval"), ("timeout", "Timeout"), ("start-period", "StartPeriod"),
        ("start-interval", "StartInterval"), ("retries", "Retries"),
    ):  # fmt: skip
        check[key] = options[f"health-{flag}"]
    return {key: value for key, value in check.items() if value}


def _security(texts: list[str]) -> tuple[list[str], bool]:
    """Security options as sent, and whether `systempaths=unconfined` was among them. A seccomp profile's text is sent along."""
    sent, unmasked = [], False
    for text in texts:
        name, separator, value = text.partition("=") if "=" in text else text.partition(":")
        if not separator and text != "no-new-privileges":
            raise CliError(f'Invalid --security-opt: "{printable(text)}"', 125)
        if name == "systempaths" and value == "unconfined":
            unmasked = True
        elif name == "seccomp" and value not in ("unconfined", "builtin"):
            sent.append(f"seccomp={_profile(value)}")
        else:
            sent.append(text)
    return sent, unmasked


def _profile(path: str) -> str:
    from docket.cli.json_light import dumps
    from docket.domain.compact_json import loads

    try:
        with open(path, encoding="utf-8") as file:
            return dumps(loads(file.read()))
    except OSError as error:
        reason = f"open {printable(path)}: {(error.strerror or str(error)).lower()}"
        raise CliError(f"opening seccomp profile ({printable(path)}) failed: {reason}", 125) from None
    except ValueError as error:
        raise CliError(f"compacting json for seccomp profile ({printable(path)}) failed: {error}", 125) from None


def _log_options(options: Options) -> dict[str, str]:
    if options["log-driver"] == "none" and options["log-opt"]:
        raise CliError("invalid logging opts for driver none", 125)
    return _pairs(options["log-opt"])


def _restart(text: str) -> dict[str, Any]:
    name, colon, count = text.partition(":")
    if colon and not is_number(count):
        raise CliError("invalid restart policy format: maximum retry count must be an integer", 125)
    return {"Name": name, "MaximumRetryCount": int(count or "0")}


def _capabilities(texts: list[str]) -> list[str] | None:
    """Upper case, with the `CAP_` prefix, sorted, each once; `ALL` comes first by its own spelling."""
    names = {text.strip().upper() for text in texts}
    return sorted(name if name == "ALL" or name.startswith("CAP_") else f"CAP_{name}" for name in names) or None


def _mode(flag: str, options: Options, words: tuple[str, ...], prefixes: tuple[str, ...]) -> str:
    value: str = options[flag]
    if value in words or any(value.startswith(prefix) and value != prefix for prefix in prefixes):
        return value
    names = {"userns": "USER", "cgroupns": "CGROUP"}
    raise CliError(f"--{flag}: invalid {names.get(flag, flag.upper())} mode", 125)


def _device(text: str) -> dict[str, str]:
    """`/dev/host[:/dev/container][:rwm]`."""
    parts = text.split(":")
    if len(parts) > 3:
        raise CliError(f"invalid device specification: {printable(text)}", 125)
    source, target, permissions = parts[0], "", "rwm"
    if len(parts) == 3:
        target, permissions = parts[1], parts[2]
    elif len(parts) == 2 and _is_device_mode(parts[1]):
        permissions = parts[1]
    elif len(parts) == 2:
        target = parts[1]
    if not _is_device_mode(permissions):
        raise CliError(f"bad mode specified: {printable(permissions)}", 125)
    return {"PathOnHost": source, "PathInContainer": target or source, "CgroupPermissions": permissions}


def _is_device_mode(text: str) -> bool:
    return bool(text) and not text.strip("rwm") and len(set(text)) == len(text)
