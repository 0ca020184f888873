"""What the image adapters raise besides the domain's own errors, and how `OSError` becomes one of those."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from docket.domain.errors import KernelError, PortError


class InvalidArchive(PortError):
    """An archive that is damaged, not one, or beyond a limit; whoever sent it has to change it."""


def disk_error(operation: str, error: OSError) -> KernelError:
    """Returns the port's error for what the disk refused."""
    path = "" if error.filename is None else str(error.filename)
    return KernelError(operation, "file access", error.errno or 0, path, error.strerror or str(error))


@contextmanager
def disk_errors(operation: str) -> Iterator[None]:
    """Turns every `OSError` of the block into a `KernelError` that names the operation."""
    try:
        yield
    except OSError as error:
        raise disk_error(operation, error) from error
