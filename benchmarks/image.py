"""The image that every engine runs: one static busybox and a link for each command that a scenario uses."""

import io
import os
import subprocess
import tarfile
from pathlib import Path

REFERENCE = "benchmark:latest"
COMMANDS = ("sh", "true", "cat", "echo", "head", "sleep", "yes")
FOLDERS = ("bin", "dev", "etc", "proc", "sys", "tmp")


class NoBusybox(Exception):
    """This machine has no static busybox."""


def busybox() -> Path:
    """The machine's static busybox. Raises NoBusybox."""
    path = Path("/bin/busybox")
    if not path.exists():
        raise NoBusybox("/bin/busybox is missing: install busybox-static")
    program_headers = subprocess.run(["ldd", str(path)], capture_output=True, text=True, check=False)
    if "not a dynamic executable" not in program_headers.stdout + program_headers.stderr:
        raise NoBusybox("/bin/busybox needs libraries: install busybox-static")
    return path


def write_tar(target: Path) -> Path:
    """Writes the root file system as a tar file for `import`."""
    with tarfile.open(target, "w") as tar:
        for folder in FOLDERS:
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(entry)
        program = busybox().read_bytes()
        entry = tarfile.TarInfo("bin/busybox")
        entry.size, entry.mode = len(program), 0o755
        tar.addfile(entry, io.BytesIO(program))
        for command in COMMANDS:
            entry = tarfile.TarInfo(f"bin/{command}")
            entry.type, entry.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(entry)
    return target


def write_rootfs(target: Path) -> Path:
    """Lays the same files out in a directory, for runtimes that know no images."""
    for folder in FOLDERS:
        (target / folder).mkdir(parents=True, exist_ok=True)
    (target / "bin/busybox").write_bytes(busybox().read_bytes())
    (target / "bin/busybox").chmod(0o755)
    for command in COMMANDS:
        os.symlink("busybox", target / "bin" / command)
    return target
