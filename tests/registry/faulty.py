"""A registry of the tests' own, in threads: it serves what it is given and, when told so, does it wrong.

A fault is a function from the request to True (the request is answered, in whatever way) or False (go on as usual). It stays until
it is taken away; `once` makes one that happens a number of times.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import socket
import struct
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.registry.served import Served

from docket.domain.oci.manifest import DOCKER_CONFIG, DOCKER_MANIFEST

LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"
Fault = Callable[["Handler"], bool]


def digest_of(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


class Handler(BaseHTTPRequestHandler):
    """One request."""

    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, format: str, *arguments: Any) -> None:
        """The tests look at `FaultyRegistry.requests` instead."""

    def _handle(self) -> None:
        registry = self.server.registry
        length = int(self.headers.get("Content-Length") or 0)
        self.sent = self.rfile.read(length) if length else self._chunked()
        registry.requests.append((self.command, self.path, {name.lower(): value for name, value in self.headers.items()}))
        if any(fault(self) for fault in list(registry.faults)):
            return
        if registry.wants is not None and not registry.wants(self):
            self.challenge()
            return
        self.serve()

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = _handle  # noqa: N815

    def _chunked(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return b""
        pieces = []
        while size := int(self.rfile.readline().strip() or b"0", 16):
            pieces.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(pieces)

    def challenge(self) -> None:
        self.reply(401, self.server.registry.error("UNAUTHORIZED", "authentication required"),
                   {"WWW-Authenticate": self.server.registry.challenge})  # fmt: skip

    def reply(self, status: int, body: bytes = b"", headers: dict[str, str] | None = None) -> None:
        """A whole answer."""
        self.send_response(status)
        fields = {"Content-Length": str(len(body)), **(headers or {})}
        for name, value in fields.items():
            if value:
                self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def reset(self) -> None:
        """End the connection as a crash would."""
        self.wfile.flush()
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.connection.close()
        self.rfile = self.wfile = open("/dev/null", "rb+", buffering=0)  # type: ignore[assignment]  # noqa: SIM115

    def serve(self) -> None:
        """As a registry should."""
        registry, path = self.server.registry, urlsplit(self.path).path
        if path in {"/v2/", "/v2"}:
            self.reply(200, b"{}")
        elif path == "/token":
            registry.token_queries.append(parse_qs(urlsplit(self.path).query) or parse_qs(self.sent.decode()))
            self.reply(200, json.dumps({"token": registry.token}).encode())
        elif match := re.fullmatch(r"/v2/(.+)/manifests/(.+)", path):
            self._manifest(match[1], match[2])
        elif re.fullmatch(r"/v2/.+/blobs/uploads/.*", path):
            self._upload(path)
        elif match := re.fullmatch(r"/v2/.+/blobs/(.+)", path):
            self._blob(match[1])
        else:
            self.reply(404, b"404 page not found")

    def _manifest(self, name: str, reference: str) -> None:
        registry = self.server.registry
        if self.command == "PUT":
            registry.manifests[reference] = registry.manifests[digest_of(self.sent)] = (
                self.headers["Content-Type"], self.sent,
            )  # fmt: skip
            self.reply(201, b"", {"Docker-Content-Digest": digest_of(self.sent)})
            return
        found = registry.manifests.get(reference)
        if found is None:
            self.reply(404, registry.error("MANIFEST_UNKNOWN", "manifest unknown"))
            return
        self.reply(200, found[1], {"Content-Type": found[0], "Docker-Content-Digest": digest_of(found[1])})

    def _blob(self, digest: str) -> None:
        data = self.server.registry.blobs.get(digest)
        if data is None:
            self.reply(404, self.server.registry.error("BLOB_UNKNOWN", "blob unknown to registry"))
            return
        match = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if match and self.server.registry.ranges:
            start = int(match[1])
            end = len(data) - 1
            self.reply(206, data[start:], {"Content-Range": f"bytes {start}-{end}/{len(data)}"})
        else:
            self.reply(200, data)

    def _upload(self, path: str) -> None:
        registry, query = self.server.registry, parse_qs(urlsplit(self.path).query)
        if self.command == "POST":
            if registry.mounts and query.get("mount", [""])[0] in registry.blobs:
                self.reply(201)
                return
            key = str(len(registry.uploads))
            registry.uploads[key] = bytearray()
        else:
            key = path.rsplit("/", 1)[1]
        held = registry.uploads.get(key)
        if held is None or self.command == "DELETE":
            registry.uploads.pop(key, None)
            self.reply(404 if held is None else 204, registry.error("BLOB_UPLOAD_UNKNOWN", "blob upload unknown"))
            return
        held += self.sent
        if self.command == "PUT":
            digest = query["digest"][0]
            right = digest_of(bytes(held)) == digest
            if right:
                registry.blobs[digest] = bytes(held)
            self.reply(201 if right else 400, b"" if right else registry.error("DIGEST_INVALID", "wrong digest"))
            return
        location = f"{registry.upload_root}{path.rsplit('/', 1)[0]}/{key}?state=x"
        status = {"POST": 202, "PATCH": 202, "GET": 204}[self.command]
        self.reply(status, b"", {"Location": location, "Range": f"0-{max(len(held) - 1, 0)}"})


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    registry: FaultyRegistry

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Connections that a test cut."""


