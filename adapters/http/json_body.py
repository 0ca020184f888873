"""JSON from clients, read strictly: what two parsers might read in two ways is refused (S24, S37).

Duplicate keys, NaN, infinities, lone surrogates and deep nesting are HttpError 400. The standard library's parser is used because
it tells about every key of an object; msgspec silently keeps the last.
"""

import json
import math
from typing import Any

from docket.adapters.http.errors import HttpError

MAX_DEPTH = 64


def decode(body: bytes) -> Any:
    """The value of a JSON text in UTF-8; raises HttpError 400."""
    try:
        value = json.loads(body.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_refuse, parse_float=_finite)
    except UnicodeDecodeError:
        raise HttpError(400, "request body is not UTF-8") from None
    except RecursionError:
        raise HttpError(400, f"request body is nested deeper than {MAX_DEPTH} levels") from None
    except ValueError as error:
        raise HttpError(400, f"request body is not valid JSON: {error}") from None
    if body.count(b"{") + body.count(b"[") > MAX_DEPTH and _depth_exceeds(value, MAX_DEPTH):
        raise HttpError(400, f"request body is nested deeper than {MAX_DEPTH} levels")
    if b"\\u" in body:
        _check_surrogates(value)
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        seen: set[str] = set()
        repeated = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise HttpError(400, f"request body has the key {repeated!r} twice")
    return result


def _refuse(constant: str) -> Any:
    raise HttpError(400, f"request body is not valid JSON: {constant} is not a JSON number")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise HttpError(400, f"request body has a number out of range: {text[:40]}")
    return value


def _depth_exceeds(value: Any, limit: int) -> bool:
    """Level by level and without recursion."""
    level: list[Any] = [value]
    for _ in range(limit):
        level = [child for item in level for child in _children(item)]
        if not level:
            return False
    return any(isinstance(item, (dict, list)) for item in level)


def _children(item: Any) -> list[Any]:
    if isinstance(item, dict):
        return list(item.values())
    return item if isinstance(item, list) else []


def _check_surrogates(value: Any) -> None:
    """Half of a UTF-16 pair cannot be written as UTF-8 and would break whoever stores it."""
    try:
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        raise HttpError(400, "request body has a lone surrogate in a string") from None
