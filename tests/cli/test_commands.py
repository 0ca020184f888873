"""The everyday commands: what they ask, what they print, how they end."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from engine_samples import CONTAINER, CONTAINERS, EVENTS, ID, IMAGE, IMAGE_ID, IMAGES, INFO, OTHER_ID, STATS, VERSION
from fake_engine import FakeEngine, Reply, frame

Docket = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(autouse=True)
def rules(engine: FakeEngine) -> None:
    """An engine with one running container `web` and the image `busybox`."""
    engine.on("GET", "/(containers|images)/.+", Reply(404, {"message": "No such container: nope"}))
    engine.on("(POST|DELETE)", "/.*", Reply(404, {"message": "page not found"}))
    for method in ("POST", "DELETE"):
        engine.on(method, "/(containers|images)/nope.*", Reply(404, {"message": "No such container: nope"}))
    engine.on("GET", "/containers/json", Reply(body=CONTAINERS))
    engine.on("GET", "/images/json", Reply(body=IMAGES))
    engine.on("GET", "/containers/web/json", Reply(body=CONTAINER))
    engine.on("GET", "/images/busybox/json", Reply(body=IMAGE))
    engine.on("GET", "/version", Reply(body=VERSION))
    engine.on("GET", "/info", Reply(body=INFO))
    engine.on("POST", "/containers/web/.*", Reply(204))
    engine.on("DELETE", "/containers/web", Reply(204))


def test_ps_prints_dockers_table(docket: Docket) -> None:
    """Columns, ports, cut commands and images without names, as Docker prints them."""
    lines = docket("ps", "-a").stdout.splitlines()
    ports = "53/udp, 443-444/tcp, 0.0.0.0:8080->80/tcp, [::]:8080->80/tcp"
    assert lines[0].split() == ["CONTAINER", "ID", "IMAGE", "COMMAND", "CREATED", "STATUS", "PORTS", "NAMES"]
    assert lines[1].startswith('4fa6e0f0c678   busybox        "sh -c \'sleep 1000; …"   ')
    assert lines[1].endswith(f" ago   Up 3 minutes             {ports}   web")
    assert lines[2].startswith('bbbbbbbbbbbb   65ad0d468eb1   "true"                   ')


def test_ps_asks_for_what_was_asked(engine: FakeEngine, docket: Docket) -> None:
    """Flags become the query; a template that shows sizes asks for them."""
    docket("ps", "-a", "-n", "2", "-f", "label=a=b", "-f", "label=c", "-f", "status=running", "--format", "{{.Size}}")
    assert engine.requests[0].query == {
        "all": ["1"],
        "limit": ["2"],
        "size": ["1"],
        "filters": ['{"label":{"a=b":true,"c":true},"status":{"running":true}}'],
    }


def test_ps_formats(docket: Docket) -> None:
    """Quiet, templates, tables of templates and JSON."""
    assert docket("ps", "-q").stdout == f"{ID[:12]}\n{OTHER_ID[:12]}\n"
    assert docket("ps", "-q", "--no-trunc").stdout == f"{ID}\n{OTHER_ID}\n"
    assert docket("ps", "--format", '{{.Names}} {{.Label "a"}} {{.Labels}}').stdout == "web 1 a=1,b=2\njob  \n"
    table = docket("ps", "--format", "table {{.ID}}\\t{{.Names}}\\t{{upper .State}}").stdout
    assert table == (
        "CONTAINER ID   NAMES     STATE\n"
        "4fa6e0f0c678   web       RUNNING\n"
        "bbbbbbbbbbbb   job       EXITED\n"
    )  # fmt: skip
    row = json.loads(docket("ps", "--format", "json").stdout.splitlines()[0])
    assert (row["ID"], row["Names"], row["Size"]) == (ID[:12], "web", "12.3kB (virtual 4.26MB)")


def test_images_prints_a_row_for_each_name(engine: FakeEngine, docket: Docket) -> None:
    """An image without a name has `<none>`."""
    lines = [line.split() for line in docket("images", "busybox").stdout.splitlines()]
    assert [line[:3] for line in lines[1:]] == [
        ["busybox", "latest", "65ad0d468eb1"],
        ["localhost:5000/a/b", "v1", "65ad0d468eb1"],
        ["<none>", "<none>", "dddddddddddd"],
    ]
    assert [line[-1] for line in lines] == ["SIZE", "4.26MB", "4.26MB", "123MB"]
    assert engine.requests[0].query == {"filters": ['{"reference":{"busybox":true}}']}


def test_inspect_prints_everything_and_goes_on_after_a_miss(docket: Docket) -> None:
    """What exists is printed, what does not is told, and the exit code says that something was missing."""
    done = docket("inspect", "web", "nope", "busybox")
    assert [value["Id"] for value in json.loads(done.stdout)] == [ID, IMAGE_ID]
    assert (done.returncode, done.stderr) == (1, "Error: No such object: nope\n")
    assert docket("inspect", "nope").stdout == "[]\n"


@pytest.mark.parametrize(
    ("form", "shown"),
    [
        ("{{.State.ExitCode}} {{.State.Running}}", "0 true"),
        ("{{range .Mounts}}{{.Source}}:{{.Destination}} {{end}}", "/tmp:/x /v:/data "),
        ('{{index .Config.Labels "com.example.role"}} {{len .Mounts}} {{.Config.Cmd}}', "front 2 [sleep 1000]"),
        ("{{json .Config.Env}}", '["PATH=/bin","A=b"]'),
        ("{{if .State.Health}}sick{{else}}no check{{end}}", "no check"),
        ("{{.Config.Labels}}", "map[a:1 com.example.role:front]"),
    ],
)
def test_inspect_by_template(docket: Docket, form: str, shown: str) -> None:
    """The templates of everyday scripts."""
    assert docket("inspect", "-f", form, "web").stdout == shown + "\n"


def test_inspect_by_a_wrong_template(docket: Docket) -> None:
    """A field that does not exist, and a template that cannot be read, are one line each."""
    missing = docket("inspect", "-f", "{{.State.Foo}}", "web")
    assert missing.returncode == 1
    assert (
        missing.stderr == 'template parsing error: template: :1: executing "" at <.State.Foo>: map has no entry for key "Foo"\n'
    )
    unclosed = docket("inspect", "-f", "{{.State", "web")
    assert (unclosed.returncode, unclosed.stderr) == (64, "template parsing error: template: :1: unclosed action\n")


def test_several_containers_each_get_their_turn(engine: FakeEngine, docket: Docket) -> None:
    """One that does not exist does not stop the next."""
    done = docket("stop", "-t", "3", "-s", "INT", "nope", "web")
    assert (done.returncode, done.stdout, done.stderr) == (1, "web\n", "Error response from daemon: No such container: nope\n")
    assert engine.requests[1].query == {"signal": ["INT"], "t": ["3"]}


@pytest.mark.parametrize(
    ("words", "request_line"),
    [
        (("restart", "-t", "0", "web"), "POST /containers/web/restart"),
        (("kill", "-s", "HUP", "web"), "POST /containers/web/kill"),
        (("pause", "web"), "POST /containers/web/pause"),
        (("unpause", "web"), "POST /containers/web/unpause"),
        (("container", "stop", "web"), "POST /containers/web/stop"),
        (("start", "web"), "POST /containers/web/start"),
        (("rm", "-fv", "web"), "DELETE /containers/web"),
        (("container", "rm", "web"), "DELETE /containers/web"),
    ],
)
def test_one_request_and_the_name(engine: FakeEngine, docket: Docket, words: tuple[str, ...], request_line: str) -> None:
    """Success prints the name that was given, as Docker does."""
    done = docket(*words)
    assert (done.returncode, done.stdout, done.stderr) == (0, "web\n", "")
    assert engine.lines() == [request_line]


def test_rm_force_of_nothing_succeeds(docket: Docket) -> None:
    """With --force a container that is not there is told of, and is no failure."""
    assert docket("rm", "-f", "nope").returncode == 0
    assert docket("rm", "nope").returncode == 1


def test_wait_prints_exit_codes(engine: FakeEngine, docket: Docket) -> None:
    """One line for each container."""
    engine.on("POST", "/containers/web/wait", Reply(body={"StatusCode": 3, "Error": None}))
    assert docket("wait", "web", "web").stdout == "3\n3\n"


def test_rename(engine: FakeEngine, docket: Docket) -> None:
    """Both names travel; a failure names the container."""
    assert docket("rename", "web", "neu").returncode == 0
    assert engine.requests[0].query == {"name": ["neu"]}
    assert docket("rename", "nope", "x").stderr.splitlines()[-1] == "Error: failed to rename container named nope"


def test_start_tells_which_failed(docket: Docket) -> None:
    """The last line lists what could not be started."""
    done = docket("start", "nope", "web")
    assert done.stdout == "web\n"
    assert done.stderr.splitlines()[-1] == "Error: failed to start containers: nope"


def test_top_and_stats(engine: FakeEngine, docket: Docket) -> None:
    """The engine's columns as a table; one sample as Docker computes it."""
    processes = {"Titles": ["PID", "CMD"], "Processes": [["1", "sleep 1000"]]}
    engine.on("GET", "/containers/web/top", Reply(body=processes))
    engine.on("GET", "/containers/.*/stats", Reply(body=STATS))
    assert docket("top", "web", "-eo", "pid").stdout == f"{'PID':20}CMD\n{'1':20}sleep 1000\n"
    assert engine.requests[0].query == {"ps_args": ["-eo pid"]}
    lines = docket("stats", "--no-stream", "web").stdout.splitlines()
    assert lines[1] == ("4fa6e0f0c678   web       10.00%    1MiB / 64MiB        1.56%     1.5kB / 2.5MB   4.1kB / 0B   3")


