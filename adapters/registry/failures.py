"""A registry's error as the sentence that Docker makes of it (Distribution specification, "Error Codes")."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

import msgspec

from docket.domain.registry import RegistryError

MAX_ERROR_BYTES = 64 * 1024
_MAX_MESSAGE = 500
_KINDS = {
    "MANIFEST_UNKNOWN": "not found",
    "NAME_UNKNOWN": "denied",
    "BLOB_UNKNOWN": "not found",
    "UNAUTHORIZED": "unauthorized",
    "DENIED": "denied",
}
_STATUS_KINDS = {401: "unauthorized", 403: "denied", 404: "not found"}


def failure_of(status: int, body: bytes) -> RegistryError:
    """The error that an answer with this status and body means."""
    errors = _errors(body)
    if not errors:
        return RegistryError(_without_code(status, body), _STATUS_KINDS.get(status, "failed"))
    kind = _KINDS.get(errors[0][0], _STATUS_KINDS.get(status, "failed"))
    texts = [f"{code.lower().replace('_', ' ')}: {message}" if message else code.lower() for code, message in errors]
    return RegistryError(texts[0] if len(texts) == 1 else "errors:\n" + "\n".join(texts) + "\n", kind)


def _errors(body: bytes) -> list[tuple[str, str]]:
    """``(code, message)`` of each error in the body, as much as can be read of it."""
    try:
        document: Any = msgspec.json.decode(body)
    except (ValueError, RecursionError):
        return []
    if not isinstance(document, dict):
        return []
    listed = document.get("errors")
    if isinstance(listed, list):
        return [
            (shown(each.get("code", "UNKNOWN")), shown(each.get("message", "")))
            for each in listed[:5]
            if isinstance(each, dict)
        ]
    # Token services say it in one of these.
    for name in ("details", "detail", "message", "error_description", "error"):
        if isinstance(document.get(name), str):
            return [("UNAUTHORIZED" if "password" in document[name] else "UNKNOWN", shown(document[name]))]
    return []


def _without_code(status: int, body: bytes) -> str:
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = ""
    text = f"received unexpected HTTP status: {status} {phrase}".rstrip()
    return "unauthorized: authentication required" if status == 401 else text


def shown(text: object) -> str:
    """What a registry says, fit to be shown: one line of printable characters, and not too many."""
    kept = "".join(char if char.isprintable() else " " for char in str(text)[:_MAX_MESSAGE])
    return " ".join(kept.split()).encode("utf-8", "replace").decode()
