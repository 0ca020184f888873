"""`docket cp`: between a container and the local file system, or a tar archive on standard input or output.

Where things go is decided as Docker's client decides it: into a directory that is there, under the new name where nothing is, and
`/.` behind a source means what is in it. The engine resolves names in the container; here they are names only.
"""

from __future__ import annotations

import os

from docket.cli.client import quote
from docket.cli.context import encode, write_all
from docket.cli.errors import CliError, EngineError
from docket.cli.options import Command
from docket.cli.sanitise import printable
from docket.cli.tar import Reader, renamed
from docket.domain.compact_json import loads
from docket.domain.pieces import gathered

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

    from docket.cli.context import Context
    from docket.cli.options import Options

_GO_DIRECTORY, _GO_LINK = 1 << 31, 1 << 27
_GO_OTHERS = 1 << 26 | 1 << 25 | 1 << 24 | 1 << 19
_PIECE = 1 << 18


class Place:
    """One end of a copy: whether it is there, whether it is a directory, and what its archive is to be called instead."""

    __slots__ = ("exists", "is_directory", "path", "rebase")

    def __init__(self, path: str, exists: bool = False, is_directory: bool = False, rebase: str = "") -> None:
        self.path = path
        self.exists = exists
        self.is_directory = is_directory
        self.rebase = rebase


def _copy(context: Context, options: Options) -> int:
    source, target = options.args
    if not source:
        raise CliError("source can not be empty")
    if not target:
        raise CliError("destination can not be empty")
    (from_container, from_path), (to_container, to_path) = split(source), split(target)
    if from_container and to_container:
        raise CliError("copying between containers is not supported")
    if from_container:
        _copy_out(context, options, from_container, from_path, to_path)
    elif to_container:
        _copy_in(context, options, from_path, to_container, to_path)
    else:
        raise CliError("must specify at least one container source")
    return 0


def split(argument: str) -> tuple[str, str]:
    """Container and path; no container for a local path: absolute, without a colon, or with a dot in front."""
    if argument.startswith("/"):
        return "", argument
    container, colon, path = argument.partition(":")
    return (container, path) if colon and not container.startswith(".") else ("", argument)


# Out of a container.


def _copy_out(context: Context, options: Options, container: str, path: str, target: str) -> None:
    rebase = ""
    if target == "-" and os.isatty(1):
        raise CliError("cowardly refusing to save to a terminal: redirect standard output")
    if options["follow-link"]:
        path, rebase = _followed(context, container, path)
    response = context.client().request("GET", f"/containers/{quote(container)}/archive", [("path", path)])
    told = _stat_of(response.headers)
    if target == "-":
        context.flush()
        for chunk in response.chunks():
            write_all(1, chunk)
        return
    counted = _Counted(response.chunks())
    pieces: Iterable[bytes] = counted
    source = Place(path, True, bool(told["mode"] & _GO_DIRECTORY), rebase)
    if rebase:
        pieces = renamed(pieces, encode(split_entry(path)[1]), encode(rebase))
    from docket.cli.local_tree import unpack

    directory, prepared = arranged(pieces, source, _local_target(_absolute(target)))
    unpack(Reader(prepared), directory)
    _say(context, options, counted.size, target)


def _followed(context: Context, container: str, path: str) -> tuple[str, str]:
    """Where a link leads, and what its archive is to be called."""
    try:
        told = _stat(context, container, path)
    except EngineError:
        return path, ""  # the copy itself says why
    if not told["mode"] & _GO_LINK:
        return path, ""
    target = str(told["linkTarget"])
    if not target.startswith("/"):
        target = os.path.join(split_entry(path)[0], target)
    return rebased(path, target)


def _local_target(path: str) -> Place:
    """The local destination; links are followed, and its parent must be there."""
    for _ in range(10):
        if not os.path.islink(path):
            break
        path = os.path.join(split_entry(path)[0], os.readlink(path))
    if os.path.lexists(path):
        return Place(path, True, os.path.isdir(path))
    parent = split_entry(path)[0]
    if not os.path.isdir(parent or "."):
        raise CliError(f"invalid output path: directory {printable(repr(parent.rstrip('/')))[1:-1]!r} does not exist")
    return Place(path)


# Into a container.


def _copy_in(context: Context, options: Options, path: str, container: str, target: str) -> None:
    there = _target_in(context, container, target)
    query = [("noOverwriteDirNonDir", "true")] + ([("copyUIDGID", "true")] if options["archive"] else [])
    url = f"/containers/{quote(container)}/archive"
    if path == "-":
        if not there.is_directory:
            raise CliError(f'destination "{printable(container)}:{printable(target)}" must be a directory')
        context.client().upload("PUT", url, [("path", there.path), *query], _stdin()).read()
        return
    from docket.cli.local_tree import archive_of

    source = _local_source(_absolute(path), options["follow-link"])
    directory, base = split_entry(source.path)
    counted = _Counted(archive_of(os.fsencode(directory), os.fsencode(base), os.fsencode(source.rebase or base)))
    into, prepared = arranged(counted, source, there)
    context.client().upload("PUT", url, [("path", into), *query], gathered(prepared)).read()
    _say(context, options, counted.size, f"{container}:{target}")


