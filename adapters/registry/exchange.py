"""A request to one endpoint, with everything that may come between it and its answer.

401 → the challenge is answered, once; 3xx → followed for GET and HEAD, without credentials unless it is the very same origin
(S27); 429, 5xx and cut connections → asked again after a pause. Where a redirect may lead is `addresses`' matter (S28); one from
TLS to plain http, or more than a few of them, is refused.
"""

from __future__ import annotations

import random

import trio

from docket.adapters.registry.addresses import Trusted, is_loopback_name
from docket.adapters.registry.authorization import Authorizer
from docket.adapters.registry.client import Answer, Body, Cut, HttpClient
from docket.adapters.registry.endpoints import Endpoint
from docket.adapters.registry.failures import MAX_ERROR_BYTES, failure_of
from docket.adapters.registry.urls import Url, parse_url
from docket.domain.registry import Credentials, RegistryError

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_MAX_REDIRECTS = 5
_TRANSIENT = frozenset({408, 429, 500, 502, 503, 504})
_LONGEST_WISH_SECONDS = 60


class Exchange:
    """Requests to one endpoint with one set of credentials."""

    def __init__(self, client: HttpClient, endpoint: Endpoint, credentials: Credentials, trusted: Trusted) -> None:
        self.endpoint = endpoint
        self.limits = client.limits
        self.authorizer = Authorizer(endpoint.url, credentials, self._ask_for_token)
        self._client = client
        self._credentials = credentials
        self._trusted = trusted

    async def send(
        self,
        method: str,
        url: Url,
        scope: str,
        headers: dict[str, str] | None = None,
        content: Body | None = None,
        *,
        expected: tuple[int, ...] = (200,),
        retry: bool = True,
        login: bool = False,
    ) -> Answer:
        """The answer, whose status is one of ``expected``. Raises `RegistryError`, and `Cut` when there are no more tries."""
        for attempt in range(1, self.limits.attempts + 1):
            last = attempt == self.limits.attempts or not retry
            try:
                answer = await self._authorized(method, url, scope, headers or {}, content, login)
            except Cut:
                if last:
                    raise
                await self.pause(attempt)
                continue
            if answer.status in expected:
                return answer
            async with answer:
                error = failure_of(answer.status, await answer.body(MAX_ERROR_BYTES))
            if answer.status not in _TRANSIENT:
                raise error
            if last:
                raise Cut(str(error), error.kind) if not retry else error
            await self.pause(attempt, answer.headers.get("retry-after", ""))
        raise AssertionError("the last attempt has an outcome")

    async def pause(self, attempt: int, wish: str = "") -> None:
        """Longer each time; a registry may wish for another length (``Retry-After``), within reason."""
        seconds = min(self.limits.first_pause_seconds * 2 ** (attempt - 1), self.limits.longest_pause_seconds)
        if wish.isascii() and wish.isdigit() and len(wish) < 6:
            seconds = max(seconds, min(int(wish), _LONGEST_WISH_SECONDS))
        await trio.sleep(seconds * random.uniform(0.8, 1.2))

    async def _authorized(
        self, method: str, url: Url, scope: str, headers: dict[str, str], content: Body | None, login: bool
    ) -> Answer:
        for may_ask in (True, False):
            answer = await self._followed(method, url, scope, headers, content)
            challenge = answer.headers.get("www-authenticate", "")
            if answer.status != 401 or not may_ask or not challenge or answer.url.origin != self.endpoint.url.origin:
                return answer
            await answer.close()
            if not await self.authorizer.answer(challenge, scope, login=login):
                raise self._unauthorized(answer, challenge)
        raise AssertionError("the second answer is returned")

    async def _followed(self, method: str, url: Url, scope: str, headers: dict[str, str], content: Body | None) -> Answer:
        for _ in range(_MAX_REDIRECTS + 1):
            answer = await self._once(method, url, scope, headers, content)
            if answer.status not in _REDIRECTS or method not in {"GET", "HEAD"}:
                return answer
            async with answer:
                url = self.pointed_to(answer.url, answer.headers.get("location", ""))
        raise RegistryError(f'{method.capitalize()} "{url.shown}": stopped after {_MAX_REDIRECTS} redirects', "invalid")

    def pointed_to(self, base: Url, location: str) -> Url:
        """The address that an answer names. Raises `RegistryError`."""
        if not location:
            raise RegistryError(f"{base.shown}: the answer names no location", "invalid")
        url = parse_url(location, base)
        self._check_scheme(url)
        return url

    def _check_scheme(self, url: Url) -> None:
        root = self.endpoint.url
        if url.scheme == "https" or self._trusted.names(url.host, url.port):
            return
        if root.scheme == "http" and (url.host == root.host or is_loopback_name(url.host)):
            return
        raise RegistryError(f"{root.authority} points to {url.shown}, which is not encrypted: refused", "invalid")

    async def _once(self, method: str, url: Url, scope: str, headers: dict[str, str], content: Body | None) -> Answer:
        own = url.origin == self.endpoint.url.origin
        fields = dict(headers)
        if own and (known := self.authorizer.header(scope)):
            fields["Authorization"] = known
        return await self._client.send(method, url, fields, content, derived=not own, verify=self._verifies(url))

    def _verifies(self, url: Url) -> bool:
        return self.endpoint.verify if url.host == self.endpoint.url.host else not self._trusted.names(url.host, url.port)

    async def _ask_for_token(self, method: str, url: Url, headers: dict[str, str], content: Body | None) -> Answer:
        self._check_scheme(url)
        own = url.origin == self.endpoint.url.origin
        for attempt in range(1, self.limits.attempts + 1):
            try:
                answer = await self._client.send(method, url, headers, content, derived=not own, verify=self._verifies(url))
            except Cut:
                if attempt == self.limits.attempts:
                    raise
                await self.pause(attempt)
                continue
            if answer.status not in _TRANSIENT or attempt == self.limits.attempts:
                return answer
            await answer.close()
            await self.pause(attempt, answer.headers.get("retry-after", ""))
        raise AssertionError("the last attempt has an outcome")

    def _unauthorized(self, answer: Answer, challenge: str) -> RegistryError:
        """As dockerd says it: a registry that wants a password got none, or got a wrong one."""
        if challenge.lower().startswith("basic") and not self._credentials:
            return RegistryError(
                f'{answer.method.capitalize()} "{answer.url.shown}": no basic auth credentials', "unauthorized"
            )
        return RegistryError("unauthorized: authentication required", "unauthorized")
