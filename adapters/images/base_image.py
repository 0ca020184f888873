"""``docket/base``: a small image that is assembled from this machine's own programs, so that no registry is needed (S28).

Where the machine has a static busybox, the image is that one file and a link for each of its applets. Otherwise it holds a
dozen of the machine's ordinary programs and the libraries that they load. The archive depends on those files alone: all times
are the epoch, the order is fixed, owners are root, so the same machine gives the same digest.
"""

from __future__ import annotations

import os
import subprocess
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from docket.adapters.images.elf import Loader, NotElf, parse_elf
from docket.adapters.images.importer import ImageImporter, ImportedImage
from docket.domain.errors import Unavailable
from docket.domain.oci.descriptor import Platform
from docket.domain.oci.image_config import ExecutionParameters

REFERENCE = "docker.io/docket/base:latest"
CREATED = "1970-01-01T00:00:00Z"
BUSYBOX_PATHS = ("/bin/busybox", "/usr/bin/busybox", "/bin/busybox.static", "/usr/bin/busybox-static")
PROGRAMS = (
    *(
        "sh",
        "cat",
        "chmod",
        "chown",
        "cp",
        "cut",
        "date",
        "dd",
        "df",
        "echo",
        "env",
        "false",
        "find",
        "grep",
        "head",
        "hostname",
    ),
    *(
        "id",
        "kill",
        "ln",
        "ls",
        "mkdir",
        "mknod",
        "mount",
        "mv",
        "printf",
        "ps",
        "pwd",
        "readlink",
        "rm",
        "rmdir",
        "sed",
        "seq",
    ),
    *("sleep", "sort", "stat", "sync", "tail", "test", "touch", "tr", "true", "tty", "umount", "uname", "wc", "whoami", "yes"),
)
REQUIRED = frozenset({"sh", "cat", "echo", "ls", "sleep", "true", "false", "id", "env"})
_HOST_DIRECTORIES = ("/bin", "/usr/bin", "/sbin", "/usr/sbin")
PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

_GO_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "i686": "386"}
_DIRECTORIES = {
    **dict.fromkeys(("bin", "dev", "etc", "home", "mnt", "opt", "proc", "run", "sbin", "srv", "sys"), 0o755),
    **dict.fromkeys(("usr", "usr/bin", "usr/sbin", "usr/local", "usr/local/bin", "usr/local/sbin"), 0o755),
    **dict.fromkeys(("var", "var/log", "var/spool"), 0o755),
    "root": 0o700,
    "tmp": 0o1777,
    "var/tmp": 0o1777,
}
_FILES = {
    "etc/passwd": b"root:x:0:0:root:/root:/bin/sh\ndaemon:x:1:1:daemon:/usr/sbin:/bin/false\n"
    b"nobody:x:65534:65534:nobody:/nonexistent:/bin/false\n",
    "etc/group": b"root:x:0:\ndaemon:x:1:\ntty:x:5:\nusers:x:100:\nnogroup:x:65534:\n",
    "etc/shadow": b"root:*::0:99999:7:::\ndaemon:*::0:99999:7:::\nnobody:*::0:99999:7:::\n",
    "etc/hosts": b"127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n",
    "etc/hostname": b"localhost\n",
    "etc/resolv.conf": b"",
    "etc/nsswitch.conf": b"passwd: files\ngroup: files\nshadow: files\nhosts: files dns\n",
    "etc/profile": b"export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n",
    "etc/os-release": b'NAME="docket base"\nID=docket-base\nPRETTY_NAME="docket base"\n',
}


class Contents(msgspec.Struct):
    """The files and links of the image, by path without a leading slash; ``source`` says where they are from."""

    source: str
    files: dict[str, tuple[bytes, int]]
    links: dict[str, str]


def base_parameters(contents: Contents) -> ExecutionParameters:
    """The parameters that containers of the image start with."""
    labels = {"org.opencontainers.image.title": "docket base", "org.opencontainers.image.description": contents.source}
    return ExecutionParameters(env=(PATH,), cmd=("sh",), working_dir="/", labels=labels)


def host_platform() -> Platform:
    """This machine in Go's names, which images are described with."""
    machine = os.uname().machine
    return Platform(_GO_ARCHITECTURES.get(machine, machine), "linux")