def _target_in(context: Context, container: str, path: str) -> Place:
    """The destination in the container. One that cannot be looked at may still be made: its parent may be there."""
    try:
        told = _stat(context, container, path)
        if told["mode"] & _GO_LINK:
            target = str(told["linkTarget"])
            path = target if target.startswith("/") else os.path.join(split_entry(path)[0], target)
            told = _stat(context, container, path)
    except EngineError:
        return Place(path)
    if told["mode"] & _GO_OTHERS:
        raise CliError(f'destination "{printable(container)}:{printable(path)}" must be a directory or a regular file')
    return Place(path, True, bool(told["mode"] & _GO_DIRECTORY))


def _local_source(path: str, follow: bool) -> Place:
    """The local source: a link is followed when asked, or when it stands before a slash."""
    if not os.path.lexists(path.rstrip("/") or "/"):
        raise CliError(f"lstat {printable(path)}: no such file or directory")
    if follow:
        resolved, rebase = rebased(path, os.path.realpath(path))
    else:
        head, base = os.path.split(path)
        resolved = os.path.join(os.path.realpath(head), base)
        differs = path.endswith("/") and go_base(path) != go_base(resolved)
        rebase = go_base(path) if differs else ""
    is_directory = os.path.isdir(resolved) and not os.path.islink(resolved)
    return Place(resolved, True, is_directory, rebase)


def _stdin() -> Iterator[bytes]:
    while piece := os.read(0, _PIECE):
        yield piece


# Names, as Go's filepath and Docker's archive package see them.


def go_base(path: str) -> str:
    """The last part; of a path that ends with a slash the part before it."""
    return os.path.basename(path.rstrip("/")) or ("/" if path.startswith("/") else ".")


def split_entry(path: str) -> tuple[str, str]:
    """Directory, with its slash, and entry of a cleaned path; `.` stays an entry where it was one."""
    cleaned = os.path.normpath(path)
    if go_base(path) == ".":
        cleaned += "/."
    head, slash, base = cleaned.rpartition("/")
    return head + slash, base


def rebased(path: str, resolved: str) -> tuple[str, str]:
    """The resolved path with the ending of the other, and the name that was asked for if the last part has changed."""
    if go_base(path) == "." and go_base(resolved) != ".":
        resolved += "/."
    if path.endswith("/") and not resolved.endswith("/"):
        resolved += "/"
    return resolved, go_base(path) if go_base(path) != go_base(resolved) else ""


def arranged(pieces: Iterable[bytes], source: Place, target: Place) -> tuple[str, Iterable[bytes]]:
    """The directory to unpack in, and the archive under the names that its members get there."""
    directory, name = split_entry(target.path)
    old = source.rebase or split_entry(source.path)[1]
    if target.exists and target.is_directory:
        return target.path, pieces
    if target.exists and source.is_directory:
        raise CliError("cannot copy directory")
    if not target.exists and not source.is_directory and (target.path.endswith("/") or go_base(target.path) == "."):
        raise CliError("no such directory")
    return directory or ".", renamed(pieces, encode(old), encode(name))


def _absolute(path: str) -> str:
    """The absolute path, with the slash or dot that stood at its end."""
    found = os.path.abspath(path)
    if go_base(path) == "." and go_base(found) != ".":
        found += "/."
    return found + "/" if path.endswith("/") and not found.endswith("/") else found


# The engine's answers.


def _stat(context: Context, container: str, path: str) -> dict[str, Any]:
    response = context.client().request("HEAD", f"/containers/{quote(container)}/archive", [("path", path)])
    told = _stat_of(response.headers)
    response.read()
    return told


def _stat_of(headers: dict[str, str]) -> dict[str, Any]:
    from binascii import a2b_base64

    try:
        told: dict[str, Any] = loads(a2b_base64(headers["x-docker-container-path-stat"]))
    except (KeyError, ValueError):
        raise CliError("the docket daemon's answer does not say what the path is") from None
    return told


class _Counted:
    """Pieces on their way, and how many bytes they were."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = pieces
        self.size = 0

    def __iter__(self) -> Iterator[bytes]:
        for piece in self._pieces:
            self.size += len(piece)
            yield piece


def _say(context: Context, options: Options, size: int, target: str) -> None:
    if not options["quiet"] and os.isatty(2):
        from docket.cli.formatting import human_size

        context.warn(f"Successfully copied {human_size(size)} to {printable(target)}")


CP = Command(
    "docket cp", "Copy files between a container and the local file system",
    (
        ("archive", "a", "bool", False, "Give the files to the container's user"),
        ("follow-link", "L", "bool", False, "Copy what a link in the source leads to"),
        ("quiet", "q", "bool", False, "Do not say how much was copied"),
    ),
    _copy, "CONTAINER:SRC_PATH DEST_PATH|-\n        docket cp [OPTIONS] SRC_PATH|- CONTAINER:DEST_PATH", 2, 2,
    aliases=("docket container cp", "docket cp"),
)  # fmt: skip
