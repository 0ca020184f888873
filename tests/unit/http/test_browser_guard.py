"""S44: what only a web page would send is refused on TCP."""

import pytest

from docket.adapters.http import HttpError
from docket.adapters.http.browser_guard import check_browser, is_known_host

KNOWN = frozenset({"engine.example", "192.0.2.7"})


@pytest.mark.parametrize(
    "host",
    ["localhost", "localhost:2375", "LOCALHOST.", "127.0.0.1", "127.9.9.9:80", "[::1]:2376", "engine.example:1", "192.0.2.7"],
)
def test_known_hosts(host: str) -> None:
    """Loopback by name or address, and the names the listener knows, with any port."""
    assert is_known_host(host, KNOWN)


@pytest.mark.parametrize(
    "host",
    ["", "evil.example", "evil.example:2375", "localhost.evil.example", "127.0.0.1.evil.example", "127.1", "2130706433",
     "localhost:x", "localhost@evil", "[::1", "192.0.2.8", "a b", "localhost, evil.example"],
)  # fmt: skip
def test_s44_unknown_hosts(host: str) -> None:
    """A rebound name, an odd spelling of an address or no name at all is not us."""
    with pytest.raises(HttpError) as caught:
        check_browser({"host": host}, KNOWN)
    assert caught.value.status == 403


@pytest.mark.parametrize(
    "headers",
    [{"origin": "null"}, {"origin": "http://localhost"}, {"sec-fetch-site": "cross-site"}, {"sec-fetch-site": "same-site"}],
)
def test_s44_web_pages(headers: dict[str, str]) -> None:
    """Any Origin, and any request from another site, another port of this host included."""
    with pytest.raises(HttpError) as caught:
        check_browser({"host": "localhost", **headers}, KNOWN)
    assert caught.value.status == 403


def test_plain_clients_pass() -> None:
    """Command line clients send none of it."""
    check_browser({"host": "127.0.0.1:2376"}, KNOWN)
    check_browser({"host": "localhost", "sec-fetch-site": "same-origin"}, KNOWN)
