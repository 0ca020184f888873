"""Recordings of kernel calls, and exported logs with recordings in them: both may come from anybody (S57).

A log that was changed is refused by its chain, so mutations mostly make the chain right again: then it is the events and the
recordings that are hostile. What was imported is folded, verified, shown by the routes that ``docket --log`` asks, and replayed.
"""

from __future__ import annotations

import gzip
import io
import json
import os
import tempfile
from pathlib import Path
from typing import Any

import trio
from tests.fuzz.mutation import Mixer, as_text, mutate_bytes, mutate_json, mutate_json_text, mutate_lines
from tests.fuzz.targets import Target

from docket.adapters.api.errors import to_response
from docket.adapters.api.routes import router
from docket.adapters.http import HttpError, Request, Response
from docket.adapters.http.peer import Peer
from docket.cli.offline import _engine
from docket.domain.errors import CorruptEvent, PortError, Rejected, StoreRefused
from docket.domain.model.state import EVENT_TYPES
from docket.event_store.chain import GENESIS, link
from docket.event_store.codec import Codec
from docket.event_store.exchange import import_log
from docket.event_store.read_only import ReadOnlyEventStore
from docket.kernel.explain import explain
from docket.kernel.history import KernelHistory
from docket.kernel.recording.calls import recorded_plan, recorded_results
from docket.kernel.recording.format import RecordingInvalid, decode

_RECORDINGS = Path(__file__).parents[2] / "recordings"
_CODEC = Codec(EVENT_TYPES)
_ROUTES = (
    "/containers/json?all=1",
    "/images/json",
    "/docket/log",
    "/events?since=1&until=2",
    "/containers/{id}/json",
    "/docket/explain/{id}",
    "/docket/why/{id}",
    "/docket/why/docket/base?type=image",
)
_PATIENCE_SECONDS = 5


def _exported() -> list[bytes]:
    return [(_RECORDINGS / f"{name}.jsonl").read_bytes() for name in ("run", "exec", "start-failed")]


# Recordings by themselves


def _recordings() -> list[bytes]:
    """Those in the exported logs."""
    found: list[bytes] = []
    for log in _exported():
        lines = log.splitlines(keepends=True)
        for number, line in enumerate(lines):
            if line.startswith(b'["recording"'):
                count = json.loads(line)[3]
                found.append(b"".join(lines[number + 1 : number + 1 + count]))
    return sorted(set(found), key=len)[:12]


def _recording(data: bytes) -> None:
    try:
        _, calls = decode(data)
        for call in calls:
            if call.name == "launch":
                plan = recorded_plan(call)
                explain(plan, recorded_results(call, plan))
    except RecordingInvalid:
        return


def _mutate_recording(mixer: Mixer, data: bytes) -> bytes:
    if mixer.dice.random() < 0.3:
        return mutate_lines(mixer, data)
    lines = data.split(b"\n")
    at = mixer.dice.randrange(len(lines))
    lines[at] = mutate_json_text(mixer, lines[at])
    return b"\n".join(lines)


# Whole logs


def _logs() -> list[bytes]:
    plain = _exported()
    return [*plain, gzip.compress(plain[0])]


def _log(data: bytes) -> None:
    memory = "/dev/shm" if os.path.isdir("/dev/shm") else None
    with tempfile.TemporaryDirectory(prefix="docket-fuzz-", dir=memory) as directory:
        target = Path(directory, "log.db")
        try:
            imported = import_log(io.BytesIO(data), target, _CODEC)
        except StoreRefused:
            assert not target.exists()
            return
        with ReadOnlyEventStore(target, _CODEC) as store:
            assert store.verify().events == imported.events
            try:
                trio.run(_shown, store)
            except CorruptEvent:
                return
            for job in store.recorded_jobs():
                KernelHistory().replay_job(store, job)


async def _shown(store: ReadOnlyEventStore) -> None:
    async with trio.open_nursery() as nursery:
        engine = _engine(store, "/nowhere", nursery)
        routes = router(engine, KernelHistory())
        containers = [*engine.state.containers][:2]
        for target in [route.replace("{id}", each) for route in _ROUTES for each in (containers if "{id}" in route else [""])]:
            path, _, query = target.partition("?")
            peer = Peer("unix", uid=0, gid=0, pid=1)
            client: Any = _Reader()
            request = Request(client, method="GET", target=target, path=path, query_string=query, headers={}, peer=peer)
            try:
                match = routes.match("GET", path)
                request.parameters = match.parameters
                with trio.move_on_after(_PATIENCE_SECONDS):
                    answer: Any = await match.route.handler(request)
                    if not isinstance(answer, Response):
                        await answer.write(client)
            except HttpError:
                continue
            except (Rejected, PortError) as error:
                assert to_response(error) is not None
        nursery.cancel_scope.cancel()


class _Reader:
    async def send(self, data: bytes) -> None:
        await trio.lowlevel.checkpoint()


def _mutate_log(mixer: Mixer, data: bytes) -> bytes:
    if data.startswith(b"\x1f\x8b") or mixer.dice.random() < 0.1:
        return mutate_bytes(mixer, data)
    try:
        lines = [json.loads(line) for line in data.splitlines()]
    except ValueError:
        return mutate_lines(mixer, data)
    for _ in range(1 << mixer.dice.randrange(2)):
        _change(mixer, lines)
    if mixer.dice.random() < 0.9:
        _chain(lines)
    return b"".join(as_text(line) + b"\n" for line in lines)


def _change(mixer: Mixer, lines: list[Any]) -> None:
    """One line: an event's data, a column, a line of a recording; or lines dropped, repeated and moved."""
    if not lines:
        return
    dice, at = mixer.dice, mixer.dice.randrange(len(lines))
    line = lines[at]
    match dice.randrange(8):
        case 0:
            del lines[at]
        case 1:
            lines.insert(dice.randrange(len(lines)), line)
        case 2:
            lines[at] = mutate_json(mixer, line)
        case _ if isinstance(line, list) and line[:1] == ["event"] and len(line) == 12 and isinstance(line[6], str):
            changed = mutate_json_text(mixer, line[6].encode("utf-8", "replace"))
            lines[at] = [*line[:6], changed.decode("utf-8", "replace"), *line[7:]]
        case _:
            lines[at] = mutate_json(mixer, line)


def _chain(lines: list[Any]) -> None:
    """Positions, versions, hashes and counts as an export would have them."""
    digest, position, counts = GENESIS, 0, {"event": 0, "recording": 0, "secret": 0}
    versions: dict[Any, int] = {}
    for line in lines:
        if not (isinstance(line, list) and line and isinstance(line[0], str)):
            continue
        counts[line[0]] = counts.get(line[0], 0) + 1
        try:
            if line[0] == "event":
                position += 1
                versions[line[2]] = versions.get(line[2], 0) + 1
                line[1], line[3] = position, versions[line[2]]
                digest = link(digest, *line[1:11])
                line[11] = digest.hex()
            elif line[0] == "end":
                line[1:] = [counts["event"], digest.hex(), counts["recording"], counts["secret"]]
        except (TypeError, IndexError, UnicodeEncodeError):
            continue


TARGETS = {
    "recordings": Target("recordings", ("kernel/recording/", "kernel/explain.py"), _recordings, _recording, _mutate_recording),
    "logs": Target("logs", ("event_store/", "kernel/replaying/", "domain/model/", "adapters/api/"), _logs, _log, _mutate_log),
}
