"""Mounts, volumes, ports and environment files, beyond what the comparison with Docker covers."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from docket.cli.create_body import environment
from docket.cli.endpoints import port_settings
from docket.cli.errors import CliError
from docket.cli.mounts import parse_mount, split_csv, volumes_and_binds
from docket.cli.pulling import full_name


@pytest.mark.parametrize(
    ("text", "fields"),
    [("a,b", ["a", "b"]), ('"a,b",c', ["a,b", "c"]), ('"a""b"', ['a"b']), ("a,,b", ["a", "", "b"]), ("", [""])],
)
def test_csv(text: str, fields: list[str]) -> None:
    """Quoted fields keep their commas."""
    assert split_csv(text) == fields


@pytest.mark.parametrize("text", ['a"b', '"a', '"a"b'])
def test_csv_that_is_none(text: str) -> None:
    """Quotes must be whole fields."""
    with pytest.raises(ValueError, match="parse error on line 1"):
        split_csv(text)


def test_mount_defaults_to_a_volume() -> None:
    """No type is a volume."""
    assert parse_mount("dst=/x") == {"Type": "volume", "Target": "/x"}


def test_relative_sources_are_the_clients(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the client knows its working directory; a bare name is a volume and stays."""
    monkeypatch.chdir(tmp_path)
    here = os.getcwd()
    assert volumes_and_binds(["./a:/b", "a:/c", ".:/d", "/e"]) == ({"/e": {}}, [f"{here}/a:/b", "a:/c", f"{here}:/d"])


def test_ports_on_both_sides() -> None:
    """A range maps to a range of the same length."""
    exposed, bindings = port_settings(["127.0.0.1:90-91:80-81"], ["5/udp"])
    assert list(exposed) == ["80/tcp", "81/tcp", "5/udp"]
    assert bindings["81/tcp"] == [{"HostIp": "127.0.0.1", "HostPort": "91"}]


def test_env_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Comments and empty lines are skipped, a byte order mark too; bare names come from here; later settings win."""
    path = tmp_path / "env"
    path.write_text("\ufeff# c\nA=1\n\n  B=2 \nHERE\nGONE\nC=x # y\r\n")
    monkeypatch.setenv("HERE", "yes")
    monkeypatch.delenv("GONE", raising=False)
    assert environment([str(path)], ["A=9", "GONE"]) == ["B=2 ", "HERE=yes", "C=x # y", "A=9", "GONE"]
    path.write_text("a b=1\n")
    with pytest.raises(CliError, match="invalid env file"):
        environment([str(path)], [])


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("busybox", ("docker.io/library/busybox", "latest")),
        ("a/b:v1", ("docker.io/a/b", "v1")),
        ("localhost/a", ("localhost/a", "latest")),
        ("host:5000/a", ("host:5000/a", "latest")),
        ("reg.io/a:t@sha256:ab", ("reg.io/a", "sha256:ab")),
    ],
)
def test_references_in_full(text: str, name: tuple[str, str]) -> None:
    """What the engine is asked to fetch."""
    assert full_name(text) == name
