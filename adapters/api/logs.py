"""``/containers/{id}/logs``: lines as Docker's json-file driver shows them, in frames unless they come from a terminal.

A frame holds one line, as clients expect that take a frame for a line. Where a container has written more than `_LINES` lines in
one go, a frame holds them all: a frame for each would cost more than everything else.
"""

from __future__ import annotations

from contextlib import aclosing

import trio

from docket.adapters.api.streams import chosen_streams, content_type, framed
from docket.adapters.api.times import parse_time, rfc3339
from docket.adapters.http import Request, Stream, StreamSender
from docket.domain.engine import Engine
from docket.domain.errors import InvalidArgument, Rejected
from docket.domain.jobs.logs import Lines, Logs
from docket.domain.ports import LogEntry

_LINES = 1024
_SEND = 65_536


async def logs(engine: Engine, request: Request) -> Stream:
    """Answer a request for logs."""
    query = request.query
    container = engine.container(request.parameters["id"])
    wanted = chosen_streams(query)
    if not wanted:
        raise Rejected(InvalidArgument("Bad parameters: you must choose at least one stream"))
    since, until = parse_time(query.get("since")), parse_time(query.get("until"))
    timestamps, terminal = query.boolean("timestamps"), container.spec.terminal
    asked = Logs(query.boolean("follow"), parse_tail(query.get("tail")), until)
    lines: Lines = await engine.run(engine.job("logs", (container.id,), request.peer.actor, asked))

    async def write(out: StreamSender) -> None:
        async with aclosing(lines.entries) as entries, trio.open_nursery() as nursery:
            if lines.until is not None:
                nursery.start_soon(lines.end, engine)
            async for entry in entries:
                if until and entry.time_ns > until:
                    break
                if entry.stream in wanted and entry.time_ns >= since:
                    await out.send(shown(entry, timestamps=timestamps, terminal=terminal))
            nursery.cancel_scope.cancel()

    return Stream(write, content_type=content_type(request, terminal), endless=asked.follow)


def shown(entry: LogEntry, *, timestamps: bool, terminal: bool) -> bytes:
    """The lines of an entry in the form that the client asked for."""
    stream, data = entry.stream, entry.data
    if not timestamps and (terminal or data.count(b"\n") > _LINES):
        return framed(stream, data, terminal)
    lines = data.split(b"\n")
    rest = lines.pop()
    lines = [line + b"\n" for line in lines]
    if rest:
        lines.append(rest)
    if timestamps:
        stamp = rfc3339(entry.time_ns).encode() + b" "
        lines = [*(lines[:1] if entry.continues else ()), *(stamp + line for line in lines[entry.continues :])]
    if terminal:
        return b"".join(lines)
    head = bytes((stream, 0, 0, 0))
    return b"".join([piece for line in lines for piece in (head, len(line).to_bytes(4, "big"), line)])


def parse_tail(text: str | None) -> int | None:
    """How many lines ``tail=`` asks for; None for all, which is also what anything but a number means to Docker."""
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 10 else None
