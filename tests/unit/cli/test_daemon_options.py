"""The daemon's options: dockerd's names, rules and sentences, from flags and from a file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from docket.cli.commands.daemon import DAEMON
from docket.cli.daemon_options import DaemonOptions, OptionsRefused, read_options
from docket.cli.options import parse
from docket.domain.model.container.spec import Ulimit


@pytest.fixture(autouse=True)
def no_settings_of_the_testers(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", "/home/me")


def read(tmp_path: Path, *words: str, file: Any = None) -> DaemonOptions:
    """Reads a command line; ``file`` becomes the configuration file."""
    path = tmp_path / "daemon.json"
    path.write_text(file if isinstance(file, str) else json.dumps(file or {}))
    options = parse(DAEMON, ["--config-file", str(path), *words])
    flags = options.as_dict()
    return read_options(flags, frozenset(name for name in flags if options.given(name)))


def refused(tmp_path: Path, *words: str, file: Any = None) -> str:
    with pytest.raises(OptionsRefused) as caught:
        read(tmp_path, *words, file=file)
    return str(caught.value).removeprefix(f"unable to configure the Docker daemon with file {tmp_path}/daemon.json: ")


def test_nothing_said_is_dockets_defaults(tmp_path: Path) -> None:
    """One unix socket, the usual directories, output limited to 10 MB × 3 (security.md, section 2)."""
    options = read(tmp_path)
    assert options.hosts == ("unix:///run/docket/docket.sock",)
    assert (options.data_root, options.exec_root) == ("/var/lib/docket", "/run/docket")
    assert not (options.tls or options.tlsverify or options.insecure_tcp or options.settings.no_new_privileges)
    assert (options.settings.log_max_bytes, options.settings.log_files) == (10_000_000, 3)
    assert options.settings.shm_bytes == 64 << 20


@pytest.mark.parametrize(
    ("words", "key"),
    [
        (("--label", "z=y"), {"labels": ["a=b"]}), (("-H", "unix:///a"), {"hosts": ["fd://"]}), (("-D",), {"debug": True}),
        (("--insecure-registry", "a"), {"insecure-registries": []}), (("--registry-mirror", "http://a"), {"registry-mirrors": []}),
        (("--default-ulimit", "core=1"), {"default-ulimits": {}}), (("--log-opt", "max-file=1"), {"log-opts": {}}),
        (("--data-root", "/a"), {"data-root": "/b"}), (("--tlsverify",), {"tlsverify": False}),
        (("-l", "info"), {"log-level": "info"}),
    ],
)  # fmt: skip
def test_an_option_stands_in_one_place(tmp_path: Path, words: tuple[str, ...], key: dict[str, Any]) -> None:
    """A flag and a key for the same thing: nobody could know which one counts."""
    text = refused(tmp_path, *words, file=key)
    assert text.startswith(
        f"the following directives are specified both as a flag and in the configuration file: {next(iter(key))}: ("
    )


def test_conflicts_read_as_dockerds_do(tmp_path: Path) -> None:
    """Both values are shown as Go prints them."""
    assert refused(tmp_path, "--label", "z=y", file={"labels": ["a=b", "c=d"]}).endswith(
        "labels: (from flag: [z=y], from file: [a=b c=d])"
    )
    assert refused(tmp_path, "--debug", file={"debug": False}).endswith("debug: (from flag: true, from file: false)")


def test_unknown_keys_are_all_named(tmp_path: Path) -> None:
    """Also keys that dockerd knows and docket does not: what is ignored would be believed."""
    assert refused(tmp_path, file={"foo": 1, "labels": [], "bip": "10.0.0.1/8"}) == (
        "the following directives don't match any configuration option: bip, foo"
    )


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("{bad", "not valid JSON: "),
        ("[]", "not a JSON object"),
        ('{"debug": true, "debug": false}', "not valid JSON: key 'debug' stands twice in one object"),
        ({"debug": "yes"}, "debug must be true or false"),
        ({"labels": "a=b"}, "labels must be a list of strings"),
        ({"labels": [1]}, "labels must be a list of strings"),
        ({"hosts": {}}, "hosts must be a list of strings"),
        ({"log-opts": {"max-size": 1}}, "log-opts must be an object of strings"),
        ({"shutdown-timeout": True}, "shutdown-timeout must be a number of seconds"),
        ({"default-shm-size": []}, "default-shm-size must be a size such as 64m"),
        ({"live-restore": False}, "live-restore: false is not supported, only true"),
        ({"log-driver": "syslog"}, "log-driver: syslog is not supported, only json-file"),
        ({"log-opts": {"foo": "1"}}, "failed to set log opts: unknown log opt 'foo' for json-file log driver"),
        ({"log-opts": {"max-file": "0"}}, "max-file cannot be 0: "),
        ({"log-opts": {"max-size": "-1"}}, "invalid size: '-1'"),
        ({"log-level": "foo"}, "invalid logging level: foo"),
        ({"labels": ["ab"]}, "bad attribute format: ab"),
        ({"labels": ["a=b", "a=c"]}, "conflict labels for a=c and a=b"),
        ({"insecure-registries": ["a b"]}, 'insecure registry a b is not valid: invalid host "a b"'),
        ({"insecure-registries": ["a:99999"]}, 'insecure registry a:99999 is not valid: invalid port "99999"'),
        ({"insecure-registries": ["ftp://x"]}, "insecure registry ftp://x should not contain '://'"),
        ({"insecure-registries": ["x/y"]}, "insecure registry x/y is not valid: name a host"),
        ({"registry-mirrors": ["ftp://x"]}, 'invalid mirror: unsupported scheme "ftp" in "ftp://x"'),
        ({"registry-mirrors": ["http://x/y"]}, 'invalid mirror: path, query, or fragment at end of the URI "http://x/y"'),
        ({"registry-mirrors": ["http://u:p@x"]}, 'invalid mirror: "http://u:p@x" needs a host, and takes no user'),
        ({"default-ulimits": {"foo": {"Name": "foo", "Soft": 1, "Hard": 1}}}, "invalid ulimit type: foo"),
        ({"default-ulimits": {"core": {"Name": "nofile"}}}, 'default-ulimits: core must be an object with "Name"'),
        ({"default-shm-size": "x"}, "invalid size: 'x'"),
        ({"recordings-max-size": "x"}, "invalid size: 'x'"),
        ({"recordings-max-days": 0}, "recordings-max-days must be 1 or more, not 0: recordings-max-size 0 keeps none"),
        ({"recordings-max-days": "7"}, "recordings-max-days must be a number of days"),
        ({"log-retention-events": -1}, "log-retention-events must be 0 or more, not -1: 0 keeps all"),
        ({"log-retention-days": "7"}, "log-retention-days must be a number of days"),
        ({"log-retention-size": "x"}, "invalid size: 'x'"),
        ({"exec-opts": ["native.cgroupdriver=none"]}, "native.cgroupdriver option none is invalid: use cgroupfs or systemd"),
        ({"exec-opts": ["x"]}, "unable to parse exec-opt 'x'"),
        ({"exec-opts": ["a=b"]}, "invalid exec-opt 'a'"),
        ({"exec-opts": ["native.cgroupdriver=systemd"], "cgroup-parent": "/a"}, "cgroup-parent for systemd cgroup should be"),
        ({"shutdown-timeout": -1}, "invalid shutdown timeout -1"),
    ],
)
def test_wrong_values_are_refused(tmp_path: Path, file: Any, text: str) -> None:
    """One line, in dockerd's words where it has some."""
    assert refused(tmp_path, file=file).startswith(text)


