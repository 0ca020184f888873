"""``--cgroup-parent``: where in the cgroup2 hierarchy a container's group lies.

A path below the mount point, with or without ``/`` in front; or the name of a slice, whose path is the one that systemd gives it
(systemd.slice(5)): ``a-b.slice`` lies in ``a.slice``, ``-.slice`` is the root. With the driver cgroupfs docket makes its groups
itself, so the parent should be one that systemd was told to leave alone (``Delegate=yes``); with the driver systemd it must be a
slice.
"""

from __future__ import annotations

from docket.domain.errors import InvalidArgument, Rejected

_LONGEST = 1024
_SLICE = ".slice"


def check_cgroup_parent(text: str) -> str:
    """The parent as it was given, empty for none. Raises `Rejected`."""
    if not text:
        return ""
    parts = parent_path(text).split("/")
    if len(text) > _LONGEST or not all(_is_name(part) for part in parts if part):
        raise _invalid(text, "a path of names without . and .. is expected")
    if _is_slice(text) and text != f"-{_SLICE}" and not all(text.removesuffix(_SLICE).split("-")):
        raise _invalid(text, "the name of a slice is words with single dashes between")
    return text


def parent_path(text: str) -> str:
    """The path below the mount point, without a slash at either end; empty is the root of the hierarchy."""
    if not _is_slice(text):
        return "/".join(part for part in text.split("/") if part)
    words = text.removesuffix(_SLICE).split("-")
    if words == ["", ""]:
        return ""
    return "/".join("-".join(words[: count + 1]) + _SLICE for count in range(len(words)))


def check_slice(text: str) -> str:
    """The parent of systemd's scopes, which is a slice; empty for none. Raises `Rejected` in dockerd's words."""
    if text and not _is_slice(check_cgroup_parent(text)):
        raise Rejected(InvalidArgument('cgroup-parent for systemd cgroup should be a valid slice named as "xxx.slice"'))
    return text


def _is_slice(text: str) -> bool:
    return text.endswith(_SLICE) and "/" not in text


def _is_name(part: str) -> bool:
    return part not in (".", "..") and len(part.encode("utf-8", "replace")) <= 255 and part.isprintable() and part.isascii()


def _invalid(text: str, expected: str) -> Rejected:
    return Rejected(InvalidArgument(f"invalid cgroup-parent {ascii(text[:60])[1:-1]}: {expected}"))
