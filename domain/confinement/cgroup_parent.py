"""``--cgroup-parent``: where in the cgroup2 hierarchy a container's group lies.

With the cgroupfs driver it is a path below the mount point, ``/`` or not in front. With the systemd driver it is the name of a
slice, and the path is the one that systemd gives it (systemd.slice(5)): ``a-b.slice`` lies in ``a.slice``, ``-.slice`` is the root.
"""

from __future__ import annotations

from docket.domain.errors import InvalidArgument, Rejected

_LONGEST = 1024
_SLICE = ".slice"


def check_cgroup_parent(text: str, *, systemd: bool) -> str:
    """The parent as it was given, empty for none. Raises `Rejected`."""
    if not text:
        return ""
    if systemd and not (text.endswith(_SLICE) and "/" not in text):
        told = 'cgroup-parent for systemd cgroup should be a valid slice named as "xxx.slice"'
        raise Rejected(InvalidArgument(told))
    parts = parent_path(text).split("/")
    if len(text) > _LONGEST or not all(_is_name(part) for part in parts if part):
        raise Rejected(InvalidArgument(f"invalid cgroup-parent {ascii(text[:60])[1:-1]}: a path of names without . and .. is expected"))
    if systemd and not _is_slice(text):
        raise Rejected(InvalidArgument(f"invalid slice name {ascii(text[:60])[1:-1]}: words with single dashes between are expected"))
    return text


def parent_path(text: str) -> str:
    """The path below the mount point, without a slash at either end; empty is the root of the hierarchy."""
    if not text.endswith(_SLICE) or "/" in text.strip("/"):
        return text.strip("/")
    words = text.strip("/").removesuffix(_SLICE).split("-")
    if words == ["", ""]:
        return ""
    return "/".join("-".join(words[: count + 1]) + _SLICE for count in range(len(words)))


def _is_slice(text: str) -> bool:
    stem = text.removesuffix(_SLICE)
    return stem == "-" or all(stem.split("-"))


def _is_name(part: str) -> bool:
    return part not in (".", "..") and len(part.encode("utf-8", "replace")) <= 255 and part.isprintable() and part.isascii()
