"""diff, export, cp and commit, by the unmodified docker CLI and by docket's, of containers that run and that do not."""

from __future__ import annotations

import io
import json
import os
import shutil
import stat
import subprocess
import sys
import tarfile
import time
from base64 import b64decode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from docker_daemon import DAEMON, Daemon

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(shutil.which("docker") is None, reason="no docker CLI is installed"),
]

STATES = pytest.mark.parametrize("state", ["created", "running", "stopped"])


def docker_bytes(daemon: Daemon, *arguments: str, stdin: bytes = b"") -> bytes:
    """What the CLI writes, byte for byte."""
    environment = {**os.environ, "DOCKER_HOST": daemon.host}
    done = subprocess.run(
        [*daemon.program, *arguments], input=stdin, env=environment, capture_output=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def container(daemon: Daemon, state: str, *options: str, script: str = "true") -> str:
    """A container in a state; ``script`` has run in it unless it was only created."""
    if state == "created":
        return daemon.out("create", *options, "docket/base", "sh", "-c", script)
    name = daemon.out("run", "-d", *options, "docket/base", "sh", "-c", f"{script}; echo ready; sleep 1000")
    while "ready" not in daemon.out("logs", name):
        pass
    if state == "stopped":
        daemon.out("kill", name)
        daemon.out("wait", name)
    return name


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """docket's own client where it does more than pass an answer on."""
    name = metafunc.function.__name__
    both = name.startswith(("test_cp", "test_diff_tells", "test_export_is", "test_commit_makes"))
    metafunc.parametrize("client", ["docker", "docket"] if both else ["docker"], indirect=True)


@pytest.fixture
def client(daemon: Daemon, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The client that a test is run with; it leaves no container for the next."""
    if request.param == "docket":
        monkeypatch.setattr(daemon, "program", (sys.executable, "-c", DAEMON))
    yield
    for name in daemon.out("ps", "-aq").split():
        daemon.docker("rm", "-f", name)


pytestmark.append(pytest.mark.usefixtures("client"))


# diff


@pytest.mark.parametrize("state", ["running", "stopped"])
def test_diff_tells_what_was_added_changed_and_deleted(daemon: Daemon, state: str) -> None:
    """As Docker does: parents of what came and went are changed too, what the engine mounts on is nobody's change."""
    script = "echo x > /new; mkdir /d; echo y > /d/f; echo z >> /etc/passwd; rm /etc/group; chmod 711 /root"
    name = container(daemon, state, script=script)
    assert sorted(daemon.out("diff", name).splitlines()) == [
        "A /d", "A /d/f", "A /new", "C /etc", "C /etc/passwd", "C /root", "D /etc/group",
    ]  # fmt: skip


def test_diff_of_an_untouched_container_is_empty(daemon: Daemon) -> None:
    """Nothing at all, also after a start that made places to mount on."""
    assert daemon.out("diff", container(daemon, "created")) == ""
    assert daemon.out("diff", container(daemon, "running")) == ""
    assert daemon.request("GET", f"/containers/{container(daemon, 'created')}/changes") == (200, None)


def test_diff_sees_a_directory_that_was_made_again_as_docker_does(daemon: Daemon) -> None:
    """A directory that was removed and made again is changed, and what it has now is added."""
    name = container(daemon, "stopped", script="rm -r /root /tmp; mkdir /root; echo x > /root/f")
    assert sorted(daemon.out("diff", name).splitlines()) == ["A /root/f", "C /root", "D /tmp"]


# export


@STATES
def test_export_is_the_whole_root_and_nothing_mounted_on_it(daemon: Daemon, state: str, tmp_path: Path) -> None:
    """The image's files and the container's own; a bind is an empty directory."""
    (tmp_path / "host").write_text("host")
    options = ("-v", f"{tmp_path}:/bound") if state != "created" else ()
    name = container(daemon, state, *options, script="echo mine > /file; rm /etc/group")
    with tarfile.open(fileobj=io.BytesIO(docker_bytes(daemon, "export", name))) as tar:
        names = {member.name for member in tar}
    assert {"etc/passwd", "bin/sh", "bin"} <= names
    assert not {name for name in names if name.startswith(("proc/", "sys/", "bound/"))}
    assert ("file" in names, "etc/group" in names) == ((False, True) if state == "created" else (True, False))


def test_export_of_an_unknown_container_is_an_error_before_anything_is_sent(daemon: Daemon) -> None:
    """The status tells it, not a broken archive."""
    assert daemon.request("GET", "/containers/nosuch/export") == (404, {"message": "No such container: nosuch"})


# cp out


@STATES
def test_cp_out_brings_files_links_and_directories(daemon: Daemon, state: str, tmp_path: Path) -> None:
    """Contents, modes and times arrive; a link is a link unless -L follows it."""
    name = container(daemon, state)
    daemon.out("cp", f"{name}:/etc/passwd", f"{tmp_path}/copy")
    assert (tmp_path / "copy").read_text().startswith("root:")
    daemon.out("cp", f"{name}:/etc", str(tmp_path))
    assert (tmp_path / "etc/passwd").read_bytes() == (tmp_path / "copy").read_bytes()
    (tmp_path / "into").mkdir()
    daemon.out("cp", f"{name}:/etc/.", f"{tmp_path}/into")
    assert sorted(os.listdir(tmp_path / "into")) == sorted(os.listdir(tmp_path / "etc"))
    with tarfile.open(fileobj=io.BytesIO(docker_bytes(daemon, "cp", f"{name}:/etc/passwd", "-"))) as tar:
        assert tar.getnames() == ["passwd"]


@pytest.mark.parametrize("state", ["running", "stopped"])
def test_cp_follows_links_with_l_only(daemon: Daemon, state: str, tmp_path: Path) -> None:
    """The link leads where it leads the container: an absolute one never into the host."""
    name = container(daemon, state, script="ln -s /etc/passwd /link; ln -s ../../../../etc /dirlink")
    daemon.out("cp", f"{name}:/link", str(tmp_path))
    assert os.readlink(tmp_path / "link") == "/etc/passwd"
    daemon.out("cp", "-L", f"{name}:/link", f"{tmp_path}/followed")
    assert (tmp_path / "followed").read_text() == daemon.out("cp", f"{name}:/etc/passwd", "-")[512:].split("\0")[0]
    daemon.out("cp", f"{name}:/dirlink/", f"{tmp_path}/dir")
    assert "passwd" in os.listdir(tmp_path / "dir")


@pytest.mark.parametrize("state", ["running", "stopped"])
def test_cp_sees_what_the_container_has_mounted(daemon: Daemon, state: str, tmp_path: Path) -> None:
    """A bind is part of the container's files, in both directions."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data/f").write_text("bound")
    name = container(daemon, state, "-v", f"{tmp_path}/data:/mnt/data")
    daemon.out("cp", f"{name}:/mnt/data/f", f"{tmp_path}/out")
    assert (tmp_path / "out").read_text() == "bound"
    daemon.out("cp", f"{tmp_path}/out", f"{name}:/mnt/data/back")
    assert (tmp_path / "data/back").read_text() == "bound"


def test_cp_sees_a_tmpfs_of_a_running_container(daemon: Daemon, tmp_path: Path) -> None:
    """It is looked at through the container's own process."""
    name = container(daemon, "running", "--tmpfs", "/t", script="echo here > /t/f")
    daemon.out("cp", f"{name}:/t/f", f"{tmp_path}/f")
    assert (tmp_path / "f").read_text() == "here\n"


@pytest.mark.parametrize("path", ["/proc/version", "/sys/kernel", "/nosuch", "/etc/nosuch/deep"])
def test_what_is_not_there_is_not_found(daemon: Daemon, path: str) -> None:
    """Docker's text; the kernel's filesystems are not there either, as with Docker."""
    name = container(daemon, "running", "--name", "looked-at")
    status, answer = daemon.request("GET", f"/containers/looked-at/archive?path={path}")
    assert (status, answer) == (404, {"message": f"Could not find the file {path} in container looked-at"})
    assert name


def test_head_tells_dockers_stat(daemon: Daemon) -> None:
    """Go's mode bits, and where a link leads in the end."""
    name = container(daemon, "stopped", script="ln -s lnk2 /lnk; ln -s /etc/../etc/passwd /lnk2; chmod 1777 /root")
    assert _stat(daemon, name, "/root") == {"name": "root", "mode": 1 << 31 | 1 << 20 | 0o777}
    assert _stat(daemon, name, "/lnk", "linkTarget")["linkTarget"] == "/etc/passwd"
    assert _stat(daemon, name, "/lnk/../etc/")["name"] == "etc"


def _stat(daemon: Daemon, name: str, path: str, *more: str) -> dict[str, Any]:
    import http.client

    from docker_daemon import _Connection

    connection: http.client.HTTPConnection = _Connection(f"{daemon.root}/docket.sock")
    try:
        connection.request("HEAD", f"/containers/{name}/archive?path={path}")
        answer = connection.getresponse()
        assert answer.status == 200
        told = json.loads(b64decode(answer.headers["X-Docker-Container-Path-Stat"]))
    finally:
        connection.close()
    assert set(told) == {"name", "size", "mode", "mtime", "linkTarget"}
    return {key: told[key] for key in ("name", "mode", *more)}


# cp in


@STATES
def test_cp_in_puts_files_and_directories(daemon: Daemon, state: str, tmp_path: Path) -> None:
    """What was copied in comes out again, with mode and owner."""
    name = container(daemon, state)
    (tmp_path / "tree/sub").mkdir(parents=True)
    (tmp_path / "tree/sub/f").write_text("content")
    (tmp_path / "tree/sub/f").chmod(0o750)
    (tmp_path / "tree/link").symlink_to("sub/f")
    daemon.out("cp", f"{tmp_path}/tree", f"{name}:/root")
    daemon.out("cp", f"{name}:/root/tree", f"{tmp_path}/back")
    status = (tmp_path / "back/sub/f").stat()
    assert ((tmp_path / "back/sub/f").read_text(), stat.S_IMODE(status.st_mode), status.st_uid) == ("content", 0o750, 0)
    assert os.readlink(tmp_path / "back/link") == "sub/f"
    daemon.out("cp", f"{tmp_path}/tree/.", f"{name}:/root")
    daemon.out("cp", f"{tmp_path}/tree/sub/f", f"{name}:/root/renamed")
    assert "renamed" in docker_bytes(daemon, "cp", f"{name}:/root/renamed", "-").decode("latin-1")
    if state == "running":
        assert daemon.out("exec", name, "cat", "/root/sub/f", "/root/renamed") == "contentcontent"
    elif state == "created":
        daemon.out("start", name)


def test_cp_in_reads_an_archive_from_stdin(daemon: Daemon) -> None:
    """``docker cp - c:/dir``, plain and compressed."""
    name = container(daemon, "running")
    for mode in ("w", "w:gz", "w:xz", "w:bz2"):
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode=mode) as tar:  # type: ignore[call-overload]
            member = tarfile.TarInfo(f"s/{mode[2:]}.txt")
            member.size, member.uid = 3, 7
            tar.addfile(member, io.BytesIO(b"abc"))
        docker_bytes(daemon, "cp", "-", f"{name}:/root", stdin=buffer.getvalue())
        assert daemon.out("exec", name, "stat", "-c", "%u %s", f"/root/s/{mode[2:]}.txt") == "7 3"


def test_cp_in_is_refused_with_dockers_texts(daemon: Daemon, tmp_path: Path) -> None:
    """A read-only root, a read-only mount, a file where a directory should be, a directory over a file."""
    (tmp_path / "f").write_text("x")
    (tmp_path / "data").mkdir()
    (tmp_path / "d").mkdir()
    for state in ("running", "stopped"):
        name = container(daemon, state, "--read-only", "-v", f"{tmp_path}/data:/mnt/ro:ro", "-v", f"{tmp_path}/d:/mnt/rw")
        assert "container rootfs is marked read-only" in daemon.docker("cp", f"{tmp_path}/f", f"{name}:/root/").stderr
        assert "mounted volume is marked read-only" in daemon.docker("cp", f"{tmp_path}/f", f"{name}:/mnt/ro/").stderr
        assert daemon.docker("cp", f"{tmp_path}/f", f"{name}:/mnt/rw/").returncode == 0
    name = container(daemon, "running")
    assert "no such directory" in daemon.docker("cp", f"{tmp_path}/f", f"{name}:/nosuch/deep/").stderr
    missing = daemon.docker("cp", f"{tmp_path}/f", f"{name}:/nosuch/deep").stderr
    assert (
        "Could not find the file" in missing or "No such container:path" in missing
    )  # docker CLIs before 23 say it themselves
    status, answer = daemon.request("PUT", f"/containers/{name}/archive?path=/etc/passwd")
    assert (status, answer) == (400, {"message": "extraction point is not a directory"})
    status, answer = daemon.request("PUT", f"/containers/{name}/archive?path=/nosuch")
    assert (status, answer) == (404, {"message": f"Could not find the file /nosuch in container {name}"})
    refused = daemon.docker("cp", f"{tmp_path}/d", f"{name}:/etc/passwd")
    assert "cannot copy directory" in refused.stderr or "cannot overwrite" in refused.stderr


def test_cp_in_keeps_the_containers_user_when_asked(daemon: Daemon, tmp_path: Path) -> None:
    """``-a`` gives the files to the user that the container runs as, as Docker does."""
    (tmp_path / "f").write_text("x")
    name = container(daemon, "running", "-u", "1234:99")
    daemon.out("cp", "-a", f"{tmp_path}/f", f"{name}:/tmp")
    assert daemon.out("exec", name, "stat", "-c", "%u:%g", "/tmp/f") == "1234:99"


def test_a_start_waits_until_nothing_is_copied(daemon: Daemon, tmp_path: Path) -> None:
    """One writable layer is never under two mounts that are written through."""
    name = container(daemon, "stopped")
    (tmp_path / "big").write_bytes(b"x" * 20_000_000)
    environment = {**os.environ, "DOCKER_HOST": daemon.host}
    with subprocess.Popen([*daemon.program, "cp", f"{tmp_path}/big", f"{name}:/root/big"], env=environment) as copying:
        daemon.out("start", name)
        assert copying.wait(60) == 0
    assert daemon.out("exec", name, "stat", "-c", "%s", "/root/big") == "20000000"


def test_docker_py_gets_and_puts(daemon: Daemon) -> None:
    """The SDK's own calls."""
    import docker

    client = docker.DockerClient(base_url=daemon.host)
    found = client.containers.get(container(daemon, "running", script="echo x > /new"))
    stream, told = found.get_archive("/etc/passwd")
    assert (told["name"], bool(b"".join(stream))) == ("passwd", True)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("made"))
    assert found.put_archive("/root", buffer.getvalue())
    assert {"Path": "/root/made", "Kind": 1} in found.diff()
    assert b"".join(found.export())
    client.close()


