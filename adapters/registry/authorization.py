"""What a registry's challenge asks for: basic credentials, or a token for a scope from the service that it names.

Who gets the credentials (S27): the registry that they are for, and a token service on the same host, or in the same domain and
reached with TLS. A service anywhere else is asked without them. Tokens go to the registry only.
"""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable
from urllib.parse import urlencode

import msgspec

from docket.adapters.registry.challenge import Challenge, parse_challenges
from docket.adapters.registry.client import Answer, Body
from docket.adapters.registry.failures import MAX_ERROR_BYTES, failure_of
from docket.adapters.registry.urls import Url, parse_url
from docket.domain.registry import NOBODY, Credentials, RegistryError

_MAX_TOKEN_BYTES = 1 << 20
_MAX_TOKEN = 64 * 1024
_CLIENT = "docket"
_FORM = "application/x-www-form-urlencoded"

Send = Callable[[str, Url, dict[str, str], Body | None], Awaitable[Answer]]


class _Token(msgspec.Struct):
    token: str = ""
    access_token: str = ""
    refresh_token: str = ""


class Authorizer:
    """The authorization of one registry's requests. ``send`` asks a token service; it follows nothing and adds nothing."""

    def __init__(self, registry: Url, credentials: Credentials, send: Send) -> None:
        self._registry = registry
        self._credentials = credentials
        self._send = send
        self._headers: dict[str, str] = {}
        """By scope."""
        self.identity_token = ""
        """What a login got for the password."""

    def header(self, scope: str) -> str:
        """The header's value that is known to be right for this scope; empty if none is."""
        return self._headers.get(scope, "")

    async def answer(self, header: str, scope: str, *, login: bool = False) -> bool:
        """Get what the challenge asks for; False when there is nothing (new) to offer. Raises `RegistryError`."""
        before = self._headers.pop(scope, "")
        for challenge in parse_challenges(header):
            found = await self._for_challenge(challenge, scope, login)
            if found:
                self._headers[scope] = found
                return found != before
        return False

    async def _for_challenge(self, challenge: Challenge, scope: str, login: bool) -> str:
        if challenge.scheme == "basic":
            return basic(self._credentials) if self._credentials.username else ""
        if challenge.scheme != "bearer":
            return ""
        if self._credentials.registry_token:
            return f"Bearer {_visible(self._credentials.registry_token)}"
        return f"Bearer {await self._token(challenge, scope, login)}"

    async def _token(self, challenge: Challenge, scope: str, login: bool) -> str:
        realm = parse_url(challenge.parameters.get("realm", ""))
        service = challenge.parameters.get("service", "")
        known = self._credentials if may_know(realm, self._registry) else NOBODY
        query = [("service", service)] if service else []
        query += [("scope", each) for each in scope.split() if each]
        if known.identity_token:
            form = [("grant_type", "refresh_token"), ("client_id", _CLIENT), *query, ("refresh_token", known.identity_token)]
            answer = await self._send("POST", realm, {"Content-Type": _FORM}, urlencode(form).encode())
        else:
            if known.username:
                query.append(("account", known.username))
            if login:
                query += [("client_id", _CLIENT), ("offline_token", "true")]
            separator = "&" if "?" in realm.target else "?"
            url = msgspec.structs.replace(realm, target=realm.target + (separator + urlencode(query) if query else ""))
            answer = await self._send("GET", url, {"Authorization": basic(known)} if known.username else {}, None)
        async with answer:
            return await self._read(answer, withheld=bool(self._credentials) and not known)

    async def _read(self, answer: Answer, *, withheld: bool) -> str:
        if answer.status != 200:
            error = failure_of(answer.status, await answer.body(MAX_ERROR_BYTES))
            if withheld:
                error = RegistryError(
                    f"{self._registry.authority} names {answer.url.authority} for tokens, which is not its own: "
                    f"credentials are not sent there ({error})", error.kind
                )  # fmt: skip
            raise error
        try:
            found = msgspec.json.decode(await answer.body(_MAX_TOKEN_BYTES), type=_Token)
        except ValueError as error:
            raise RegistryError(f"{answer.url.shown}: the token service's answer cannot be read", "invalid") from error
        token = found.token or found.access_token
        if not token:
            raise RegistryError(f"{answer.url.shown}: authorization server did not include a token in the response", "invalid")
        self.identity_token = found.refresh_token
        return _visible(token)


def basic(credentials: Credentials) -> str:
    """The header for a name and password."""
    return "Basic " + base64.b64encode(f"{credentials.username}:{credentials.password}".encode()).decode()


def may_know(realm: Url, registry: Url) -> bool:
    """Whether the token service may be told the registry's credentials."""
    if realm.scheme == "http" and registry.scheme == "https":
        return False
    return realm.host == registry.host or (realm.scheme == "https" and _same_domain(realm.host, registry.host))


def _same_domain(one: str, other: str) -> bool:
    """``auth.docker.io`` and ``registry-1.docker.io``; never two addresses, and not two names below ``co.uk``."""
    mine, theirs = one.split("."), other.split(".")
    if mine[-1].isdigit() or theirs[-1].isdigit() or ":" in one + other:
        return False
    shared = 0
    while shared < min(len(mine), len(theirs)) and mine[-1 - shared] == theirs[-1 - shared]:
        shared += 1
    needed = 3 if len(mine[-1]) == 2 and len(mine) > 2 and len(mine[-2]) <= 3 else 2
    return shared >= needed


def _visible(token: str) -> str:
    """A token as it may stand in a header. Raises `RegistryError`."""
    if len(token) > _MAX_TOKEN or not token.isascii() or not token.isprintable() or " " in token:
        raise RegistryError("the token service's token has characters that no token has, or is too long", "invalid")
    return token