def test_logs_tell_the_streams_apart(engine: FakeEngine, docket: Docket) -> None:
    """Frames go to their streams, whatever the pieces they arrive in."""
    whole = frame(1, b"out\n") + frame(2, b"err\n") + frame(1, b"more\n")
    pieces = [whole[:5], whole[5:13], whole[13:]]
    headers = {"Content-Type": "application/vnd.docker.multiplexed-stream"}
    engine.on("GET", "/containers/web/logs", Reply(headers=headers, chunks=pieces))
    done = docket("logs", "-t", "--tail", "5", "--since", "1", "web")
    assert (done.stdout, done.stderr) == ("out\nmore\n", "err\n")
    assert engine.requests[0].query == {
        "stdout": ["1"], "stderr": ["1"], "tail": ["5"], "timestamps": ["1"], "since": ["1"],
    }  # fmt: skip


def test_logs_of_a_terminal_are_raw(engine: FakeEngine, docket: Docket) -> None:
    """A container with a terminal writes one stream; its escape sequences are its own."""
    headers = {"Content-Type": "application/vnd.docker.raw-stream"}
    engine.on("GET", "/containers/web/logs", Reply(headers=headers, chunks=[b"\x1b[31mred\r\n"]))
    assert docket("logs", "web").stdout == "\x1b[31mred\n"  # text mode folds the line end