def import_base(importer: ImageImporter) -> ImportedImage:
    """Assembles the image and imports it the ordinary way; raises `Unavailable` where this machine has nothing to put in."""
    contents = base_contents()
    return importer.import_tar(
        base_archive(contents),
        created=CREATED,
        platform=host_platform(),
        message=f"assembled from {contents.source}",
        parameters=base_parameters(contents),
    )


def base_contents(busybox_paths: Sequence[str] = BUSYBOX_PATHS) -> Contents:
    """Collects what this machine has; raises `Unavailable` if that is no static busybox and no shell either."""
    for path in busybox_paths:
        found = _busybox(path)
        if found is not None:
            return found
    return _host_programs()


def _busybox(path: str) -> Contents | None:
    """The busybox at ``path`` with its applets; None if there is none, or one that needs libraries."""
    try:
        data = Path(path).read_bytes()
        if not parse_elf(data).is_static:
            return None
        listed = subprocess.run([path, "--list"], capture_output=True, timeout=20, check=True, stdin=subprocess.DEVNULL)
    except (OSError, NotElf, subprocess.SubprocessError):
        return None
    applets = sorted(set(listed.stdout.decode("ascii", "replace").split()) - {"busybox"})
    links = {f"bin/{name}": "busybox" for name in applets if name.replace("[", "").replace("-", "").isalnum() or name in "[["}
    if "bin/sh" not in links:
        return None
    # Scripts begin with #!/usr/bin/env, whatever the machine's own layout is.
    links["usr/bin/env"] = "../../bin/busybox"
    return Contents(f"busybox with {len(links) - 1} applets", {"bin/busybox": (data, 0o755)}, links)


def _host_programs() -> Contents:
    loader = Loader()
    files: dict[str, tuple[bytes, int]] = {}
    missing: list[str] = []
    for name in PROGRAMS:
        try:
            path, libraries = _program(loader, name)
        except FileNotFoundError:
            missing.append(name)
            continue
        files[f"bin/{name}"] = (Path(path).read_bytes(), 0o755)
        files.update({library.lstrip("/"): (data, 0o755) for library, data in libraries.items()})
    lacking = sorted(REQUIRED.intersection(missing))
    if lacking:
        raise Unavailable(
            f"cannot assemble {REFERENCE}: this machine has no static busybox and lacks {', '.join(lacking)}: "
            "install busybox-static"
        )
    return Contents(f"{len(PROGRAMS) - len(missing)} programs of the host", files, {"usr/bin/env": "../../bin/env"})


def _program(loader: Loader, name: str) -> tuple[str, dict[str, bytes]]:
    """The first program of that name that runs with libraries of this machine; scripts are passed over."""
    for directory in _HOST_DIRECTORIES:
        path = f"{directory}/{name}"
        try:
            return path, loader.closure(path)
        except (FileNotFoundError, NotElf):
            continue
    raise FileNotFoundError(2, "no such program on this machine", name)


def base_archive(contents: Contents) -> Iterator[bytes]:
    """Yields the image's one layer as a tar archive; equal contents give equal bytes."""
    directories = dict(_DIRECTORIES)
    for path in (*contents.files, *contents.links):
        parts = path.split("/")[:-1]
        for count in range(1, len(parts) + 1):
            directories.setdefault("/".join(parts[:count]), 0o755)
    for path in sorted(directories):
        yield _header(path, tarfile.DIRTYPE, directories[path])
    files = {**{path: (data, 0o600 if path == "etc/shadow" else 0o644) for path, data in _FILES.items()}, **contents.files}
    for path in sorted(files):
        data, mode = files[path]
        yield _header(path, tarfile.REGTYPE, mode, len(data))
        yield data + bytes(-len(data) % 512)
    for path in sorted(contents.links):
        yield _header(path, tarfile.SYMTYPE, 0o777, target=contents.links[path])
    yield bytes(1024)


def _header(path: str, kind: bytes, mode: int, size: int = 0, target: str = "") -> bytes:
    member = tarfile.TarInfo(path)
    member.type = kind
    member.mode = mode
    member.size = size
    member.linkname = target
    return member.tobuf(tarfile.USTAR_FORMAT, "utf-8", "strict")
