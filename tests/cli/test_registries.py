"""pull, push, search, login and logout: whose credentials are sent, and where they are kept."""

from __future__ import annotations

import base64
import json
import os
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fake_engine import FakeEngine, Reply

Docket = Callable[..., subprocess.CompletedProcess[str]]
HUB = "https://index.docker.io/v1/"
PACKED = base64.b64encode(b"me:secret").decode()


@pytest.fixture(autouse=True)
def rules(engine: FakeEngine) -> None:
    """An engine to which every registry is good."""
    engine.on("POST", "/images/create", Reply(chunks=[b'{"status":"Pulling from x","id":"1"}\r\n']))
    engine.on("POST", "/images/.*/push", Reply(chunks=[b'{"status":"Pushed"}\r\n']))
    engine.on("POST", "/auth", Reply(body={"Status": "Login Succeeded", "IdentityToken": ""}))
    row = {"name": "app", "description": "long " * 20 + "\x1b[31m", "star_count": 7, "is_official": True}
    engine.on("GET", "/images/search", Reply(body=[row]))


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return tmp_path / "config" / "config.json"


@pytest.fixture
def client(docket: Docket, config: Path) -> Docket:
    """docket with a configuration of the test's own."""
    return lambda *arguments, **more: docket(*arguments, DOCKER_CONFIG=str(config.parent), **more)


def write(config: Path, **values: Any) -> None:
    config.parent.mkdir(exist_ok=True)
    config.write_text(json.dumps(values))


def sent(engine: FakeEngine) -> Any:
    """The credentials of the last request."""
    return json.loads(base64.urlsafe_b64decode(engine.requests[-1].headers["x-registry-auth"]))


@pytest.mark.parametrize(
    ("image", "key"),
    [("busybox", HUB), ("user/app:1", HUB), ("host.example:5000/app", "host.example:5000"), ("localhost/app", "localhost"),
     ("old.example/app", "https://old.example/v1/")],
)  # fmt: skip
def test_a_pull_sends_the_registrys_credentials(engine: FakeEngine, client: Docket, config: Path, image: str, key: str) -> None:
    """Those of the image's own registry, found under any of the names that docker writes; never another's."""
    write(config, auths={key: {"auth": PACKED}, "other.example": {"auth": base64.b64encode(b"a:b").decode()}})
    assert client("pull", image).returncode == 0
    assert {name: value for name, value in sent(engine).items() if name != "serveraddress"} == {
        "username": "me", "password": "secret",
    }  # fmt: skip
    assert client("pull", "third.example/app").returncode == 0
    assert sent(engine) == {}


def test_a_push_and_a_search_send_them_too(engine: FakeEngine, client: Docket, config: Path) -> None:
    """The tag goes as a parameter; all tags, as an empty one."""
    write(config, auths={"host.example": {"auth": PACKED}})
    done = client("push", "host.example/app:1")
    assert (done.stdout, engine.requests[-1].query) == ("Pushed\n", {"tag": ["1"]})
    assert sent(engine)["username"] == "me"
    assert client("push", "host.example/app").stdout == "Using default tag: latest\nPushed\n"
    assert client("push", "-q", "app").stdout == "docker.io/library/app:latest\n"
    assert client("push", "-a", "host.example/app:1").returncode == 1
    client("push", "-a", "host.example/app")
    assert engine.requests[-1].query.get("tag", [""]) == [""]
    found = client("search", "host.example/app", "-f", "stars=3")
    assert sent(engine)["username"] == "me"
    assert found.stdout.splitlines()[0].split() == ["NAME", "DESCRIPTION", "STARS", "OFFICIAL"]
    assert found.stdout.splitlines()[1].split()[-2:] == ["7", "[OK]"]
    assert "\x1b" not in client("search", "--no-trunc", "app").stdout