def test_a_wrong_flag_ends_with_125(tmp_path: Path) -> None:
    """As pflag's own complaints do; a wrong file ends with 1."""
    with pytest.raises(OptionsRefused) as caught:
        read(tmp_path, "--label", "ab")
    assert (str(caught.value), caught.value.status) == (
        'invalid argument "ab" for "--label" flag: bad attribute format: ab',
        125,
    )


def test_a_file_that_was_named_must_be_there(tmp_path: Path) -> None:
    """The default one need not be."""
    flags = parse(DAEMON, []).as_dict()
    missing = {**flags, "config-file": f"{tmp_path}/nosuch.json"}
    assert read_options(missing, frozenset()).config_file == ""
    with pytest.raises(OptionsRefused, match=rf"open {tmp_path}/nosuch\.json: no such file or directory"):
        read_options(missing, frozenset({"config-file"}))


def test_an_empty_file_and_a_byte_order_mark_are_fine(tmp_path: Path) -> None:
    """Editors leave both; dockerd takes both."""
    assert read(tmp_path, file='\ufeff{"labels": ["a=b"]}').settings.labels == ("a=b",)
    assert read(tmp_path, file="").settings.labels == ()


def test_values_are_brought_into_one_form(tmp_path: Path) -> None:
    """What two spellings mean is the same to everybody who asks later."""
    settings = read(
        tmp_path,
        file={
            "insecure-registries": ["HTTP://Reg:5000", "reg:5000", "10.1.2.3/8", "[::1]:5000", "fd00::/8"],
            "registry-mirrors": ["https://m", "https://m/"], "labels": ["a=b", "a=b"], "default-shm-size": 1048576,
            "default-ulimits": {"nofile": {"Name": "nofile", "Soft": 1, "Hard": 2}},
            "log-opts": {"max-size": "1m", "max-file": "5"},
        },
    ).settings  # fmt: skip
    assert settings.insecure_registries == ("reg:5000", "10.0.0.0/8", "[::1]:5000", "fd00::/8")
    assert settings.registry_mirrors == ("https://m/",)
    assert settings.labels == ("a=b",)
    assert settings.ulimits == (Ulimit("nofile", 1, 2),)
    assert (settings.shm_bytes, settings.log_max_bytes, settings.log_files) == (1 << 20, 1 << 20, 5)


