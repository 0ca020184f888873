"""As much of D-Bus as asking systemd for a unit takes: one connection without a bus in between, calls, and signals.

The form of messages is that of the D-Bus specification, "Message Format" and "Type System": little-endian, values aligned to their
size, and a signature that says what they are. Only the types ``y b u t s o g``, arrays, structures and variants are known: nothing
else is sent, and no more is read of what comes. It uses raw sockets only, so that a shim can carry it, which has no library.
"""

from __future__ import annotations

import _socket
import os
from typing import Any

_CALL, _RETURN, _ERROR, SIGNAL = 1, 2, 3, 4
_PATH, _INTERFACE, _MEMBER, _ERROR_NAME, _REPLY_SERIAL, _DESTINATION, _SIGNATURE = 1, 2, 3, 4, 5, 6, 8
_SIZES = {"y": 1, "b": 4, "u": 4, "t": 8}
_ALIGNMENT = {**_SIZES, "s": 4, "o": 4, "g": 1, "a": 4, "(": 8, "v": 1}
_LONGEST = 1 << 20


class DBusError(Exception):
    """The other side answered with an error, or not in D-Bus. ``name`` is the error's name, empty for the latter."""

    def __init__(self, name: str, text: str) -> None:
        super().__init__(f"{name}: {text}" if name else text)
        self.name = name


class Message:
    """What came: a signal or the answer to a call. Its body is read when it is asked for: most signals are nobody's business."""

    __slots__ = ("_data", "_signature", "kind", "member", "reply_to", "text")

    def __init__(self, kind: int, fields: dict[int, Any], data: bytes) -> None:
        self.kind = kind
        self.member: str = fields.get(_MEMBER, "")
        self.reply_to: int = fields.get(_REPLY_SERIAL, 0)
        self.text: str = fields.get(_ERROR_NAME, "")
        self._signature: str = fields.get(_SIGNATURE, "")
        self._data = data

    @property
    def body(self) -> tuple[Any, ...]:
        """Raises `DBusError` for types that are not known."""
        return _Reader(self._data, 0).values(self._signature)


class Connection:
    """A connection to a peer that is its own bus. Closing it is the caller's; every wait ends after ``seconds``."""

    def __init__(self, path: str, seconds: float) -> None:
        """Connect and authenticate. Raises `OSError` and `DBusError`."""
        self._socket = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
        self._socket.settimeout(seconds)
        self._serial = 0
        self._signals: list[Message] = []
        try:
            self._socket.connect(path)
            self._authenticate()
        except BaseException:
            self._socket.close()
            raise

    def close(self) -> None:
        self._socket.close()

    def _authenticate(self) -> None:
        """SASL EXTERNAL: the peer takes who we are from the socket (specification, "Authentication Protocol")."""
        uid = str(os.geteuid()).encode().hex()
        self._socket.sendall(f"\0AUTH EXTERNAL {uid}\r\n".encode())
        line = b""
        while not line.endswith(b"\r\n"):
            piece = self._socket.recv(1)
            if not piece or len(line) > 4096:
                raise DBusError("", "the connection ended before it was authenticated")
            line += piece
        if not line.startswith(b"OK "):
            raise DBusError("", f"authentication was refused: {line.decode('ascii', 'replace').strip()}")
        self._socket.sendall(b"BEGIN\r\n")

    def call(self, destination: str, path: str, interface: str, member: str, signature: str, *values: Any) -> tuple[Any, ...]:
        """Call a method and wait for its answer; signals that come meanwhile are kept. Raises `DBusError`, `OSError`."""
        self._serial += 1
        fields = ((_PATH, "o", path), (_INTERFACE, "s", interface), (_MEMBER, "s", member), (_DESTINATION, "s", destination))
        self._socket.sendall(encode(_CALL, self._serial, fields, signature, values))
        while True:
            message = self._receive()
            if message.kind == SIGNAL:
                self._signals.append(message)
            elif message.reply_to == self._serial:
                if message.kind == _ERROR:
                    raise DBusError(message.text, str(message.body[0]) if message.body else "")
                return message.body

    def signal(self) -> Message:
        """The next signal. Raises `DBusError`, `OSError`."""
        while not self._signals:
            message = self._receive()
            if message.kind == SIGNAL:
                self._signals.append(message)
        return self._signals.pop(0)

    def _receive(self) -> Message:
        head = self._read(16)
        if head[0] != ord("l"):
            raise DBusError("", "a message is not little-endian")
        body_bytes, header_bytes = _number(head, 4), _number(head, 12)
        if body_bytes > _LONGEST or header_bytes > _LONGEST:
            raise DBusError("", f"a message of {body_bytes + header_bytes} bytes is too long")
        padding = -header_bytes % 8
        rest = self._read(header_bytes + padding + body_bytes)
        fields = dict(_Reader(head + rest[:header_bytes], 12).value("a(yv)"))
        return Message(head[1], fields, rest[header_bytes + padding :])

    def _read(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            piece = self._socket.recv(count - len(data))
            if not piece:
                raise DBusError("", "the connection ended")
            data += piece
        return data


def encode(
    kind: int, serial: int, fields: tuple[tuple[int, str, Any], ...], signature: str = "", values: tuple[Any, ...] = ()
) -> bytes:
    """A message. A variant's value is ``(signature, value)``."""
    body = _Writer()
    for each, value in zip(_split(signature), values, strict=True):
        body.write(each, value)
    told = [(code, (type_, value)) for code, type_, value in fields]
    if signature:
        told.append((_SIGNATURE, ("g", signature)))
    header = _Writer()
    for byte in (ord("l"), kind, 0, 1):
        header.write("y", byte)
    header.write("u", len(body.data))
    header.write("u", serial)
    header.write("a(yv)", told)
    header.align(8)
    return bytes(header.data + body.data)


def _number(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 4], "little")


