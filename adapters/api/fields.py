"""Reading fields of a request body: a value of another type than Docker's is a 400 that names the field, and never a traceback.

A missing field and null are what Go makes of them: empty, zero, false. Text with a NUL is refused everywhere: the kernel would end
it there. (Lone surrogates are refused when the body is decoded.)
"""

from __future__ import annotations

from typing import Any

from docket.domain.errors import InvalidArgument, Rejected

Body = dict[str, Any]
_SHOWN_BITS = 128
_LARGEST = 1 << 63


def wrong(text: str) -> Rejected:
    """The request itself is wrong."""
    return Rejected(InvalidArgument(text))


def checked(key: str, value: Any) -> str:
    """A value that must be text."""
    if not isinstance(value, str):
        raise wrong(f"{key} must be a string")
    if "\0" in value:
        raise wrong(f"{key} must not contain a NUL character")
    return value


def checked_object(value: Any, what: str) -> Body:
    """A value that must be an object, such as a whole body."""
    if not isinstance(value, dict):
        raise wrong(f"{what} must be a JSON object")
    return value


def text(body: Body, key: str) -> str:
    return checked(key, body.get(key) or "")


def integer(body: Body, key: str) -> int:
    value = body.get(key)
    if value is None:
        return 0
    if not isinstance(value, int) or isinstance(value, bool):
        raise wrong(f"{key} must be an integer")
    if not -_LARGEST <= value < _LARGEST:
        # Python refuses to write a number of thousands of digits.
        shown = str(value) if value.bit_length() <= _SHOWN_BITS else f"a number of {value.bit_length()} bits"
        raise wrong(f"{key} is out of range: {shown}")
    return value


def flag(body: Body, key: str) -> bool:
    value = body.get(key)
    if value is None:
        return False
    if not isinstance(value, bool):
        raise wrong(f"{key} must be true or false")
    return value


def texts(body: Body, key: str) -> tuple[str, ...]:
    value = body.get(key)
    if value is None:
        return ()
    if not isinstance(value, list):
        raise wrong(f"{key} must be a list of strings")
    return tuple(checked(key, entry) for entry in value)


def mapping(body: Body, key: str) -> dict[str, str]:
    return {checked(key, name): checked(key, value) for name, value in table(body, key).items()}


def table(body: Body, key: str) -> Body:
    """An object of anything."""
    value = body.get(key)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise wrong(f"{key} must be an object")
    return value


def names(body: Body, key: str) -> tuple[str, ...]:
    """The names of an object whose values say nothing, such as ``ExposedPorts``."""
    return tuple(checked(key, name) for name in table(body, key))


def objects(body: Body, key: str) -> list[Body]:
    value = body.get(key)
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(entry, dict) for entry in value):
        raise wrong(f"{key} must be a list of objects")
    return value


def console_size(body: Body) -> tuple[int, int]:
    """Rows and columns of the client's terminal; anything but a pair of numbers that a window can have is no size."""
    size = body.get("ConsoleSize")
    if (
        not isinstance(size, list)
        or len(size) != 2
        or not all(isinstance(number, int) and not isinstance(number, bool) and 0 <= number < 1 << 16 for number in size)
    ):
        return (0, 0)
    return (size[0], size[1])