# commit


def image(daemon: Daemon, name: str) -> dict[str, Any]:
    """What an image says of itself."""
    found: dict[str, Any] = json.loads(daemon.out("image", "inspect", name))[0]
    return found


@STATES
def test_commit_makes_an_image_of_what_changed(daemon: Daemon, state: str) -> None:
    """Its containers see what was added and changed, and not what was deleted; what the container was told is in the image."""
    name = container(daemon, state, "-e", "A=b", "-l", "k=v", "-w", "/root", script="echo x > /new; rm /etc/group")
    made = daemon.out("commit", "-a", "me", "-m", "why", "-c", 'CMD ["cat", "/new"]', "-c", "ENV C=d", name, "made:1")
    found = image(daemon, "made:1")
    assert (found["Id"], found["RepoTags"], found["Author"], found["Comment"]) == (made, ["made:1"], "me", "why")
    assert {"C=d", "A=b"} <= set(found["Config"]["Env"])
    assert (found["Config"]["WorkingDir"], found["Config"]["Labels"]["k"]) == ("/root", "v")
    assert found["Config"]["Cmd"] == ["cat", "/new"]
    layers = image(daemon, "docket/base")["RootFS"]["Layers"]
    assert found["RootFS"]["Layers"][: len(layers)] == layers
    assert len(found["RootFS"]["Layers"]) - len(layers) == (0 if state == "created" else 1)
    if state != "created":
        assert daemon.out("run", "--rm", "made:1") == "x"
        assert daemon.docker("run", "--rm", "made:1", "ls", "/etc/group").returncode != 0
    if state == "running":
        assert daemon.out("exec", name, "echo", "alive") == "alive"


