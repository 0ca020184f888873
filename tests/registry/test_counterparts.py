"""Images go through Debian's registry between docket and podman, skopeo and docker, both ways, and keep their digests and ids."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from counterparts import dockerd, needs, podman, run, short_directory
from docker_daemon import Daemon
from tests.registry.debian import DebianRegistry, needs_registry

pytestmark = [pytest.mark.root, pytest.mark.long, needs_registry, needs("docker")]
PLAIN = ("--tls-verify=false",)
ID = "{{.Id}}"


class Pushed(NamedTuple):
    """What docket pushed: an image of two layers, one of them packed by docket, with a file changed and one removed."""

    name: str
    image: str
    digest: str
    diff_ids: str


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    running = Daemon(tmp_path_factory.mktemp("docket"))
    yield running
    running.stop()


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    running = DebianRegistry(tmp_path_factory.mktemp("registry"))
    yield running.host
    running.close()


@pytest.fixture(scope="module")
def pushed(daemon: Daemon, registry: str) -> Pushed:
    name = f"{registry}/from/docket:1"
    daemon.out("run", "--name", "maker", "docket/base", "sh", "-c", "echo new > /etc/new; echo x >> /etc/passwd; rm /etc/group")
    daemon.out("commit", "maker", name)
    daemon.out("rm", "maker")
    told = daemon.out("push", name)
    digest = told.split("digest: ", 1)[1].split()[0]
    return Pushed(name, daemon.out("image", "inspect", "-f", ID, name), digest, _diff_ids(daemon, name))


@pytest.fixture
def short() -> Iterator[Path]:
    with short_directory() as path:
        yield path


def _diff_ids(engine: Daemon, name: str) -> str:
    return engine.out("image", "inspect", "-f", "{{json .RootFS.Layers}}", name)


def _comes_back(daemon: Daemon, name: str, pushed: Pushed) -> str:
    """docket pulls what another engine pushed: the same image, which runs. Returns the digest that docket knows it by."""
    daemon.out("rmi", "-f", pushed.name)
    daemon.out("pull", "-q", name)
    assert daemon.out("image", "inspect", "-f", ID, name) == pushed.image
    assert _diff_ids(daemon, name) == pushed.diff_ids
    assert daemon.out("run", "--rm", name, "cat", "/etc/new") == "new"
    assert daemon.docker("run", "--rm", name, "ls", "/etc/group").returncode == 1
    known = json.loads(daemon.out("image", "inspect", "-f", "{{json .RepoDigests}}", name))
    repository = name.rpartition(":")[0]
    digest = next(each.partition("@")[2] for each in known if each.startswith(f"{repository}@"))
    daemon.out("rmi", name)
    daemon.out("pull", "-q", pushed.name)
    return str(digest)


def _digest_at_registry(name: str) -> str:
    return run("skopeo", "inspect", *PLAIN, "--format", "{{.Digest}}", f"docker://{name}")


@needs("podman", "skopeo")
def test_podman_pulls_and_pushes(daemon: Daemon, pushed: Pushed, registry: str, tmp_path: Path, short: Path) -> None:
    """podman has the image by docket's id and digest. It packs the layers anew, so what it pushes is the same image by another
    digest, and docket has that one."""
    other = podman(tmp_path, short)
    name = f"{registry}/from/podman:1"
    run(*other, "pull", "-q", *PLAIN, pushed.name)
    assert run(*other, "image", "inspect", "-f", ID, pushed.name) == pushed.image[7:]
    assert pushed.digest in run(*other, "image", "inspect", "-f", "{{.RepoDigests}}", pushed.name)
    assert json.loads(run(*other, "image", "inspect", "-f", "{{json .RootFS.Layers}}", pushed.name)) == json.loads(
        pushed.diff_ids
    )
    run(*other, "push", "-q", *PLAIN, pushed.name, name)
    assert _comes_back(daemon, name, pushed) == _digest_at_registry(name)


@needs("skopeo", "umoci")
def test_skopeo_copies_both_ways(daemon: Daemon, pushed: Pushed, registry: str, tmp_path: Path) -> None:
    """Into a layout, which umoci reads, and out of it again: the digest is docket's all the way, as long as nothing is packed."""
    name, layout = f"{registry}/from/skopeo:1", tmp_path / "layout"
    copy = ("skopeo", "copy", "-q", "--preserve-digests", "--src-tls-verify=false", "--dest-tls-verify=false")
    run(*copy, f"docker://{pushed.name}", f"oci:{layout}:one")
    assert pushed.digest in (layout / "index.json").read_text()
    run("umoci", "unpack", "--image", f"{layout}:one", tmp_path / "bundle")
    assert (tmp_path / "bundle/rootfs/etc/new").read_text() == "new\n"
    assert not (tmp_path / "bundle/rootfs/etc/group").exists()
    run(*copy, f"oci:{layout}:one", f"docker://{name}")
    assert _comes_back(daemon, name, pushed) == pushed.digest


@needs("dockerd", "skopeo")
def test_docker_pulls_and_pushes(daemon: Daemon, pushed: Pushed, registry: str, short: Path) -> None:
    """dockerd has the image by docket's id and digest; docket has it again from dockerd."""
    name = f"{registry}/from/docker:1"
    with dockerd(short, ("--mount",)) as docker:
        docker.out("pull", "-q", pushed.name)
        assert docker.out("image", "inspect", "-f", ID, pushed.name) == pushed.image
        assert pushed.digest in docker.out("image", "inspect", "-f", "{{.RepoDigests}}", pushed.name)
        assert _diff_ids(docker, pushed.name) == pushed.diff_ids
        docker.out("tag", pushed.name, name)
        docker.out("push", "-q", name)
    assert _comes_back(daemon, name, pushed) == _digest_at_registry(name)