def _split(signature: str) -> list[str]:
    """The single complete types of a signature."""
    found = []
    at = 0
    while at < len(signature):
        end = _end(signature, at)
        found.append(signature[at:end])
        at = end
    return found


def _end(signature: str, at: int) -> int:
    if signature[at] == "a":
        return _end(signature, at + 1) if at + 1 < len(signature) else at + 1
    if signature[at] != "(":
        return at + 1
    depth = 0
    for end in range(at, len(signature)):
        depth += {"(": 1, ")": -1}.get(signature[end], 0)
        if depth == 0:
            return end + 1
    raise DBusError("", f"the signature {signature} does not end")


class _Writer:
    def __init__(self) -> None:
        self.data = bytearray()

    def align(self, size: int) -> None:
        self.data += bytes(-len(self.data) % size)

    def write(self, signature: str, value: Any) -> None:
        kind = signature[0]
        self.align(_ALIGNMENT[kind])
        if kind in _SIZES:
            self.data += int(value).to_bytes(_SIZES[kind], "little")
        elif kind in "so":
            text = value.encode()
            self.data += len(text).to_bytes(4, "little") + text + b"\0"
        elif kind == "g":
            self.data += bytes((len(value),)) + value.encode() + b"\0"
        elif kind == "v":
            self.write("g", value[0])
            self.write(*value)
        elif kind == "(":
            for each, member in zip(_split(signature[1:-1]), value, strict=True):
                self.write(each, member)
        else:
            self._write_array(signature[1:], value)

    def _write_array(self, element: str, values: list[Any]) -> None:
        """Its length counts neither itself nor what aligns the first element."""
        at = len(self.data)
        self.data += bytes(4)
        self.align(_ALIGNMENT[element[0]])
        start = len(self.data)
        for value in values:
            self.write(element, value)
        self.data[at : at + 4] = (len(self.data) - start).to_bytes(4, "little")


class _Reader:
    def __init__(self, data: bytes, at: int) -> None:
        self._data = data
        self._at = at

    def values(self, signature: str) -> tuple[Any, ...]:
        return tuple(self.value(each) for each in _split(signature))

    def _take(self, count: int) -> bytes:
        taken = self._data[self._at : self._at + count]
        if len(taken) < count:
            raise DBusError("", "a message is shorter than it says")
        self._at += count
        return taken

    def value(self, signature: str) -> Any:
        kind = signature[0]
        if kind not in _ALIGNMENT:
            raise DBusError("", f"a message has a value of the unknown type {kind!a}")
        self._at += -self._at % _ALIGNMENT[kind]
        if kind in _SIZES:
            return int.from_bytes(self._take(_SIZES[kind]), "little")
        if kind in "sog":
            length = int.from_bytes(self._take(1 if kind == "g" else 4), "little")
            return self._take(length + 1)[:-1].decode("utf-8", "replace")
        if kind == "v":
            return self.value(self.value("g"))
        if kind == "(":
            return self.values(signature[1:-1])
        size = self.value("u")
        self._at += -self._at % _ALIGNMENT[signature[1]]
        end, found = self._at + size, []
        while self._at < end:
            found.append(self.value(signature[1:]))
        return found
