"""Search: the index's own (``/v1/search``), and where a registry has none, its catalog."""

from __future__ import annotations

from urllib.parse import urlencode

import msgspec

from docket.adapters.registry.exchange import Exchange
from docket.adapters.registry.failures import shown
from docket.domain.registry import Found, RegistryError

_MAX_ANSWER = 4 << 20
_CATALOG_PAGES = 20
_CATALOG_PAGE = 1000
_CATALOG_SCOPE = "registry:catalog:*"


class _Row(msgspec.Struct):
    name: str = ""
    description: str | None = ""
    star_count: int = 0
    is_official: bool = False
    is_automated: bool = False


class _Results(msgspec.Struct):
    results: list[_Row] = []


class _Catalog(msgspec.Struct):
    repositories: list[str] | None = None


async def search_index(exchange: Exchange, term: str, limit: int) -> tuple[Found, ...]:
    """What an index finds. Raises `RegistryError`, of the kind ``not found`` where there is no index."""
    url = exchange.endpoint.to(f"/v1/search?{urlencode({'q': term, 'n': limit})}")
    async with await exchange.send("GET", url, "") as answer:
        data = await answer.body(_MAX_ANSWER)
    try:
        rows = msgspec.json.decode(data, type=_Results).results
    except ValueError as error:
        raise RegistryError(f"{url.shown}: the index's answer cannot be read", "invalid") from error
    return tuple(
        Found(shown(row.name), shown(row.description or ""), max(row.star_count, 0), row.is_official, row.is_automated)
        for row in rows[:limit]
    )


async def search_catalog(exchange: Exchange, term: str, limit: int) -> tuple[Found, ...]:
    """The repositories whose name holds the term, of the first 20,000."""
    found: list[Found] = []
    last = ""
    for _ in range(_CATALOG_PAGES):
        query = urlencode({"n": _CATALOG_PAGE, **({"last": last} if last else {})})
        url = exchange.endpoint.to(f"/v2/_catalog?{query}")
        async with await exchange.send("GET", url, _CATALOG_SCOPE) as answer:
            data = await answer.body(_MAX_ANSWER)
        try:
            names = msgspec.json.decode(data, type=_Catalog).repositories or []
        except ValueError as error:
            raise RegistryError(f"{url.shown}: the catalog cannot be read", "invalid") from error
        found += [Found(shown(name)) for name in names if term in name]
        if len(names) < _CATALOG_PAGE or len(found) >= limit or names[-1] == last:
            break
        last = names[-1]
    return tuple(found[:limit])
