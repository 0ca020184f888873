"""``filters=``: both forms that clients send, ``{"label":{"a":true}}`` and ``{"label":["a"]}``."""

from __future__ import annotations

import msgspec

from docket.domain.errors import InvalidArgument, Rejected


def parse_filters(text: str | None, known: frozenset[str]) -> dict[str, tuple[str, ...]]:
    """The asked values by filter. Raises `Rejected` for a filter that is not ``known``."""
    if not text:
        return {}
    try:
        asked = msgspec.json.decode(text, type=dict[str, dict[str, bool] | list[str]])
    except msgspec.DecodeError as error:
        raise Rejected(InvalidArgument(f"invalid filters: {error}")) from error
    for name in asked:
        if name not in known:
            raise Rejected(InvalidArgument(f"invalid filter '{name}'"))
    return {
        name: tuple(value for value, wanted in values.items() if wanted) if isinstance(values, dict) else tuple(values)
        for name, values in asked.items()
    }
