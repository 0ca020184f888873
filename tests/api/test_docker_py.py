"""docker-py 7 against a real daemon: containers, execs, images, events and the engine itself."""

from __future__ import annotations

import io
import shutil
import socket
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import docker
import pytest
from docker_daemon import Daemon
from stream_clients import IMAGE, connect

pytestmark = [pytest.mark.root]

SLEEP = ["sleep", "1000"]


@pytest.fixture(scope="module")
def client(daemon: Daemon) -> Iterator[docker.DockerClient]:
    with connect(daemon) as made:
        yield made


@pytest.fixture
def sleeper(client: docker.DockerClient) -> Iterator[docker.models.containers.Container]:
    made = client.containers.run(IMAGE, SLEEP, detach=True)
    yield made
    try:
        made.remove(force=True)
    except docker.errors.NotFound:
        pass


def refused(status: int, text: str, act: Callable[[], Any]) -> None:
    with pytest.raises(docker.errors.APIError) as caught:
        act()
    assert caught.value.status_code == status
    assert text in str(caught.value.explanation)


# The engine.


def test_ping_version_and_info(client: docker.DockerClient) -> None:
    """What a client asks first: is anybody there, which version is spoken, what is the host."""
    assert client.ping()
    version = client.version()
    assert (version["ApiVersion"], version["MinAPIVersion"], version["Os"]) == ("1.50", "1.24", "linux")
    info = client.info()
    assert (info["OSType"], info["CgroupVersion"], info["LoggingDriver"]) == ("linux", "2", "json-file")
    assert info["NCPU"] > 0
    assert info["MemTotal"] > 0


@pytest.mark.parametrize("version", ["1.24", "1.35", "1.41", "1.44", "1.50"])
def test_older_clients_keep_their_version(daemon: Daemon, version: str) -> None:
    """Every path works with the client's own version in it."""
    api = docker.APIClient(base_url=daemon.host, version=version)
    made = api.create_container(IMAGE, ["true"])["Id"]
    api.start(made)
    assert api.wait(made)["StatusCode"] == 0
    api.remove_container(made)
    api.close()


def test_versions_outside_the_range_are_refused_in_dockers_words(daemon: Daemon) -> None:
    """Both ways, as an ordinary error."""
    for path, text in (
        ("/v1.99/info", "client version 1.99 is too new. Maximum supported API version is 1.50"),
        ("/v1.12/info", "client version 1.12 is too old. Minimum supported API version is 1.24"),
    ):
        status, answer = daemon.request("GET", path)
        assert status == 400
        assert answer["message"].startswith(text)
    for method, path in (("GET", "/nothing"), ("PUT", "/info"), ("GET", "/v1.45/containers")):
        assert daemon.request(method, path) == (404, {"message": "page not found"})


def test_swarm_is_not_there_in_the_way_that_clients_know(client: docker.DockerClient) -> None:
    """docker-py's own tests leave a swarm after each test, and fail on anything but 503 or 406."""
    assert client.api.leave_swarm(force=True)
    refused(503, "This node is not part of a swarm", client.api.leave_swarm)
    refused(503, "This node is not part of a swarm", client.api.inspect_swarm)