class FaultyRegistry(Served):
    """Serves on a free port of loopback until `close`."""

    def __init__(self) -> None:
        self.blobs: dict[str, bytes] = {}
        self.manifests: dict[str, tuple[str, bytes]] = {}
        self.uploads: dict[str, bytearray] = {}
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        self.faults: list[Fault] = []
        self.wants: Callable[[Handler], bool] | None = None
        self.challenge = 'Basic realm="tests"'
        self.token = "the-token"
        self.token_queries: list[dict[str, list[str]]] = []
        self.ranges = True
        self.mounts = False
        self.upload_root = ""
        server = _Server(("127.0.0.1", 0), Handler)
        server.registry = self
        super().__init__(server)
        self.host = f"127.0.0.1:{self.port}"
        self.url = f"http://{self.host}"

    @staticmethod
    def error(code: str, message: str) -> bytes:
        return json.dumps({"errors": [{"code": code, "message": message}]}).encode()

    def add_blob(self, data: bytes) -> dict[str, Any]:
        """Returns its descriptor, as a layer."""
        self.blobs[digest_of(data)] = data
        return {"mediaType": LAYER, "digest": digest_of(data), "size": len(data)}

    def add_manifest(self, tag: str, document: dict[str, Any], media_type: str = DOCKER_MANIFEST) -> str:
        data = json.dumps(document).encode()
        return self.add_raw_manifest(tag, data, media_type)

    def add_raw_manifest(self, tag: str, data: bytes, media_type: str = DOCKER_MANIFEST) -> str:
        self.manifests[tag] = self.manifests[digest_of(data)] = (media_type, data)
        return digest_of(data)

    def add_image(self, tag: str, layers: list[bytes], diff_ids: list[str], **config: Any) -> str:
        """An image of gzipped layers; returns the manifest's digest."""
        document = {
            "architecture": "amd64", "os": "linux", "config": {"Cmd": ["true"]},
            "rootfs": {"type": "layers", "diff_ids": diff_ids}, **config,
        }  # fmt: skip
        described = {**self.add_blob(json.dumps(document).encode()), "mediaType": DOCKER_CONFIG}
        manifest = {
            "schemaVersion": 2, "mediaType": DOCKER_MANIFEST, "config": described,
            "layers": [self.add_blob(layer) for layer in layers],
        }  # fmt: skip
        return self.add_manifest(tag, manifest)

    def heads(self, name: str) -> list[str]:
        """This header of every request that had it."""
        return [headers[name] for _, _, headers in self.requests if name in headers]


def once(fault: Fault, times: int = 1) -> Fault:
    """The fault, so many times."""
    left = [times]

    def limited(request: Handler) -> bool:
        if left[0] and fault(request):
            left[0] -= 1
            return True
        return False

    return limited


def on(pattern: str, what: Callable[[Handler], None]) -> Fault:
    """The fault for requests whose method and path match."""

    def fault(request: Handler) -> bool:
        if not re.search(pattern, f"{request.command} {request.path}"):
            return False
        what(request)
        return True

    return fault


def basic_auth(username: str, password: str) -> Callable[[Handler], bool]:
    """What a registry that wants this password wants."""
    right = "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()
    return lambda request: request.headers.get("Authorization") == right
