"""Registry credentials as the docker CLI keeps them: `config.json` in `$DOCKER_CONFIG` or `~/.docker`, and credential helpers.

A registry's credentials come from its own helper (`credHelpers`), from the helper for all (`credsStore`), or from `auths`. They
go to the engine in the `X-Registry-Auth` header of the one request that needs them, and are kept nowhere else.
"""

from __future__ import annotations

import binascii
import os

from docket.cli.errors import CliError
from docket.cli.json_light import dumps
from docket.cli.sanitise import printable
from docket.domain.compact_json import loads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

INDEX = "https://index.docker.io/v1/"
_HUB = ("docker.io", "index.docker.io", "registry-1.docker.io", "")
_TOKEN = "<token>"
_MAX_CONFIG = 4 * 1024 * 1024
_HELPER_SECONDS = 60


def key_of(server: str) -> str:
    """The name under which a registry's credentials are kept: its host, or Docker Hub's index."""
    host = hostname(server)
    return INDEX if host in _HUB else host


def hostname(text: str) -> str:
    """An address without its scheme and path."""
    for scheme in ("https://", "http://"):
        text = text.removeprefix(scheme)
    return text.partition("/")[0]


def auth_header(repository: str) -> dict[str, str]:
    """The header for requests that concern a full repository name, such as `docker.io/library/busybox`."""
    found = Config().find(key_of(repository.partition("/")[0]))
    data = dumps(found).encode("utf-8", "surrogateescape")
    text = binascii.b2a_base64(data, newline=False).decode().replace("+", "-").replace("/", "_")
    return {"X-Registry-Auth": text}


class Config:
    """The file; what docket does not know in it stays as it is."""

    def __init__(self) -> None:
        directory = os.environ.get("DOCKER_CONFIG") or os.path.expanduser("~/.docker")
        self.path = os.path.join(directory, "config.json")
        self._values = self._read()

    def _read(self) -> dict[str, Any]:
        try:
            with open(self.path, "rb") as file:
                data = file.read(_MAX_CONFIG)
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise CliError(f"cannot read {printable(self.path)}: {(error.strerror or str(error)).lower()}") from None
        try:
            values = loads(data) if data.strip() else {}
        except ValueError:
            values = None
        if not isinstance(values, dict):
            raise CliError(f"{printable(self.path)} is not a JSON object: mend or remove it")
        return values

    def _table(self, name: str) -> dict[str, Any]:
        value = self._values.get(name)
        return value if isinstance(value, dict) else {}

    def helper(self, key: str) -> str:
        """The program suffix of the helper that keeps this registry's credentials; empty for none."""
        own = self._table("credHelpers").get(hostname(key)) or self._table("credHelpers").get(key)
        return str(own or self._values.get("credsStore") or "")

    def find(self, key: str) -> dict[str, str]:
        """What the engine needs to know; empty without credentials."""
        helper = self.helper(key)
        if helper:
            return _from_helper(helper, key)
        for name, entry in sorted(self._table("auths").items(), key=lambda item: item[0] != key):
            if isinstance(entry, dict) and (name == key or hostname(name) == hostname(key)):
                return _from_entry(entry, key)
        return {}

    def store(self, key: str, found: dict[str, str]) -> str:
        """Keeps credentials; returns what the user should be warned of, if anything."""
        helper = self.helper(key)
        if helper:
            token = found.get("identitytoken")
            secret = {
                "ServerURL": key,
                "Username": _TOKEN if token else found["username"],
                "Secret": token or found["password"],
            }
            _run_helper(helper, "store", dumps(secret))
            auths = {**self._table("auths"), key: {}}
        else:
            password = "" if found.get("identitytoken") else found.get("password", "")
            packed = f"{found['username']}:{password}".encode("utf-8", "surrogateescape")
            entry = {"auth": binascii.b2a_base64(packed, newline=False).decode()}
            if found.get("identitytoken"):
                entry["identitytoken"] = found["identitytoken"]
            auths = {**self._table("auths"), key: entry}
        self._write({**self._values, "auths": auths})
        return "" if helper else f"WARNING! Your password is stored unencrypted in {self.path}"

    def erase(self, key: str) -> bool:
        """Forgets credentials; False if there were none."""
        helper = self.helper(key)
        if helper:
            _run_helper(helper, "erase", key)
        auths = self._table("auths")
        kept = {name: entry for name, entry in auths.items() if name != key and hostname(name) != hostname(key)}
        if len(kept) != len(auths):
            self._write({**self._values, "auths": kept})
        return len(kept) != len(auths)

    def _write(self, values: dict[str, Any]) -> None:
        """The whole file at once, for its owner only."""
        directory = os.path.dirname(self.path)
        new = f"{self.path}.{os.getpid()}"
        try:
            os.makedirs(directory, mode=0o700, exist_ok=True)
            descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            try:
                with open(descriptor, "wb") as file:
                    file.write(dumps(values).encode("utf-8", "surrogateescape") + b"\n")
                os.replace(new, os.path.join(directory, os.path.basename(os.path.realpath(self.path))))
            except OSError:
                os.unlink(new)
                raise
        except OSError as error:
            raise CliError(f"cannot write {printable(self.path)}: {(error.strerror or str(error)).lower()}") from None
        self._values = values


