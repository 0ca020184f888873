"""Query strings as Docker reads them: several values for a name, and Docker's own idea of a boolean.

Malformed escapes and bytes that are not UTF-8 are a 400 and never guessed at.
"""

import re
from collections.abc import Iterable
from urllib.parse import parse_qsl

from docket.adapters.http.errors import HttpError

MAX_FIELDS = 1000
_FALSE = frozenset(("", "0", "no", "false", "none"))
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_INTEGER = re.compile(r"[+-]?[0-9]{1,18}")


def is_bad_escape(text: str) -> bool:
    """Whether `text` holds a percent sign that two hexadecimal digits do not follow."""
    return _BAD_ESCAPE.search(text) is not None


class Query:
    """The parameters of one request; the first value of a name counts unless all are asked for."""

    __slots__ = ("_values",)

    def __init__(self, pairs: Iterable[tuple[str, str]] = ()) -> None:
        self._values: dict[str, list[str]] = {}
        for name, value in pairs:
            self._values.setdefault(name, []).append(value)

    @classmethod
    def parse(cls, text: str) -> "Query":
        """Parse what follows the question mark; raises HttpError 400."""
        if not text:
            return cls()
        if is_bad_escape(text):
            raise HttpError(400, "query string has a percent sign without two hexadecimal digits after it")
        try:
            return cls(parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=MAX_FIELDS))
        except UnicodeDecodeError:
            raise HttpError(400, "query string is not UTF-8") from None
        except ValueError:
            raise HttpError(400, f"query string has more than {MAX_FIELDS} parameters") from None

    def get(self, name: str, default: str | None = None) -> str | None:
        """The first value of `name`."""
        values = self._values.get(name)
        return values[0] if values else default

    def all(self, name: str) -> list[str]:
        """Every value of `name`, in order (a build sends several `t`)."""
        return list(self._values.get(name, ()))

    def boolean(self, name: str, default: bool = False) -> bool:
        """Docker's booleans: empty, `0`, `no`, `false` and `none` in any case are false, everything else is true."""
        value = self.get(name)
        return default if value is None else value.strip().lower() not in _FALSE

    def integer(self, name: str, default: int | None = None) -> int | None:
        """A decimal number of at most 18 digits; absent or empty gives `default`, anything else is HttpError 400."""
        value = self.get(name)
        if not value:
            return default
        if _INTEGER.fullmatch(value) is None:
            raise HttpError(400, f"query parameter '{name}' must be a whole number, not {value!r}")
        return int(value)

    def names(self) -> list[str]:
        """The parameter names in the order of their first appearance."""
        return list(self._values)

    def __contains__(self, name: object) -> bool:
        return name in self._values

    def __repr__(self) -> str:
        return f"Query({self._values!r})"
