"""Images go between docket and other tools in archives, in both directions, and keep their digests."""

from __future__ import annotations

import hashlib
import json
import shutil
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from counterparts import dockerd, needs, podman, run, short_directory
from docker_daemon import Daemon, _Connection

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(shutil.which("docker") is None, reason="needs the docker CLI: it is not installed"),
]
BASE = "docket/base"


def image_id(daemon: Daemon, name: str) -> str:
    return daemon.out("image", "inspect", "-f", "{{.Id}}", name)


@pytest.fixture(scope="module")
def engine(daemon: Daemon) -> Daemon:
    """With the embedded image."""
    daemon.out("run", "--rm", BASE, "true")
    return daemon


@pytest.fixture(scope="module")
def saved(engine: Daemon, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An archive of the embedded image, by two names."""
    path = tmp_path_factory.mktemp("archives") / "base.tar"
    engine.out("tag", BASE, "other:1")
    engine.out("save", "-o", str(path), BASE, "other:1")
    return path


def documents(archive: Path) -> dict[str, bytes]:
    with tarfile.open(archive) as opened:
        files = {member.name: opened.extractfile(member) for member in opened if member.isfile()}
        return {name: file.read() for name, file in files.items() if file is not None}


@pytest.fixture(scope="module")
def layered(saved: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An OCI layout by umoci whose image `two` has a second layer: a new file, a changed one and a removed one."""
    folder = tmp_path_factory.mktemp("umoci")
    layout, bundle = folder / "layout", folder / "bundle"
    run("skopeo", "copy", "-q", f"oci-archive:{saved}:1", f"oci:{layout}:one")
    run("umoci", "unpack", "--image", f"{layout}:one", bundle)
    root = bundle / "rootfs"
    (root / "etc/new").write_text("new\n")
    (root / "etc/passwd").write_text("root:x:0:0:changed:/root:/bin/sh\n")
    (root / "etc/group").unlink()
    run("umoci", "repack", "--image", f"{layout}:two", bundle)
    return layout


def manifest_of(layout: Path, name: str) -> str:
    """The digest of the manifest that the layout has under the name."""
    index = json.loads((layout / "index.json").read_text())
    names = {entry["annotations"]["org.opencontainers.image.ref.name"]: entry["digest"] for entry in index["manifests"]}
    return str(names[name])


@needs("skopeo", "umoci")
def test_an_image_of_umoci_comes_with_its_digests(engine: Daemon, layered: Path, tmp_path: Path) -> None:
    """Both layers are unpacked one over the other, and the image goes out again as it came."""
    archive = tmp_path / "two.tar"
    run("skopeo", "copy", "-q", f"oci:{layered}:two", f"oci-archive:{archive}:two:9")
    assert engine.out("load", "-i", str(archive)) == "Loaded image: two:9"
    assert engine.out("run", "--rm", "two:9", "cat", "/etc/new", "/etc/passwd").splitlines() == [
        "new", "root:x:0:0:changed:/root:/bin/sh",
    ]  # fmt: skip
    assert engine.docker("run", "--rm", "two:9", "ls", "/etc/group").returncode == 1
    again = tmp_path / "again.tar"
    engine.out("save", "-o", str(again), "two:9")
    run("skopeo", "copy", "-q", f"oci-archive:{again}:9", f"oci:{tmp_path}/layout:two")
    assert manifest_of(tmp_path / "layout", "two") == manifest_of(layered, "two")
    assert "sha256:" in run("umoci", "stat", "--image", f"{tmp_path}/layout:two")
    assert [line.split()[0] for line in engine.out("history", "two:9").splitlines()[1:]][-1] == "<missing>"


@needs("skopeo", "umoci")
def test_the_store_itself_is_a_layout(engine: Daemon, tmp_path: Path) -> None:
    """skopeo and umoci read the content store by the names that docket has, without a copy of anything."""
    engine.out("tag", BASE, "here:1")
    store = engine.root / "data/content"
    for _ in range(100):
        if "here:1" in run("umoci", "ls", "--layout", store).splitlines():
            break
        time.sleep(0.05)
    raw = json.loads(run("skopeo", "inspect", "--raw", f"oci:{store}:here:1"))
    assert raw["config"]["digest"] == image_id(engine, BASE)
    engine.out("rmi", "here:1")


@needs("skopeo", "umoci")
def test_a_docker_archive_of_skopeo_gives_the_same_image(engine: Daemon, layered: Path, tmp_path: Path) -> None:
    """Its layers are unpacked archives with names of their own; the image id is the config's digest all the same."""
    archive = tmp_path / "two.tar"
    run("skopeo", "copy", "-q", f"oci:{layered}:two", f"docker-archive:{archive}:two:docker")
    assert engine.out("load", "-q", "-i", str(archive)) == "Loaded image: two:docker"
    manifest = json.loads((layered / "blobs/sha256" / manifest_of(layered, "two")[7:]).read_text())
    assert image_id(engine, "two:docker") == manifest["config"]["digest"]


@needs("skopeo")
def test_skopeo_reads_both_formats_of_one_archive(engine: Daemon, saved: Path) -> None:
    """As a docker archive, and as an OCI archive with the manifest that docket has."""
    docker = json.loads(run("skopeo", "inspect", "--raw", f"docker-archive:{saved}:other:1"))
    assert docker["config"]["digest"] == image_id(engine, BASE)
    raw = run("skopeo", "inspect", "--raw", f"oci-archive:{saved}:1")
    assert f"blobs/sha256/{hashlib.sha256(raw.encode()).hexdigest()}" in documents(saved)


@needs("podman")
def test_podman_loads_and_saves(engine: Daemon, saved: Path, tmp_path: Path, short: Path) -> None:
    """The image id stays, and the layers do."""
    other = podman(tmp_path, short)
    run(*other, "load", "-q", "-i", saved)
    assert run(*other, "image", "inspect", "-f", "{{.Id}}", "other:1") == image_id(engine, BASE)[7:]
    run(*other, "tag", "other:1", "docker.io/library/other:1")  # it may have taken it for a local one
    for form in ("docker-archive", "oci-archive"):
        archive = tmp_path / f"{form}.tar"
        run(*other, "save", "-q", "--format", form, "-o", archive, "docker.io/library/other:1")
        engine.out("rmi", "other:1")
        assert engine.out("load", "-i", str(archive)) == "Loaded image: other:1"
        layers = "{{.RootFS.Layers}}"
        assert engine.out("image", "inspect", "-f", layers, "other:1") == engine.out("image", "inspect", "-f", layers, BASE)
        # podman writes the config anew for an OCI archive, which makes it another image.
        assert form == "oci-archive" or image_id(engine, "other:1") == image_id(engine, BASE)


@pytest.fixture
def short() -> Iterator[Path]:
    with short_directory() as path:
        yield path


@pytest.fixture
def docker(short: Path) -> Iterator[Daemon]:
    """Docker's own engine."""
    with dockerd(short) as running:
        yield running


@needs("dockerd")
def test_dockerd_loads_and_saves(engine: Daemon, saved: Path, docker: Daemon, tmp_path: Path) -> None:
    """In both directions the image id stays."""
    assert set(docker.out("load", "-i", str(saved)).splitlines()) >= {f"Loaded image: {BASE}:latest", "Loaded image: other:1"}
    assert image_id(docker, "other:1") == image_id(engine, BASE)
    docker.out("tag", "other:1", "back:1")
    docker.out("save", "-o", f"{tmp_path}/back.tar", "back:1")
    assert engine.out("load", "-i", f"{tmp_path}/back.tar") == "Loaded image: back:1"
    assert image_id(engine, "back:1") == image_id(engine, BASE)
    engine.out("rmi", "back:1")


def test_images_in_use_stay(engine: Daemon) -> None:
    """A forced removal takes the names; the image is dangling, and a prune leaves it until its container is gone."""
    engine.out("import", "-", "used:1", stdin=_empty_archive())
    used = image_id(engine, "used:1")
    engine.out("create", "--name", "user", "used:1", "true")
    refused = engine.docker("rmi", "used:1")
    assert "image is being used by stopped container" in refused.stderr
    assert engine.out("rmi", "-f", used).splitlines() == ["Untagged: used:1"]
    assert used in engine.out("images", "--no-trunc", "-q", "-f", "dangling=true")
    assert engine.out("image", "prune", "-f").splitlines() == ["Total reclaimed space: 0B"]
    engine.out("rm", "user")
    assert f"deleted: {used}" in engine.out("image", "prune", "-f").lower()
    assert used not in engine.out("images", "-a", "--no-trunc", "-q")


def _empty_archive() -> str:
    return "\0" * 10240


def test_what_happened_is_in_the_events(engine: Daemon, saved: Path) -> None:
    """Load, save, untag, delete and prune in Docker's words; history tells docket's own events."""
    engine.out("import", "-", "gone:1", stdin=_empty_archive())
    engine.out("rmi", "gone:1")
    engine.out("load", "-q", "-i", str(saved))
    engine.out("image", "prune", "-f")
    told = engine.out(
        "events", "--since", "1", "--until", f"{time.time():.3f}", "--format", "{{.Type}} {{.Action}}"
    ).splitlines()
    assert {"image load", "image save", "image untag", "image delete", "image prune", "image tag"} <= set(told)
    status, history = engine.request("GET", f"/images/{BASE}/history")
    assert status == 200
    assert {"ImageImported", "ImageTagged", "ImageSaved", "ImageLoaded"} <= {event["Type"] for event in history[0]["Events"]}


def test_disk_usage_adds_up(engine: Daemon) -> None:
    """Each layer counts once, containers with what they wrote, and the CLI can read it."""
    engine.out("run", "--name", "writer", BASE, "sh", "-c", "dd if=/dev/zero of=/big bs=1000 count=500 2>/dev/null")
    status, usage = engine.request("GET", "/system/df")
    assert status == 200
    writer = next(container for container in usage["Containers"] if container["Names"] == ["/writer"])
    assert 500_000 <= writer["SizeRw"] < 501_000
    assert usage["LayersSize"] >= max(image["Size"] for image in usage["Images"])
    assert "Images" in engine.out("system", "df")
    assert "Containers space usage" in engine.out("system", "df", "-v")
    engine.out("rm", "writer")


def test_what_is_no_archive_is_refused(engine: Daemon) -> None:
    """One line, and a status that is none of success."""
    refused = engine.docker("load", stdin="junk\n")
    assert refused.returncode == 1
    assert "cannot load the archive" in refused.stderr
    missing = engine.docker("save", "nothing:1")
    assert "No such image: nothing:1" in missing.stderr


def test_an_upload_that_breaks_off_leaves_nothing(engine: Daemon, saved: Path) -> None:
    """The client goes away in the middle: the job fails, and what had come is swept away."""
    data = saved.read_bytes()
    connection = _Connection(f"{engine.root}/docket.sock")
    connection.putrequest("POST", "/images/load")
    connection.putheader("Content-Length", str(len(data)))
    connection.endheaders()
    connection.send(data[: len(data) // 2])
    connection.close()
    layout = engine.root / "data/content"
    before = sorted(path.name for path in (layout / "blobs/sha256").iterdir())
    assert engine.out("load", "-i", str(saved))
    assert sorted(path.name for path in (layout / "blobs/sha256").iterdir()) == before
    assert list((layout / "ingest").iterdir()) == []