def _from_entry(entry: dict[str, Any], key: str) -> dict[str, str]:
    found = {name: str(entry[name]) for name in ("username", "password", "identitytoken", "registrytoken") if entry.get(name)}
    if entry.get("auth"):
        try:
            packed = binascii.a2b_base64(str(entry["auth"]), strict_mode=True).decode("utf-8", "surrogateescape")
            name, _, password = packed.partition(":")
        except ValueError:
            raise CliError(f"the credentials for {printable(key)} in config.json cannot be read: log in again") from None
        found.update(username=name, password=password.strip("\0"))
    return {**found, "serveraddress": key} if found else {}


def _from_helper(helper: str, key: str) -> dict[str, str]:
    status, output = _ask_helper(helper, "get", key)
    if status:
        if b"credentials not found" in output:
            return {}
        raise CliError(f"error getting credentials: {printable(output.decode('utf-8', 'replace').strip()[:300])}")
    try:
        found = loads(output)
        name, secret = str(found["Username"]), str(found["Secret"])
    except (ValueError, KeyError, TypeError):
        raise CliError(f"docker-credential-{printable(helper)} answered what cannot be read") from None
    if name == _TOKEN:
        return {"identitytoken": secret, "serveraddress": key}
    return {"username": name, "password": secret, "serveraddress": key}


def _run_helper(helper: str, action: str, text: str) -> None:
    status, output = _ask_helper(helper, action, text)
    if status and b"credentials not found" not in output:
        raise CliError(f"error storing credentials: {printable(output.decode('utf-8', 'replace').strip()[:300])}")


def _ask_helper(helper: str, action: str, text: str) -> tuple[int, bytes]:
    """Exit status and output of `docker-credential-HELPER ACTION`, which is found in the path."""
    if not helper.replace("-", "").replace("_", "").replace(".", "").isalnum() or helper.startswith("."):
        raise CliError(f"config.json names the credential helper {printable(helper)!r}, which is no program's name")
    import subprocess

    try:
        done = subprocess.run(
            [f"docker-credential-{helper}", action], input=text.encode("utf-8", "surrogateescape"), stdout=subprocess.PIPE,
            timeout=_HELPER_SECONDS, check=False,
        )  # fmt: skip
    except FileNotFoundError:
        raise CliError(f"error getting credentials: docker-credential-{helper} is not in the path") from None
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CliError(f"error getting credentials: docker-credential-{helper}: {printable(str(error))}") from None
    return done.returncode, done.stdout
