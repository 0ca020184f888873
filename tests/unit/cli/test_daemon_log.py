"""The daemon's own log: one logfmt line for each thing said, whatever is in it."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator

import pytest

from docket.cli.daemon_log import DaemonLog, logfmt


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    for end in ends:
        os.close(end)


def test_a_line_is_as_dockerd_writes_it() -> None:
    """Plain values stand bare, others in quotes, the time always."""
    line = logfmt({"time": "2026-11-24T07:22:40Z", "level": "info", "msg": "API listen on /run/x", "n": 3, "empty": ""})
    assert line == 'time="2026-11-24T07:22:40Z" level=info msg="API listen on /run/x" n=3 empty=""\n'


def test_s55_nothing_breaks_a_line() -> None:
    """Line ends, escape sequences, quotes and invisible characters of clients are written out."""
    assert logfmt({"msg": 'a\nb\x1b[2J"c\\\u202e\x9b'}) == 'msg="a\\nb\\x1b[2J\\"c\\\\\\u202e\\u009b"\n'


def test_a_level_says_this_and_what_is_worse(pipe: tuple[int, int]) -> None:
    """And it can change while the daemon runs."""
    log = DaemonLog("warn", pipe[1])
    for level in ("debug", "info", "warning", "error"):
        log(level, level)
    log.set_level("debug")
    log("debug", "now")
    text = os.read(pipe[0], 4096).decode()
    assert [line.partition("msg=")[2] for line in text.splitlines()] == ["warning", "error", "now"]


def test_libraries_warnings_arrive_too(pipe: tuple[int, int]) -> None:
    """The event store speaks through logging; its warnings are the operator's business."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    try:
        DaemonLog("info", pipe[1]).take_library_logs()
        logging.getLogger("docket.event_store.writer").warning("event log: lost %s", "state snapshot at 3")
    finally:
        root.handlers, root.level = handlers, level
    text = os.read(pipe[0], 4096).decode()
    assert text.endswith('level=warning msg="event log: lost state snapshot at 3" module=docket.event_store.writer\n')


def test_a_closed_standard_error_stops_nothing() -> None:
    """The daemon's work does not depend on whether somebody reads its log."""
    reader, writer = os.pipe()
    os.close(reader)
    os.close(writer)
    DaemonLog("info", writer)("info", "nobody hears")
