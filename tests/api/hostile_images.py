"""Images for the tests of this folder: a busybox, and whatever members a test puts beside it, hostile ones too."""

from __future__ import annotations

import io
import shutil
import tarfile
from collections.abc import Mapping
from pathlib import Path

import pytest
from docker_daemon import Daemon

Member = bytes | str
"""A file's content, or a symbolic link's target."""

_APPLETS = "sh cat ls echo id sleep touch mkdir mount umount mknod unshare ln mv rm seq grep true head dd wc stat".split()


def import_image(daemon: Daemon, name: str, directory: Path, members: Mapping[str, Member]) -> None:
    """Import an image with busybox in /bin, and the members named. A name that ends in / is a directory."""
    busybox = shutil.which("busybox")
    if busybox is None:
        pytest.skip("needs a static busybox: install it")
    archive = directory / "image.tar"
    with tarfile.open(archive, "w") as tar:
        _add(tar, "bin/busybox", Path(busybox).read_bytes(), 0o755)
        for applet in _APPLETS:
            _add(tar, f"bin/{applet}", "busybox", 0o777)
        for path, member in members.items():
            _add(tar, path, member, 0o755)
    daemon.out("import", "-c", "ENV PATH=/bin", str(archive), name)
    archive.unlink()


def _add(tar: tarfile.TarFile, path: str, member: Member, mode: int) -> None:
    entry = tarfile.TarInfo(path.rstrip("/"))
    entry.mode = mode
    if path.endswith("/"):
        entry.type = tarfile.DIRTYPE
        tar.addfile(entry)
    elif isinstance(member, str):
        entry.type, entry.linkname = tarfile.SYMTYPE, member
        tar.addfile(entry)
    else:
        entry.size = len(member)
        tar.addfile(entry, io.BytesIO(member))
