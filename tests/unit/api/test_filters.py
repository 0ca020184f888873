"""Filters, log options and sizes of windows: small readers of what clients send."""

from __future__ import annotations

from typing import Any

import pytest

from docket.adapters.api.container_filters import label_test, name_pattern
from docket.adapters.api.log_request import log_request
from docket.adapters.api.logs import parse_tail, shown
from docket.adapters.api.streams import parse_detach_keys, window_size
from docket.adapters.api.times import parse_time, rfc3339
from docket.adapters.http import HttpError, Query
from docket.domain.errors import Rejected
from docket.domain.ports import LogEntry


@pytest.mark.parametrize(
    ("pattern", "found", "not_found"),
    [
        ("web", ["web", "my-web-1"], ["we", "WEB"]),
        ("^/?web$", ["web"], ["web-1", "my-web"]),
        ("^/web$", ["/web"], ["web"]),
        ("^a.*z$", ["az", "a-to-z"], ["ab", "za"]),
        (r"v1\.2", ["v1.2"], ["v1-2"]),
        ("v1.2", ["v1.2", "v1-2"], ["v12"]),
        ("", ["anything"], []),
    ],
)
def test_a_name_filter_is_a_pattern(pattern: str, found: list[str], not_found: list[str]) -> None:
    """Anchors and dots as in Docker's regular expressions."""
    compiled = name_pattern(pattern)
    assert [name for name in found if not compiled.search(name)] == []
    assert [name for name in not_found if compiled.search(name)] == []


@pytest.mark.parametrize("pattern", ["(a+)+$", "[a-z]", "a|b", "a{9}", "x+", ".*.*.*.*.*", "a\\d"])
def test_patterns_that_could_hang_the_engine_are_refused(pattern: str) -> None:
    """A client cannot make the matcher run for ever."""
    with pytest.raises(Rejected, match="invalid filter 'name="):
        name_pattern(pattern)


def test_label_filters_ask_for_a_name_or_a_value() -> None:
    """``a`` and ``a=b``; an empty value is a value."""
    labels = {"a": "b", "empty": ""}
    assert [label_test(asked)(labels) for asked in ("a", "a=b", "a=c", "x", "empty=", "empty=x")] == [
        True, True, False, False, True, False,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (None, ("json-file", {}, 0, 0)),
        ({"Type": "", "Config": None}, ("json-file", {}, 0, 0)),
        ({"Type": "none"}, ("none", {}, 0, 0)),
        ({"Config": {"max-size": "10k", "max-file": "3"}}, ("json-file", {"max-size": "10k", "max-file": "3"}, 10_240, 3)),
        ({"Config": {"mode": "blocking", "compress": "false"}}, ("json-file", {"mode": "blocking", "compress": "false"}, 0, 0)),
    ],
)
def test_log_options_that_are_kept(config: dict[str, Any] | None, expected: tuple[object, ...]) -> None:
    """Nothing said is the engine's own setting."""
    assert tuple(log_request({"LogConfig": config})) == expected


@pytest.mark.parametrize(
    "config",
    [
        {"Type": "syslog"},
        {"Config": {"max-size": "0"}},
        {"Config": {"max-size": "-1"}},
        {"Config": {"max-file": "many"}},
        {"Config": {"max-file": "1001"}},
        {"Config": {"max-file": "9" * 5000}},
        {"Config": {"compress": "true"}},
        {"Config": {"labels": "a"}},
        {"Type": 3},
        "json-file",
    ],
)
def test_log_options_that_are_refused(config: object) -> None:
    """What cannot be kept is never dropped silently."""
    with pytest.raises(Rejected):
        log_request({"LogConfig": config})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, 0), ("0", 0), ("1", 10**9), ("1.5", 1_500_000_000), ("1.000000001", 1_000_000_001), ("7.", 7 * 10**9),
        ("1.1234567899", 1_123_456_789), ("1970-01-01T00:00:02Z", 2 * 10**9), ("1970-01-01T00:00:02.5+00:00", 2_500_000_000),
        ("1970-01-01T01:00:00+01:00", 0), ("1970-01-01", 0),
    ],
)  # fmt: skip
def test_times_are_exact_to_the_nanosecond(text: str | None, expected: int) -> None:
    """Seconds with up to nine digits, or RFC 3339."""
    assert parse_time(text) == expected


@pytest.mark.parametrize("text", ["yesterday", "1.x", "-1", "1.5.5", "١", "1e3"])
def test_what_is_no_time_is_refused(text: str) -> None:
    """A 400 that says what is expected."""
    with pytest.raises(HttpError, match="give seconds or RFC 3339"):
        parse_time(text)


@pytest.mark.parametrize(
    ("text", "expected"), [("", b"\x10\x11"), ("a,b", b"ab"), ("ctrl-a,ctrl-[,ctrl-@,z", b"\x01\x1b\x00z")]
)
def test_detach_keys(text: str, expected: bytes) -> None:
    """Letters, and control characters by name."""
    assert parse_detach_keys(text) == expected


@pytest.mark.parametrize("text", ["ctrl-", "ctrl-aa", "ab", "a,,b", "ctrl-1", "ä"])
def test_what_are_no_detach_keys(text: str) -> None:
    """Docker's words."""
    with pytest.raises(Rejected, match="Invalid detach keys"):
        parse_detach_keys(text)


def test_window_sizes() -> None:
    """What a terminal can have, and nothing else."""
    assert window_size(Query.parse("h=24&w=80")) == (24, 80)
    for query in ("h=24", "h=-1&w=80", "h=24&w=65536"):
        with pytest.raises(Rejected, match="invalid resize"):
            window_size(Query.parse(query))


@pytest.mark.parametrize(("text", "expected"), [(None, None), ("all", None), ("", None), ("-1", None), ("0", 0), ("12", 12)])
def test_tail_is_a_number_or_all(text: str | None, expected: int | None) -> None:
    """As Docker reads it."""
    assert parse_tail(text) == expected


def test_lines_become_frames() -> None:
    """One each, with its stamp when asked; a line's later pieces have none; a flood of lines shares a frame."""
    entry = LogEntry(1_500_000_000, 2, b"a\nbc\nd")
    assert shown(entry, timestamps=False, terminal=True) == b"a\nbc\nd"
    frames = b"\2\0\0\0\0\0\0\2a\n\2\0\0\0\0\0\0\3bc\n\2\0\0\0\0\0\0\1d"
    assert shown(entry, timestamps=False, terminal=False) == frames
    stamp = b"1970-01-01T00:00:01.500000000Z "
    assert rfc3339(entry.time_ns).encode() + b" " == stamp
    assert shown(entry, timestamps=True, terminal=True) == stamp + b"a\n" + stamp + b"bc\n" + stamp + b"d"
    rest = LogEntry(1_500_000_000, 1, b"rest\nnext\n", continues=True)
    assert shown(rest, timestamps=True, terminal=True) == b"rest\n" + stamp + b"next\n"
    flood = LogEntry(0, 1, b"\n" * 5000)
    assert shown(flood, timestamps=False, terminal=False) == b"\1\0\0\0" + (5000).to_bytes(4, "big") + b"\n" * 5000
