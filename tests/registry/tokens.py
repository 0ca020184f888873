"""A token service as Debian's registry trusts one: it signs what is asked for, when the password is right."""

from __future__ import annotations

import base64
import json
import subprocess
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.registry.served import Served

SERVICE, ISSUER = "tests", "issuer of the tests"


class TokenService(Served):
    """Serves on a free port of loopback. Everybody may pull ``public/…``, ``me`` may do everything."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True)
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "key.pem", "-out", "cert.pem", "-subj",
             "/CN=issuer"],
            cwd=folder, check=True, capture_output=True,
        )  # fmt: skip
        body = "".join((folder / "cert.pem").read_text().splitlines()[1:-1])
        self._header = {"typ": "JWT", "alg": "RS256", "x5c": [body]}
        self.requests: list[tuple[str, list[str]]] = []
        service = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, format: str, *arguments: Any) -> None:
                pass

            def do_GET(self) -> None:
                status, body = service.answer(parse_qs(urlsplit(self.path).query), self.headers.get("Authorization", ""))
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        super().__init__(ThreadingHTTPServer(("127.0.0.1", 0), Handler))

    @property
    def configuration(self) -> str:
        """The registry's auth section."""
        return (
            f"auth:\n  token:\n    realm: http://127.0.0.1:{self.port}/token\n    service: {SERVICE}\n"
            f"    issuer: {ISSUER}\n    rootcertbundle: {self.folder}/cert.pem\n"
        )

    def answer(self, query: dict[str, list[str]], authorization: str) -> tuple[int, bytes]:
        name, _, password = base64.b64decode(authorization.removeprefix("Basic ")).decode().partition(":")
        self.requests.append((name, query.get("scope", [])))
        if name and (name, password) != ("me", "secret"):
            return 401, b'{"details":"incorrect username or password"}'
        access = []
        for scope in query.get("scope", []):
            kind, _, rest = scope.partition(":")
            repository, _, actions = rest.rpartition(":")
            allowed = actions.split(",") if name == "me" else ["pull"] if repository.startswith("public/") else []
            access.append({"type": kind, "name": repository, "actions": allowed})
        return 200, json.dumps({"token": self._signed(name, access)}).encode()

    def _signed(self, name: str, access: list[dict[str, Any]]) -> str:
        now = int(time.time())
        claims = {
            "iss": ISSUER, "aud": SERVICE, "sub": name, "iat": now, "nbf": now - 10, "exp": now + 300, "jti": str(time.time_ns()),
            "access": access,
        }  # fmt: skip
        text = f"{_packed(json.dumps(self._header).encode())}.{_packed(json.dumps(claims).encode())}"
        signature = subprocess.run(
            ["openssl", "dgst", "-sha256", "-sign", "key.pem"],
            cwd=self.folder,
            input=text.encode(),
            capture_output=True,
            check=True,
        ).stdout
        return f"{text}.{_packed(signature)}"


def _packed(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")
