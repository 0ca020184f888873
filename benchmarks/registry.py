"""Debian's registry on loopback, with three images of different kinds: one big file, many small ones, many layers."""

import gzip
import hashlib
import http.client
import io
import json
import random
import shutil
import socket
import subprocess
import tarfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

BIG_BYTES = 200 << 20
SMALL_FILES = 20_000
LAYERS = 10
IMAGES = {"big": f"1 file of {BIG_BYTES >> 20} MB", "files": f"{SMALL_FILES} small files", "layers": f"{LAYERS} layers"}
_LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"
_CONFIG = "application/vnd.docker.container.image.v1+json"
_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
_START_SECONDS = 20.0


def available() -> bool:
    """Whether there is a registry to ask."""
    return shutil.which("docker-registry") is not None


class Registry:
    """Runs until `close`; with ``images`` they are there from the beginning, each as ``HOST/NAME:1``."""

    def __init__(self, folder: Path, *, images: bool = True) -> None:
        self._folder = folder
        folder.mkdir()
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.host = f"127.0.0.1:{probe.getsockname()[1]}"
        (folder / "config.yml").write_text(
            f"version: 0.1\nlog:\n  level: error\n  accesslog:\n    disabled: true\n"
            f"storage:\n  filesystem:\n    rootdirectory: {folder}/data\nhttp:\n  addr: {self.host}\n"
        )
        command = ["docker-registry", "serve", str(folder / "config.yml")]
        self._process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        self._wait()
        for name in IMAGES if images else ():
            self._add(name, list(_layers(name)))

    @contextmanager
    def empty(self) -> Iterator["Registry"]:
        """Another registry, for a short time, which has nothing."""
        folder = self._folder / "empty"
        registry = Registry(folder, images=False)
        try:
            yield registry
        finally:
            registry.close()
            shutil.rmtree(folder)

    def archive(self, name: str) -> Path:
        """The image as docker saves it: manifest.json, the config, and the layers unpacked."""
        return self._folder / f"{name}.tar"

    def close(self) -> None:
        """Ends the registry."""
        self._process.terminate()
        self._process.wait()

    def _wait(self) -> None:
        end = time.monotonic() + _START_SECONDS
        while True:
            try:
                self._ask("GET", "/v2/")
                return
            except ConnectionError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.02)

    def _ask(self, method: str, target: str, body: bytes = b"", media_type: str = "application/octet-stream") -> str:
        """The answer's Location."""
        connection = http.client.HTTPConnection(self.host)
        connection.request(method, target, body, {"Content-Type": media_type})
        answer = connection.getresponse()
        answer.read()
        connection.close()
        assert answer.status < 400, f"{method} {target}: {answer.status}"
        return answer.headers.get("Location", "")

    def _blob(self, name: str, data: bytes, media_type: str) -> dict[str, object]:
        digest = "sha256:" + hashlib.sha256(data).hexdigest()
        location = self._ask("POST", f"/v2/{name}/blobs/uploads/").removeprefix(f"http://{self.host}")
        self._ask("PUT", f"{location}&digest={digest}", data)
        return {"mediaType": media_type, "digest": digest, "size": len(data)}

    def _add(self, name: str, layers: list[bytes]) -> None:
        digests = [hashlib.sha256(layer).hexdigest() for layer in layers]
        diff_ids = ["sha256:" + digest for digest in digests]
        described = [self._blob(name, gzip.compress(layer, 6, mtime=0), _LAYER) for layer in layers]
        config = {
            "architecture": "amd64", "os": "linux", "config": {"Cmd": ["true"]}, "rootfs": {"type": "layers", "diff_ids": diff_ids},
            "history": [{"created_by": "benchmark"} for _ in layers],
        }  # fmt: skip
        manifest = {
            "schemaVersion": 2, "mediaType": _MANIFEST, "config": self._blob(name, json.dumps(config).encode(), _CONFIG),
            "layers": described,
        }  # fmt: skip
        self._ask("PUT", f"/v2/{name}/manifests/1", json.dumps(manifest).encode(), _MANIFEST)
        self._archive(name, json.dumps(config).encode(), dict(zip(digests, layers, strict=True)))

    def _archive(self, name: str, config: bytes, layers: dict[str, bytes]) -> None:
        config_name = f"{hashlib.sha256(config).hexdigest()}.json"
        files = {f"{digest}/layer.tar": layer for digest, layer in layers.items()}
        entry = {"Config": config_name, "RepoTags": [f"{self.host}/{name}:1"], "Layers": list(files)}
        self.archive(name).write_bytes(_tar({config_name: config, **files, "manifest.json": json.dumps([entry]).encode()}))


def _layers(name: str) -> Iterator[bytes]:
    """Half of the big file is noise, which does not compress; the same in every run."""
    dice = random.Random(1)
    if name == "big":
        yield _tar({"big": b"".join(dice.randbytes(1 << 19) + b"some text " * 52_428 for _ in range(BIG_BYTES >> 20))})
    elif name == "files":
        yield _tar({f"{number // 200}/{number}": b"%d" % number * 50 for number in range(SMALL_FILES)})
    else:
        for layer in range(LAYERS):
            yield _tar({f"{layer}/{number}": dice.randbytes(20_000) for number in range(100)})


def _tar(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()