def test_connections_are_kept_and_used_side_by_side(daemon: Daemon) -> None:
    """Ten threads share a client's pool: 200 requests, errors among them, each with its own answer."""
    with connect(daemon) as client:
        failures: list[str] = []

        def work(number: int) -> None:
            for turn in range(10):
                name = f"worker-{number}-{turn}"
                made = client.containers.create(IMAGE, ["true"], name=name)
                if client.containers.get(name).id != made.id:
                    failures.append(name)
                try:
                    client.containers.create("no/such:image", ["true"])
                    failures.append(f"{name}: created")
                except docker.errors.ImageNotFound:
                    pass
                made.remove()

        workers = [threading.Thread(target=work, args=(number,)) for number in range(10)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        assert not failures


def test_a_kept_connection_survives_errors_with_bodies(daemon: Daemon) -> None:
    """An error leaves the body read: the next request on the connection is understood."""
    body = b'{"Image": "no/such", "Cmd": "' + b"x" * 100_000 + b'"}'
    request = (
        b"POST /v1.45/containers/create HTTP/1.1\r\nHost: d\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    )
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(30)
    connection.connect(f"{daemon.root}/docket.sock")
    for _ in range(3):
        connection.sendall(request % len(body) + body)
        answer = b""
        while not answer.endswith(b"}\n"):
            answer += connection.recv(65_536)
        assert answer.startswith(b"HTTP/1.1 404 ")
    connection.close()


# The life of a container.


def test_run_returns_what_was_written(client: docker.DockerClient) -> None:
    """The simplest use, with and without the other stream."""
    assert client.containers.run(IMAGE, ["echo", "hello"], remove=True) == b"hello\n"
    both = client.containers.run(
        IMAGE, ["sh", "-c", "echo out; sleep 0.1; echo err >&2"], remove=True, stdout=True, stderr=True
    )
    assert both == b"out\nerr\n"
    assert list(client.containers.run(IMAGE, ["sh", "-c", "echo a; echo b"], stream=True)) == [b"a\n", b"b\n"]


def test_run_raises_with_the_exit_code_and_the_error_output(client: docker.DockerClient) -> None:
    """`ContainerError` carries both."""
    with pytest.raises(docker.errors.ContainerError) as caught:
        client.containers.run(IMAGE, ["sh", "-c", "echo bad >&2; exit 4"], remove=True)
    assert (caught.value.exit_status, caught.value.stderr) == (4, b"bad\n")
    with pytest.raises(docker.errors.ImageNotFound, match="No such image: no/such:latest"):
        client.api.create_container("no/such:latest", ["true"])
    refused(400, "executable file not found in $PATH", lambda: client.containers.run(IMAGE, ["nosuch"], remove=True))


def test_states_follow_what_is_asked(client: docker.DockerClient, sleeper: docker.models.containers.Container) -> None:
    """pause, unpause, restart, stop, start, kill: each shows in the next inspect."""

    def status() -> str:
        sleeper.reload()
        return str(sleeper.status)

    assert status() == "running"
    sleeper.pause()
    assert status() == "paused"
    sleeper.unpause()
    assert status() == "running"
    before = sleeper.attrs["State"]["Pid"]
    sleeper.restart(timeout=0)
    assert (status(), sleeper.attrs["State"]["Pid"] != before) == ("running", True)
    sleeper.stop(timeout=0)
    assert (status(), sleeper.attrs["State"]["ExitCode"]) == ("exited", 137)
    sleeper.start()
    sleeper.kill(signal="SIGKILL")
    sleeper.wait()
    assert (status(), sleeper.attrs["State"]["ExitCode"]) == ("exited", 137)
    assert sleeper.attrs["State"]["FinishedAt"] > sleeper.attrs["State"]["StartedAt"]


def test_wrong_states_are_conflicts_and_repetitions_are_not(
    client: docker.DockerClient, sleeper: docker.models.containers.Container
) -> None:
    """304 for start and stop of what is so already; 409 with Docker's text for the rest."""
    api, key = client.api, sleeper.id
    assert api._post(api._url("/containers/{0}/start", key)).status_code == 304
    refused(409, f"Container {key} is not paused", sleeper.unpause)
    refused(409, "container is running: stop the container before removing or force remove", sleeper.remove)
    sleeper.pause()
    refused(409, f"Container {key} is already paused", sleeper.pause)
    refused(409, f"Container {key} is paused, unpause the container before exec", lambda: sleeper.exec_run(["true"]))
    sleeper.unpause()
    sleeper.stop(timeout=0)
    assert api._post(api._url("/containers/{0}/stop", key)).status_code == 304
    for act in (sleeper.pause, sleeper.kill, sleeper.top, lambda: sleeper.exec_run(["true"])):
        refused(409, "is not running", act)


def test_names_are_unique_and_found_in_every_form(client: docker.DockerClient) -> None:
    """Full id, name, unique prefix; a name wins over a prefix; the holder's id is in the conflict."""
    made = client.containers.create(IMAGE, SLEEP, name="findable")
    for form in (made.id, "findable", made.id[:12], made.short_id):
        assert client.containers.get(form).id == made.id
    with pytest.raises(docker.errors.NotFound, match="page not found"):
        client.containers.get("/findable")  # two slashes in the path
    refused(409, made.id, lambda: client.containers.create(IMAGE, SLEEP, name="findable"))
    other = client.containers.create(IMAGE, SLEEP, name=made.id[:10])
    assert client.containers.get(made.id[:10]).id == other.id
    refused(409, made.id, lambda: other.rename("findable"))
    made.rename("found")
    assert client.containers.get("found").id == made.id
    with pytest.raises(docker.errors.NotFound, match="No such container: findable"):
        client.containers.get("findable")
    refused(400, "Invalid container name", lambda: client.containers.create(IMAGE, SLEEP, name="not/a name"))


def test_wait_has_three_conditions(client: docker.DockerClient) -> None:
    """Stopped already, stops next, is removed; each answers its headers at once and the code at the end."""
    made = client.containers.create(IMAGE, ["sh", "-c", "read x; exit 3"], stdin_open=True, auto_remove=True)
    assert made.wait(condition="not-running")["StatusCode"] == 0
    answers: dict[str, Any] = {}
    waiters = [
        threading.Thread(target=lambda condition=condition: answers.update({condition: made.wait(condition=condition)}))
        for condition in ("next-exit", "removed")
    ]
    for waiter in waiters:
        waiter.start()
    attached = made.attach_socket(params={"stdin": 1, "stream": 1})
    made.start()
    assert answers == {}
    attached._sock.sendall(b"go\n")
    for waiter in waiters:
        waiter.join(30)
    assert answers == {condition: {"StatusCode": 3, "Error": None} for condition in ("next-exit", "removed")}
    refused(400, "invalid condition", lambda: client.containers.create(IMAGE, ["true"]).wait(condition="never"))


def test_removal(client: docker.DockerClient) -> None:
    """By force while it runs; a false `force` is none, in every form that clients send it."""
    made = client.containers.run(IMAGE, SLEEP, detach=True)
    for no in ("False", "false", "0", "no", "none", ""):
        answer = client.api._delete(client.api._url("/containers/{0}", made.id), params={"force": no})
        assert answer.status_code == 409
    made.remove(force=True, v=True)
    with pytest.raises(docker.errors.NotFound):
        made.remove()


def test_lists_and_their_filters(client: docker.DockerClient) -> None:
    """Running ones by default, newest first; each filter, several values, and what is no filter."""
    one = client.containers.run(IMAGE, SLEEP, detach=True, name="list-one", labels={"group": "list", "n": "1"})
    two = client.containers.create(IMAGE, ["true"], name="list-two", labels={"group": "list", "n": "2"})
    three = client.containers.run(IMAGE, ["sh", "-c", "exit 3"], detach=True, name="list-three", labels={"group": "list"})
    three.wait()

    def names(**query: Any) -> list[str]:
        filters = {"label": "group=list", **query.pop("filters", {})}
        return [each.name for each in client.containers.list(filters=filters, **query)]

    assert names() == ["list-one"]
    assert names(all=True) == ["list-three", "list-two", "list-one"]
    assert names(limit=2) == ["list-three", "list-two"]
    assert names(limit=-1) == ["list-one"]
    assert names(all=True, filters={"status": "created"}) == ["list-two"]
    assert names(all=True, filters={"status": ["created", "exited"]}) == ["list-three", "list-two"]
    assert names(all=True, filters={"exited": "3"}) == ["list-three"]
    assert names(all=True, filters={"name": "list-t"}) == ["list-three", "list-two"]
    assert names(all=True, filters={"name": "^/?list-one$"}) == ["list-one"]
    assert names(all=True, filters={"id": one.id[:12]}) == ["list-one"]
    assert names(all=True, filters={"label": ["group=list", "n"]}) == ["list-two", "list-one"]
    assert names(all=True, filters={"ancestor": IMAGE}) == ["list-three", "list-two", "list-one"]
    assert names(all=True, filters={"before": "list-two"}) == ["list-one"]
    assert names(all=True, filters={"since": "list-two"}) == ["list-three"]
    refused(400, "invalid filter 'colour'", lambda: client.containers.list(filters={"colour": "red"}))
    refused(400, "", lambda: client.containers.list(filters={"status": "nowhere"}))
    for each in (one, two, three):
        each.remove(force=True)


def test_inspect_says_what_was_asked_for(client: docker.DockerClient) -> None:
    """Normalised as Docker does it, with null and empty where clients expect the one or the other."""
    made = client.containers.create(
        IMAGE, SLEEP, name="inspected", environment={"A": "b"}, labels={"l": "v"}, user="7:8", working_dir="/tmp",
        hostname="host", entrypoint=["/bin/env"], cap_add=["NET_ADMIN"], read_only=True, stop_signal="SIGUSR1",
        volumes={"/tmp": {"bind": "/mnt", "mode": "ro"}}, tmpfs={"/scratch": "size=1m"}, network_mode="none", shm_size="32m",
    )  # fmt: skip
    made.reload()
    shown = made.attrs
    config, host, state = shown["Config"], shown["HostConfig"], shown["State"]
    assert (shown["Name"], shown["Path"], shown["Args"]) == ("/inspected", "/bin/env", SLEEP)
    assert "A=b" in config["Env"]
    assert config["Labels"]["l"] == "v"
    assert (config["User"], config["WorkingDir"], config["Hostname"]) == ("7:8", "/tmp", "host")
    assert (config["Entrypoint"], config["Cmd"], config["OnBuild"]) == (["/bin/env"], SLEEP, None)
    assert config["StopSignal"] == "SIGUSR1"
    assert host["CapAdd"] == ["CAP_NET_ADMIN"]
    assert (host["ReadonlyRootfs"], host["NetworkMode"], host["ShmSize"], host["PidsLimit"]) == (True, "none", 33_554_432, None)
    assert host["LogConfig"] == {"Type": "json-file", "Config": {}}
    assert host["Binds"] == ["/tmp:/mnt:ro"]
    mount = next(mount for mount in shown["Mounts"] if mount["Type"] == "bind")
    assert (mount["Source"], mount["Destination"], mount["RW"], mount["Mode"]) == ("/tmp", "/mnt", False, "ro")
    assert (state["StartedAt"], state["FinishedAt"]) == ("0001-01-01T00:00:00Z",) * 2
    assert (state["Status"], state["Running"], "Health" in state) == ("created", False, False)
    made.remove()


def test_top_and_stats(sleeper: docker.models.containers.Container) -> None:
    """The processes, and one sample whose CPU use can be computed from the one before."""
    top = sleeper.top()
    assert top["Titles"][0] == "UID"
    command = top["Titles"].index("CMD")
    assert [row[command] for row in top["Processes"]] == ["sleep 1000"]
    stats = sleeper.stats(stream=False)
    assert stats["id"] == sleeper.id
    assert stats["name"] == f"/{sleeper.name}"
    assert stats["read"] > stats["preread"] > "0001"
    stream = sleeper.stats(decode=True, stream=True)
    assert [next(stream)["name"], next(stream)["name"]] == [f"/{sleeper.name}"] * 2
    stream.close()


# Execs.


def test_exec_in_its_forms(client: docker.DockerClient, sleeper: docker.models.containers.Container) -> None:
    """Output, exit code, apart, streamed, detached, with its own user, directory and environment."""
    assert sleeper.exec_run(["echo", "hi"]) == (0, b"hi\n")
    assert sleeper.exec_run(["sh", "-c", "echo out; echo err >&2; exit 3"], demux=True) == (3, (b"out\n", b"err\n"))
    code, stream = sleeper.exec_run(["sh", "-c", "echo a; sleep 0.1; echo b"], stream=True)
    assert (code, list(stream)) == (None, [b"a\n", b"b\n"])
    script = "echo $(id -u) $(pwd) $V"
    assert sleeper.exec_run(["sh", "-c", script], user="42", workdir="/tmp", environment={"V": "w"}) == (0, b"42 /tmp w\n")
    assert sleeper.exec_run(["tty"], tty=True) == (0, b"/dev/pts/0\r\n")
    assert sleeper.exec_run(["sleep", "1000"], detach=True) == (None, "")
    assert sleeper.exec_run(["true"], privileged=False).exit_code == 0


def test_exec_inspect_and_what_cannot_run(client: docker.DockerClient, sleeper: docker.models.containers.Container) -> None:
    """Attached, the error is output and the code 126 or 127; detached it is a plain 400; a second start is a conflict."""
    api = client.api
    made = api.exec_create(sleeper.id, ["true"])["Id"]
    shown = api.exec_inspect(made)
    assert (shown["Running"], shown["ExitCode"], shown["ContainerID"]) == (False, None, sleeper.id)
    api.exec_start(made)
    assert (api.exec_inspect(made)["Running"], api.exec_inspect(made)["ExitCode"]) == (False, 0)
    refused(409, "has already run", lambda: api.exec_start(made))
    refused(409, "has already run", lambda: api.exec_start(made, detach=True))
    attached = api.exec_create(sleeper.id, ["nosuch"])["Id"]
    assert b"executable file not found" in api.exec_start(attached)
    assert api.exec_inspect(attached)["ExitCode"] == 127
    denied = api.exec_create(sleeper.id, ["/etc/passwd"])["Id"]
    assert b"permission denied" in api.exec_start(denied)
    assert api.exec_inspect(denied)["ExitCode"] == 126
    detached = api.exec_create(sleeper.id, ["nosuch"])["Id"]
    refused(400, "executable file not found", lambda: api.exec_start(detached, detach=True))
    refused(400, "No exec command specified", lambda: api.exec_create(sleeper.id, []))
    refused(404, "No such exec instance: nothing", lambda: api.exec_inspect("nothing"))


def test_exec_through_a_socket(client: docker.DockerClient, sleeper: docker.models.containers.Container) -> None:
    """A half-close ends the input; the code is set before the stream ends."""
    api = client.api
    made = api.exec_create(sleeper.id, ["sh", "-c", "cat; exit 5"], stdin=True)["Id"]
    opened = api.exec_start(made, socket=True)._sock
    opened.sendall(b"through")
    opened.shutdown(socket.SHUT_WR)
    data = b""
    while chunk := opened.recv(4096):
        data += chunk
    assert data == b"\1\0\0\0\0\0\0\x07through"
    assert api.exec_inspect(made)["ExitCode"] == 5
    opened.close()


# Images.


def archive() -> bytes:
    """A tar with a busybox in it."""
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode="w") as tar:
        tar.add(Path(shutil.which("busybox") or "/bin/busybox"), "bin/busybox")
    return held.getvalue()


@pytest.mark.skipif(shutil.which("busybox") is None, reason="no busybox is installed")
def test_images_in_every_way(client: docker.DockerClient) -> None:
    """Import, find, tag, list, run, remove; what is in use stays."""
    api = client.api
    api.import_image_from_data(archive(), repository="py/one", tag="1")
    image = client.images.get("py/one:1")
    assert image.tags == ["py/one:1"]
    assert (image.attrs["Architecture"], image.attrs["Os"]) == ("amd64", "linux")
    assert client.containers.run("py/one:1", ["/bin/busybox", "echo", "ran"], remove=True) == b"ran\n"
    assert image.tag("py/two")
    assert image.tag("py/two", "2")
    assert image.tag("py/three:3")
    image.reload()
    assert sorted(image.tags) == ["py/one:1", "py/three:3", "py/two:2", "py/two:latest"]
    assert image.id in {each.id for each in client.images.list()}
    assert [each.id for each in client.images.list(name="py/two")] == [image.id]
    assert [each.id for each in client.images.list(filters={"reference": "py/t*"})] == [image.id]
    for form in (image.id, image.short_id, image.id.removeprefix("sha256:")[:12], "py/one:1", "docker.io/py/one:1"):
        assert client.images.get(form).id == image.id
    user = client.containers.create("py/two", ["/bin/busybox", "true"])
    client.images.remove("py/one:1")
    refused(409, "conflict", lambda: client.images.remove(image.id))
    user.remove()
    client.images.remove(image.id, force=True)
    with pytest.raises(docker.errors.ImageNotFound, match="No such image: py/two:2"):
        client.images.get("py/two:2")
    refused(404, "No such image: py/two", lambda: client.images.remove("py/two:2"))
    refused(400, "invalid reference format", lambda: client.images.get(IMAGE).tag("Not A Name"))


# Events.


def test_events_in_order_and_by_filter(client: docker.DockerClient, daemon: Daemon) -> None:
    """The whole life of a container, once each, with what clients read from them."""
    since = int(time.time())
    made = client.containers.run(IMAGE, ["sh", "-c", "sleep 1000"], detach=True, name="eventful", labels={"k": "v"})
    made.exec_run(["true"])
    made.pause()
    made.unpause()
    made.rename("renamed")
    made.kill()
    made.wait()
    made.remove()

    def told(**filters: Any) -> list[dict[str, Any]]:
        return list(client.events(since=since, until=int(time.time()) + 1, decode=True, filters=filters))

    events = told(container=made.id)
    actions = [event["Action"].split(":")[0] for event in events]
    assert actions == [
        "create", "start", "exec_create", "exec_start", "exec_die", "pause", "unpause", "rename", "kill", "die", "destroy",
    ]  # fmt: skip
    by_action = {event["Action"].split(":")[0]: event for event in events}
    assert by_action["die"]["Actor"]["Attributes"]["exitCode"] == "137"
    assert by_action["kill"]["Actor"]["Attributes"]["signal"] == "9"
    assert by_action["exec_die"]["Actor"]["Attributes"]["exitCode"] == "0"
    assert by_action["exec_create"]["Action"] == "exec_create: true"
    assert by_action["rename"]["Actor"]["Attributes"]["oldName"] == "/eventful"
    for event in events:
        assert (event["Type"], event["id"], event["status"], event["from"]) == ("container", made.id, event["Action"], IMAGE)
        assert event["Actor"]["ID"] == made.id
        assert event["Actor"]["Attributes"]["k"] == "v"
        assert event["time"] == event["timeNano"] // 1_000_000_000
    assert [event["Action"] for event in told(container="renamed", event=["die", "destroy"])] == ["die", "destroy"]
    assert {event["id"] for event in told(label="k=v")} == {event["id"] for event in told(label="k")} == {made.id}
    assert told(type="image", container=made.id) == []
    refusal = (400, {"message": "invalid filter 'colour'"})
    assert daemon.request("GET", "/events?filters=%7B%22colour%22:%5B%22red%22%5D%7D") == refusal


def test_events_as_they_happen(client: docker.DockerClient, daemon: Daemon) -> None:
    """The header at once, each event at once, and an end when the client closes."""
    with connect(daemon) as other:
        stream = other.events(decode=True, filters={"event": "create"})
        seen: list[str] = []
        reader = threading.Thread(target=lambda: seen.extend(event["id"] for event in stream))
        reader.start()
        made = client.containers.create(IMAGE, ["true"])
        while made.id not in seen:
            time.sleep(0.01)
        stream.close()
        reader.join(30)
        assert not reader.is_alive()
        made.remove()


def test_an_images_own_stop_signal_is_sent(client: docker.DockerClient) -> None:
    """By name or number, as the image or the request has it; inspect shows it as it was given."""
    client.api.import_image_from_data(archive(), repository="py/signal", tag="1", changes=["STOPSIGNAL SIGQUIT"])
    script = "trap 'exit 5' QUIT; trap 'exit 6' USR1; /bin/busybox echo up; while :; do /bin/busybox sleep 0.02; done"
    for asked, shown, code in ((None, "SIGQUIT", 5), ("10", "10", 6), ("usr1", "usr1", 6)):
        options = {} if asked is None else {"stop_signal": asked}
        made = client.containers.run("py/signal:1", ["/bin/busybox", "sh", "-c", script], detach=True, **options)
        while made.logs() != b"up\n":
            time.sleep(0.01)
        made.stop()
        made.reload()
        assert (made.attrs["Config"]["StopSignal"], made.attrs["State"]["ExitCode"]) == (shown, code)
        made.remove()