def test_a_login_is_checked_and_kept(engine: FakeEngine, client: Docket, config: Path) -> None:
    """In docker's file, for its owner only; everything else in the file stays."""
    write(config, HttpHeaders={"X": "y"}, auths={"other.example": {"auth": "x"}})
    done = client("login", "-u", "me", "--password-stdin", "host.example", stdin="secret\n")
    assert (done.returncode, done.stdout) == (0, "Login Succeeded\n")
    assert "stored unencrypted" in done.stderr
    assert engine.requests[-1].json() == {"username": "me", "password": "secret", "serveraddress": "host.example"}
    kept = json.loads(config.read_text())
    assert kept == {"HttpHeaders": {"X": "y"}, "auths": {"other.example": {"auth": "x"}, "host.example": {"auth": PACKED}}}
    assert stat.S_IMODE(config.stat().st_mode) == 0o600
    assert client("login", "host.example").stdout == "Login Succeeded\n"
    assert client("logout", "host.example").stdout == "Removing login credentials for host.example\n"
    assert client("logout", "host.example").stdout == "Not logged in to host.example\n"
    assert list(json.loads(config.read_text())["auths"]) == ["other.example"]


def test_an_identity_token_is_kept_instead_of_the_password(engine: FakeEngine, client: Docket, config: Path) -> None:
    """And sent instead of it."""
    engine.on("POST", "/auth", Reply(body={"Status": "Login Succeeded", "IdentityToken": "long-token"}))
    client("login", "-u", "me", "-p", "secret")
    assert "secret" not in config.read_text()
    client("pull", "busybox")
    assert sent(engine)["identitytoken"] == "long-token"


def test_a_refused_login_changes_nothing(engine: FakeEngine, client: Docket, config: Path) -> None:
    """The engine's words are told."""
    engine.on("POST", "/auth", Reply(401, {"message": "login attempt failed"}))
    done = client("login", "-u", "me", "-p", "wrong")
    assert done.returncode == 1
    assert "login attempt failed" in done.stderr
    assert not config.exists()
    assert "non TTY device" in client("login", "-u", "me").stderr
    assert "--username" in client("login", "--password-stdin", stdin="x").stderr


def test_a_credential_helper_is_asked(engine: FakeEngine, client: Docket, config: Path, tmp_path: Path) -> None:
    """By docker's protocol; its own secrets never are in the file."""
    helper = tmp_path / "bin" / "docker-credential-tests"
    helper.parent.mkdir()
    helper.write_text(
        f"#!/bin/sh\nread text\necho \"$1 $text\" >>{tmp_path}/calls\ncase $1 in\n"
        "get) case $text in good.example) echo '{\"Username\":\"me\",\"Secret\":\"secret\"}';;\n"
        "  token.example) echo '{\"Username\":\"<token>\",\"Secret\":\"long\"}';;\n"
        "  *) echo 'credentials not found in native keychain'; exit 1;; esac;;\nesac\n"
    )  # fmt: skip
    helper.chmod(0o755)
    path = f"{helper.parent}:{os.environ['PATH']}"
    write(config, credsStore="tests", credHelpers={"bad.example": "missing", "evil.example": "../evil"})
    assert client("pull", "good.example/app", PATH=path).returncode == 0
    assert sent(engine) == {"username": "me", "password": "secret", "serveraddress": "good.example"}
    client("pull", "token.example/app", PATH=path)
    assert sent(engine) == {"identitytoken": "long", "serveraddress": "token.example"}
    client("pull", "busybox", PATH=path)
    assert sent(engine) == {}
    assert "docker-credential-missing is not in the path" in client("pull", "bad.example/app", PATH=path).stderr
    assert "which is no program's name" in client("pull", "evil.example/app", PATH=path).stderr
    client("login", "-u", "you", "-p", "hidden", "new.example", PATH=path)
    client("logout", "new.example", PATH=path)
    assert "hidden" not in config.read_text()
    calls = (tmp_path / "calls").read_text()
    assert f"get {HUB}\n" in calls
    assert 'store {"ServerURL":"new.example","Username":"you","Secret":"hidden"}\n' in calls
    assert "erase new.example\n" in calls


@pytest.mark.parametrize("text", ["[]", "{", '{"auths":{"https://index.docker.io/v1/":{"auth":"%%%"}}}'])
def test_a_broken_configuration_is_told(client: Docket, config: Path, text: str) -> None:
    """Rather than to pull as nobody."""
    config.parent.mkdir()
    config.write_text(text)
    done = client("pull", "busybox")
    assert done.returncode == 1
    assert "config.json" in done.stderr