def test_an_image_of_an_image_of_an_image(daemon: Daemon) -> None:
    """Each commit adds a layer; deleted directories that came back show their own files only."""
    steps = [
        "mkdir /d; echo 1 > /d/one",
        "rm -r /d; mkdir /d; echo 2 > /d/two",
        "echo 3 > /d/three; mv /d /e",
        "ln /e/two /e/same",
    ]
    parent = "docket/base"
    for number, step in enumerate(steps):
        name = daemon.out("run", "-d", parent, "sh", "-c", step)
        assert daemon.out("wait", name) == "0"
        parent = f"stack:{number}"
        daemon.out("commit", name, parent)
    look = "ls /e; stat -c %h /e/two; ls -d /d 2>/dev/null || true"
    assert daemon.out("run", "--rm", parent, "sh", "-c", look).split() == ["same", "three", "two", "2"]
    layers = image(daemon, parent)["RootFS"]["Layers"]
    assert len(layers) == len(image(daemon, "docket/base")["RootFS"]["Layers"]) + 4


def test_equal_changes_are_equal_layers(daemon: Daemon) -> None:
    """The same content has the same digest, in whichever container."""
    layers = []
    for number in range(2):
        name = container(daemon, "stopped", script="mkdir /d; echo x > /d/f; touch -d @1000000000 /d/f /d")
        daemon.out("commit", name, f"same:{number}")
        layers.append(image(daemon, f"same:{number}")["RootFS"]["Layers"][-1])
    assert layers[0] == layers[1]


