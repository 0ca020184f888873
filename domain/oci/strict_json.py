"""JSON documents from strangers, read in exactly one way (S24, S29).

Another program may read a document differently: two equal keys, ``Layers`` beside ``layers`` (Go ignores case), NaN, a lone
surrogate, a byte order mark. Whatever two readers could disagree about is refused here, and so is what costs too much: more
than 4 MiB, more than 32 levels, more than 200,000 values.

``null`` means that the member is absent, as it does to the Go programs that write these documents.
"""

from __future__ import annotations

import functools
import json
import math
import re
import typing
from collections.abc import Iterator
from typing import Any, TypeVar

import msgspec

MAX_DOCUMENT_BYTES = 4 * 1024 * 1024
MAX_DEPTH = 32
MAX_VALUES = 200_000

T = TypeVar("T")

_TOKENS = re.compile(rb'"(?:[^"\\]|\\.)*"|[\[\]{},]', re.DOTALL)
_SURROGATE = re.compile(r"\\u[dD][89abAB]|\\u[dD][c-fC-F]")


class InvalidDocument(ValueError):
    """A document that is not what it was said to be, or that two programs could read differently."""


def decode_strict(data: bytes, kind: type[T], what: str) -> T:
    """Returns ``data`` as a ``kind`` (a struct type); raises `InvalidDocument`, which names ``what`` was being read."""
    if len(data) > MAX_DOCUMENT_BYTES:
        raise InvalidDocument(f"{what}: {len(data)} bytes, at most {MAX_DOCUMENT_BYTES} are read")
    _check_shape(data, what)
    raw = _parse(data, what)
    try:
        _check_case(raw, kind)
        return msgspec.convert(raw, kind)
    except (ValueError, msgspec.ValidationError) as error:
        raise InvalidDocument(f"{what}: {error}") from error


def _check_shape(data: bytes, what: str) -> None:
    """Counts levels and values before a parser builds anything."""
    depth = values = 0
    for match in _TOKENS.finditer(data):
        token = match[0]
        if token in b"[{":
            depth += 1
            values += 1
            if depth > MAX_DEPTH:
                raise InvalidDocument(f"{what}: nested deeper than {MAX_DEPTH} levels")
        elif token in b"]}":
            depth -= 1
        elif token == b",":
            values += 1
        if values > MAX_VALUES:
            raise InvalidDocument(f"{what}: more than {MAX_VALUES} values")


def _parse(data: bytes, what: str) -> Any:
    try:
        text = data.decode("utf-8")
        raw = json.loads(text, object_pairs_hook=_object, parse_constant=_constant, parse_float=_float)
        if _SURROGATE.search(text):
            json.dumps(raw, ensure_ascii=False).encode("utf-8")
    except (ValueError, RecursionError) as error:
        raise InvalidDocument(f"{what}: {_reason(error)}") from error
    if not isinstance(raw, dict):
        raise InvalidDocument(f"{what}: not a JSON object")
    return raw


def _reason(error: Exception) -> str:
    return "a lone surrogate in a string" if isinstance(error, UnicodeEncodeError) else f"not valid JSON: {error}"


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"key {key[:60]!r} stands twice in one object")
        found[key] = value
    return {key: value for key, value in found.items() if value is not None}


def _constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _float(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"number {text[:20]} is out of range")
    return number


def _check_case(raw: Any, kind: Any) -> None:
    """Refuses keys that differ from a known field in case only: Go would read them, docket would not."""
    for struct in _structs_in(kind):
        if isinstance(raw, dict):
            _check_object(raw, struct)
        elif isinstance(raw, list):
            for item in raw:
                _check_case(item, struct)


def _check_object(raw: dict[str, Any], struct: type[msgspec.Struct]) -> None:
    known = _fields_of(struct)
    for key, value in raw.items():
        field = known.get(key.casefold())
        if field is None:
            continue
        if field.encode_name != key:
            raise ValueError(f"key {key!r} differs from {field.encode_name!r} in case only")
        _check_case(value, field.type)


@functools.cache
def _fields_of(struct: type[msgspec.Struct]) -> dict[str, msgspec.structs.FieldInfo]:
    """By name, whatever its case. A document has many objects of few types."""
    return {field.encode_name.casefold(): field for field in msgspec.structs.fields(struct)}


def _structs_in(kind: Any) -> Iterator[type[msgspec.Struct]]:
    """The struct types that a value of ``kind``, or its items, may have. Values of free-form maps are not looked into."""
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        yield kind
    elif typing.get_origin(kind) is not dict:
        for part in typing.get_args(kind):
            yield from _structs_in(part)
