"""What can go wrong, as few classes, each something a caller can act on.

    Rejection (a value)    what the domain answers to a command that it does not carry out
    ├── InvalidArgument    the request itself is wrong                          400
    ├── NotFound           no such object                                       404
    ├── NotModified        the object is already as asked                       304
    ├── Conflict           the object's state, or another object, forbids it    409
    ├── Forbidden          policy forbids it                                    403
    └── Unsupported        this engine or this host cannot do it                501

    Rejected (raised)      carries a Rejection out of asynchronous code
    PortError (raised)     an adapter could not do its work                     500
    ├── KernelError        a kernel operation failed: operation, syscall, errno, path
    ├── Unavailable        a part that the work needs is not there              503
    └── DigestMismatch     bytes do not match the digest or size that names them
    StoreError (raised)    the event log could not take or give events          500
    ├── VersionConflict    somebody else appended to the stream: fold again, decide again
    ├── StoreFailed        the disk refused: nothing of the append was kept
    ├── StoreRefused       the log cannot be opened: in use, damaged, or of a newer docket
    ├── EventsDropped      events that were asked for are no longer kept
    └── CorruptEvent       an event whose bytes, hash or shape are not what was appended

The HTTP status is chosen once, in ``adapters/api``. Messages are lower case unless a Docker client matches on the text.
"""

from __future__ import annotations

import msgspec


class Rejection(msgspec.Struct, frozen=True):
    """A command that the domain does not carry out, and why."""

    message: str


class InvalidArgument(Rejection, frozen=True):
    """The request itself is wrong."""


class NotFound(Rejection, frozen=True):
    """The object that the request names does not exist."""


class NotModified(Rejection, frozen=True):
    """The object is already in the state that was asked for."""


class Conflict(Rejection, frozen=True):
    """The object's state, or another object, forbids what was asked."""


class Forbidden(Rejection, frozen=True):
    """Policy forbids what was asked."""


class Unsupported(Rejection, frozen=True):
    """This engine, or the host it runs on, cannot do what was asked."""


class Rejected(Exception):
    """Raised where a `Rejection` has to cross asynchronous code."""

    def __init__(self, rejection: Rejection) -> None:
        super().__init__(rejection.message)
        self.rejection = rejection


class PortError(Exception):
    """An adapter could not do its work."""


class KernelError(PortError):
    """A kernel operation failed.

    ``operation`` is the description of the plan's operation (empty outside a plan), ``syscall`` the system call,
    ``errno`` its error number, ``path`` the object it was about (empty when there is none),
    ``reason`` the text of the error number, which the adapter knows.
    """

    def __init__(self, operation: str, syscall: str, errno: int, path: str = "", reason: str = "") -> None:
        self.operation = operation
        self.syscall = syscall
        self.errno = errno
        self.path = path
        self.reason = reason
        where = f" {path}" if path else ""
        what = f"{operation}: " if operation else ""
        super().__init__(f"{what}{syscall}{where}: {reason or f'errno {errno}'}")


class Unavailable(PortError):
    """A part that the work needs is not there."""


class DigestMismatch(PortError):
    """Bytes do not match the digest or size that names them."""


class StoreError(Exception):
    """The event log could not take or give events."""


class VersionConflict(StoreError):
    """Somebody else appended to the stream first."""


class StoreFailed(StoreError):
    """The disk refused an append; nothing of it was kept."""


class StoreRefused(StoreError):
    """The log cannot be opened: in use, damaged, or written by a newer docket."""


class EventsDropped(StoreError):
    """Events up to ``floor`` were asked for, and are no longer kept."""

    def __init__(self, floor: int) -> None:
        super().__init__(f"events up to {floor} are no longer kept, their archives were dropped: ask for later ones")
        self.floor = floor


class CorruptEvent(StoreError):
    """A stored event is not what was appended."""

    def __init__(self, position: int, message: str) -> None:
        super().__init__(f"event {position}: {message}")
        self.position = position