@pytest.mark.parametrize(
    ("words", "hosts"),
    [
        (("-H", "unix://"), "unix:///run/docket/docket.sock"),
        (("-H", "tcp://"), "tcp://127.0.0.1:2375"),
        (("-H", "tcp://", "--tlsverify"), "tcp://127.0.0.1:2376"),
        (("-H", "0.0.0.0:5000"), "tcp://0.0.0.0:5000"),
        (("-H", "tcp://:5000"), "tcp://127.0.0.1:5000"),
        (("-H", "tcp://[::1]"), "tcp://[::1]:2375"),
        (("-H", "tcp://[::1]:1"), "tcp://[::1]:1"),
        (("-H", "fd://"), "fd://"),
    ],
)
def test_addresses_are_completed_as_dockerd_does(tmp_path: Path, words: tuple[str, ...], hosts: str) -> None:
    """A missing host is the loopback, never every interface."""
    assert read(tmp_path, *words).hosts == (hosts,)


def test_tls_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """--tlsverify is TLS, files that are not named have their usual places, and --tls trusts nobody's certificate."""
    options = read(tmp_path, "--tlsverify", "--tlskey", "/k")
    assert (options.tls, options.tlscacert, options.tlscert, options.tlskey) == (
        True, "/home/me/.docket/ca.pem", "/home/me/.docket/cert.pem", "/k",
    )  # fmt: skip
    monkeypatch.setenv("DOCKER_CERT_PATH", "/certs")
    options = read(tmp_path, file={"tls": True})
    assert (options.tls, options.tlsverify, options.tlscacert, options.tlscert) == (True, False, "", "/certs/cert.pem")
    monkeypatch.setenv("DOCKER_TLS_VERIFY", "1")
    assert read(tmp_path).tlsverify
    assert not read(tmp_path, file={"tlsverify": False}).tlsverify


def test_debug_is_the_debug_level(tmp_path: Path) -> None:
    """Either word turns it on, and `info` shows it."""
    for words in (("-D",), ("-l", "debug"), ("-D", "-l", "error")):
        settings = read(tmp_path, *words).settings
        assert (settings.debug, settings.log_level) == (True, "debug")