def test_version_and_info(docket: Docket) -> None:
    """Both sides, by text and by template."""
    text = docket("version").stdout
    assert text.startswith("Client:\n Version:")
    assert "\nServer: docket\n Engine:\n  Version:          0.1.0\n  API version:      1.50 (minimum version 1.24)\n" in text
    assert docket("version", "-f", "{{.Server.Version}}").stdout == "0.1.0\n"
    info = docket("info")
    assert "\n Server Version: 0.1.0\n" in info.stdout
    assert "\n Security Options:\n  seccomp\n   Profile: builtin\n  cgroupns\n" in info.stdout
    assert info.stderr == "WARNING: No swap limit support\n"
    assert docket("system", "info", "-f", "{{.Driver}}").stdout == "overlay\n"


def test_events_print_as_they_come(engine: FakeEngine, docket: Docket) -> None:
    """One line for each message."""
    engine.on("GET", "/events", Reply(chunks=[json.dumps(event).encode() + b"\n" for event in EVENTS]))
    done = docket("events", "--until", "5", "-f", "type=container")
    assert done.stdout == f"2026-01-01T00:00:00.123456789Z container create {ID} (image=busybox, name=web)\n"
    assert engine.requests[0].query == {"until": ["5"], "filters": ['{"type":{"container":true}}']}
    assert docket("events", "--format", "{{.Action}} {{.ID}}").stdout == f"create {ID}\n"


def test_image_commands(engine: FakeEngine, docket: Docket, tmp_path: Path) -> None:
    """import streams the archive, tag names the target in full, rmi prints what went."""
    archive = tmp_path / "root.tar"
    archive.write_bytes(b"tar" * 100_000)
    engine.on("POST", "/images/create", Reply(chunks=[b'{"status":"sha256:abc"}\r\n']))
    engine.on("POST", "/images/busybox/tag", Reply(201))
    engine.on("DELETE", "/images/busybox", Reply(body=[{"Untagged": "busybox:latest"}, {"Deleted": IMAGE_ID}]))
    done = docket("import", "-c", "CMD x", "-m", "why", str(archive), "mine:v1")
    assert (done.returncode, done.stdout) == (0, "sha256:abc\n")
    assert engine.requests[0].body == archive.read_bytes()
    assert engine.requests[0].query == {"fromSrc": ["-"], "repo": ["mine:v1"], "message": ["why"], "changes": ["CMD x"]}
    assert docket("tag", "busybox", "mine").returncode == 0
    assert engine.requests[1].query == {"repo": ["docker.io/library/mine"], "tag": ["latest"]}
    assert docket("rmi", "busybox").stdout == f"Untagged: busybox:latest\nDeleted: {IMAGE_ID}\n"


def test_import_reads_standard_input(engine: FakeEngine, docket: Docket) -> None:
    """`tar … | docket import -`."""
    engine.on("POST", "/images/create", Reply(chunks=[b'{"status":"sha256:abc"}\r\n']))
    assert docket("import", "-", stdin="some tar").stdout == "sha256:abc\n"
    assert engine.requests[0].body == b"some tar"
