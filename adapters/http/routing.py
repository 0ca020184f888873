"""Which handler a path means: one compiled regular expression for each method, and the API version in front of the path.

Templates hold `{name}` for one segment and `{name:path}` for one or more (image names have slashes). Empty segments never match, so
a doubled slash is "page not found". Routes without placeholders win over routes with them; otherwise the first registered wins.
"""

import re
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

from docket.adapters.http.errors import HttpError
from docket.adapters.http.limits import DEFAULT_BODY_LIMIT_BYTES
from docket.adapters.http.request import Request
from docket.adapters.http.response import Answer

MIN_API_VERSION = (1, 24)
MAX_API_VERSION = (1, 50)

Handler = Callable[[Request], Awaitable[Answer]]

_VERSION = re.compile(r"/v([0-9]{1,3})\.([0-9]{1,5})(?=/)")
_PLACEHOLDER = re.compile(r"\{([a-z_]+)(:path)?\}")
_SEGMENT = "[^/]+"
_SEGMENTS = "[^/]+(?:/[^/]+)*"


@dataclass(frozen=True, slots=True)
class Route:
    """One endpoint; with `body_limit` None the handler reads the body itself, at any length."""

    method: str
    template: str
    handler: Handler
    body_limit: int | None = DEFAULT_BODY_LIMIT_BYTES


@dataclass(frozen=True, slots=True)
class Match:
    """A route with the values of its placeholders, the path without its version, and the API version asked for."""

    route: Route
    path: str
    parameters: dict[str, str]
    api_version: tuple[int, int]


class Router:
    """The table of routes; raises ValueError when two routes are the same."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self.routes = tuple(routes)
        self._by_method: dict[str, _MethodTable] = {}
        for method in {route.method for route in self.routes}:
            self._by_method[method] = _MethodTable([route for route in self.routes if route.method == method])

    def match(self, method: str, path: str) -> Match:
        """Find the route of a decoded path; raises HttpError 404 for none and 400 for a version outside the range."""
        api_version = MAX_API_VERSION
        version = _VERSION.match(path)
        if version is not None:
            api_version = (int(version[1]), int(version[2]))
            path = path[version.end() :]
        table = self._by_method.get(method)
        found = table.find(path) if table is not None else None
        if found is None:
            raise HttpError(404, "page not found")
        check_api_version(api_version)
        return Match(found[0], path, found[1], api_version)


class _MethodTable:
    """All templates of one method as one alternation; the outermost group that matched last tells which."""

    def __init__(self, routes: list[Route]) -> None:
        self._routes: dict[int, tuple[Route, tuple[str, ...]]] = {}
        patterns = []
        group = 1
        for route in sorted(routes, key=lambda route: route.template.count("{")):
            pattern, names = _compile_template(route.template)
            if pattern in patterns:
                raise ValueError(f"route {route.method} {route.template} is in the table twice")
            patterns.append(pattern)
            self._routes[group] = (route, names)
            group += 1 + len(names)
        self._regex = re.compile("|".join(patterns))

    def find(self, path: str) -> tuple[Route, dict[str, str]] | None:
        found = self._regex.fullmatch(path)
        if found is None or found.lastindex is None:
            return None
        route, names = self._routes[found.lastindex]
        return route, dict(zip(names, found.groups()[found.lastindex :], strict=False))


def _compile_template(template: str) -> tuple[str, tuple[str, ...]]:
    """The group of one template, and the names of its placeholders in order; literal parts are escaped."""
    pattern, names, end = "", [], 0
    for placeholder in _PLACEHOLDER.finditer(template):
        pattern += re.escape(template[end : placeholder.start()])
        pattern += f"({_SEGMENTS if placeholder[2] else _SEGMENT})"
        names.append(placeholder[1])
        end = placeholder.end()
    return f"({pattern}{re.escape(template[end:])})", tuple(names)


def check_api_version(version: tuple[int, int]) -> None:
    """Refuse what we do not speak, in the words that Docker's clients know."""
    text = f"{version[0]}.{version[1]}"
    if version > MAX_API_VERSION:
        newest = f"{MAX_API_VERSION[0]}.{MAX_API_VERSION[1]}"
        raise HttpError(400, f"client version {text} is too new. Maximum supported API version is {newest}")
    if version < MIN_API_VERSION:
        oldest = f"{MIN_API_VERSION[0]}.{MIN_API_VERSION[1]}"
        raise HttpError(
            400,
            f"client version {text} is too old. Minimum supported API version is {oldest}, "
            "please upgrade your client to a newer version",
        )