def test_commit_freezes_meanwhile_and_leaves_a_paused_container_paused(daemon: Daemon) -> None:
    """As Docker does; ``--pause=false`` does not freeze."""
    name = container(daemon, "running", script="echo x > /f")
    daemon.out("commit", "--pause=false", name)
    daemon.out("commit", name)
    assert daemon.out("inspect", "-f", "{{.State.Status}}", name) == "running"
    daemon.out("pause", name)
    daemon.out("commit", name)
    assert daemon.out("inspect", "-f", "{{.State.Status}}", name) == "paused"
    daemon.out("unpause", name)


def test_a_commit_is_told_to_those_who_watch(daemon: Daemon) -> None:
    """Docker's message, with the image and its name; the pause around it is told too."""
    name = container(daemon, "running")
    made = daemon.out("commit", "-m", "why", name, "told:1")
    until = str(int(time.time()) + 1)
    lines = daemon.out("events", "--since", "1", "--until", until, "--filter", f"container={name}", "--format", "{{json .}}")
    messages = [json.loads(line) for line in lines.splitlines()]
    assert [each["Action"] for each in messages][-3:] == ["pause", "unpause", "commit"]
    commit = next(each for each in messages if each["Action"] == "commit")
    attributes = commit["Actor"]["Attributes"]
    assert (attributes["imageID"], attributes["comment"]) == (made, "why")
    assert attributes["imageRef"].endswith("told:1")


def test_commit_of_the_unknown_is_refused(daemon: Daemon) -> None:
    """With Docker's texts; a wrong change before anything is done."""
    assert "No such container: nosuch" in daemon.docker("commit", "nosuch").stderr
    name = container(daemon, "created")
    refused = daemon.docker("commit", "-c", "RUN x", name)
    assert refused.returncode != 0
    assert "RUN is not a valid change command" in refused.stderr


def test_docker_py_commits(daemon: Daemon) -> None:
    """With the config that the SDK sends along."""
    import docker

    client = docker.DockerClient(base_url=daemon.host)
    made = client.containers.get(container(daemon, "running", script="echo x > /f")).commit(
        "py", "1", message="m", author="a", changes=["LABEL x=y"], conf={"Cmd": ["cat", "/f"], "User": "7"}
    )
    assert (made.tags, made.labels["x"], made.attrs["Config"]["User"]) == (["py:1"], "y", "7")
    client.close()
