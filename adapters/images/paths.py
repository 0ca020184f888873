"""The one function that turns a name from an archive into a path inside a directory (S19, S21).

The result is relative, has no empty parts, no ``.`` and no ``..``, and is bounded in length and depth. It is a name still, not
an object: whoever opens it does so beneath a directory descriptor.
"""

from __future__ import annotations

from docket.adapters.images.errors import InvalidArchive

MAX_PATH_BYTES = 4095
MAX_NAME_BYTES = 255
MAX_DEPTH = 255


def show(name: bytes) -> str:
    """The name for a message: printable, short, and unable to steer a terminal (S55)."""
    return ascii(name[:120].decode("utf-8", "backslashreplace"))


def member_path(name: bytes) -> bytes:
    """Returns where a member lies below the layer's root; empty for the root itself. Raises `InvalidArchive`.

    A leading slash means the layer's root, as it does to Docker; ``..`` is refused wherever it stands.
    """
    if len(name) > MAX_PATH_BYTES:
        raise InvalidArchive(f"member {show(name)}…: the name is {len(name)} bytes long, at most {MAX_PATH_BYTES} are taken")
    parts = [part for part in name.split(b"/") if part not in (b"", b".")]
    if b".." in parts:
        raise InvalidArchive(f"member {show(name)}: the name contains '..', which could leave the layer")
    if b"\0" in name:
        raise InvalidArchive(f"member {show(name)}: the name contains a NUL byte")
    if len(parts) > MAX_DEPTH:
        raise InvalidArchive(f"member {show(name)}…: deeper than {MAX_DEPTH} directories")
    if parts and max(map(len, parts)) > MAX_NAME_BYTES:
        raise InvalidArchive(f"member {show(name)}…: a part of the name is longer than {MAX_NAME_BYTES} bytes")
    return b"/".join(parts)
