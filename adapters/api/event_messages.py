"""``/events``: domain events in the words of Docker's event messages. Events that Docker has no word for are in ``/docket/log``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import trio

from docket.adapters.api.container_filters import label_test
from docket.adapters.api.filters import parse_filters
from docket.adapters.api.past import read_past
from docket.adapters.api.times import parse_time
from docket.adapters.http import Request, Route, Stream, StreamSender
from docket.domain.engine import Engine
from docket.domain.log import StoredEvent
from docket.domain.model.container import events as container
from docket.domain.model.container.spec import ContainerSpec
from docket.domain.model.engine import events as engine_events
from docket.domain.model.exec import events as exec_
from docket.domain.model.image import events as image
from docket.domain.model.state import EngineState
from docket.domain.model.transfer import events as transfer
from docket.domain.oci.reference import parse_reference
from docket.domain.snapshots import state_at

_FILTERS = frozenset({"type", "event", "container", "image", "label", "daemon", "scope"})
_ACTIONS: dict[type, tuple[str, str]] = {
    engine_events.EngineReconfigured: ("daemon", "reload"),
    container.ContainerCreated: ("container", "create"),
    container.ContainerStarted: ("container", "start"),
    container.ContainerKilled: ("container", "kill"),
    container.ContainerOutOfMemory: ("container", "oom"),
    container.ContainerExited: ("container", "die"),
    container.ContainerStopped: ("container", "stop"),
    container.ContainerRestarted: ("container", "restart"),
    container.ContainerPaused: ("container", "pause"),
    container.ContainerUnpaused: ("container", "unpause"),
    container.ContainerRenamed: ("container", "rename"),
    container.ContainerUpdated: ("container", "update"),
    container.ContainerCommitted: ("container", "commit"),
    container.ContainerRemoved: ("container", "destroy"),
    exec_.ExecCreated: ("container", "exec_create"),
    exec_.ExecStarted: ("container", "exec_start"),
    exec_.ExecExited: ("container", "exec_die"),
    image.ImageImported: ("image", "import"),
    image.ImageLoaded: ("image", "load"),
    image.ImageSaved: ("image", "save"),
    transfer.ImagePulled: ("image", "pull"),
    transfer.ImagePushed: ("image", "push"),
    engine_events.ImagesPruned: ("image", "prune"),
    image.ImageTagged: ("image", "tag"),
    image.ImageUntagged: ("image", "untag"),
    image.ImageRemoved: ("image", "delete"),
}


_TYPES = tuple(event.__name__ for event in _ACTIONS)


class Narrator:
    """Tells events one after another; it remembers the names and images that later messages of a container carry.

    It begins with what is there now; of what is gone it knows as much as it is told of.
    """

    def __init__(self, state: EngineState) -> None:
        self._known: dict[str, dict[str, str]] = {}
        self._programs: dict[str, str] = {}
        self.learn_from(state)

    def learn_from(self, state: EngineState) -> None:
        """Know the containers and execs of a state, under the names that they have there."""
        self._known.update({each.id: _facts(each.spec, each.name) for each in state.containers.values()})
        self._programs.update({each.id: each.spec.program for each in state.execs.values()})

    def tell(self, stored: StoredEvent) -> dict[str, Any] | None:
        """The message, or None for an event that Docker has no word for."""
        event = stored.event
        self._learn(event)
        action = _ACTIONS.get(type(event))
        if action is None:
            return None
        if isinstance(event, image.ImageImported) and event.origin != "import":
            return None  # what brought it has a word of its own
        kind, word = action
        if isinstance(event, transfer.ImagePulled | transfer.ImagePushed):
            return _message(stored, kind, word, parse_reference(event.reference).familiar, _attributes(event))
        key = next((str(value) for noun in ("container", "image", "engine") if (value := getattr(event, noun, ""))), "")
        attributes = {**self._known.get(key, {}), **_attributes(event)}
        if isinstance(event, exec_.ExecCreated | exec_.ExecStarted):
            word = f"{word}: {self._programs.get(event.exec, '')}"
        return _message(stored, kind, word, key, attributes)

    def _learn(self, event: object) -> None:
        if isinstance(event, container.ContainerCreated):
            self._known[event.container] = _facts(event.spec, event.name)
        elif isinstance(event, container.ContainerRenamed):
            self._known.setdefault(event.container, {})["name"] = event.name
        elif isinstance(event, exec_.ExecCreated):
            self._programs[event.exec] = event.spec.program


def _message(stored: StoredEvent, kind: str, word: str, key: str, attributes: dict[str, str]) -> dict[str, Any]:
    return {
        "status": word,
        "id": key,
        "from": attributes.get("image", "") if kind == "container" else "",
        "Type": kind,
        "Action": word,
        "Actor": {"ID": key, "Attributes": attributes},
        "scope": "local",
        "time": stored.metadata.time_ns // 1_000_000_000,
        "timeNano": stored.metadata.time_ns,
    }


def _facts(spec: ContainerSpec, name: str) -> dict[str, str]:
    return {**spec.labels, "image": spec.image, "name": name}


def _attributes(event: object) -> dict[str, str]:
    told: dict[type, Callable[[Any], dict[str, str]]] = {
        engine_events.EngineReconfigured: _settings,
        container.ContainerExited: lambda each: {"exitCode": str(each.exit_code)},
        image.ImageImported: lambda each: {"name": each.image},
        image.ImageLoaded: lambda each: {"name": each.image},
        image.ImageSaved: lambda each: {"name": each.image},
        transfer.ImagePulled: lambda each: {"name": parse_reference(each.reference).familiar_name},
        transfer.ImagePushed: lambda each: {"name": parse_reference(each.reference).familiar_name},
        engine_events.ImagesPruned: lambda each: {"reclaimed": str(each.reclaimed_bytes)},
        image.ImageRemoved: lambda each: {"name": each.image},
        container.ContainerKilled: lambda each: {"signal": str(each.signal)},
        container.ContainerCommitted: lambda each: {
            "comment": each.comment,
            "imageID": each.image,
            "imageRef": each.reference,
        },
        container.ContainerRenamed: lambda each: {"oldName": f"/{each.old_name}"},
        exec_.ExecCreated: lambda each: {"execID": each.exec},
        exec_.ExecStarted: lambda each: {"execID": each.exec},
        exec_.ExecExited: lambda each: {"execID": each.exec, "exitCode": str(each.exit_code)},
        image.ImageTagged: lambda each: {"name": each.reference},
        image.ImageUntagged: lambda each: {"name": each.reference},
    }
    tell = told.get(type(event))
    return tell(event) if tell is not None else {}


def _settings(event: engine_events.EngineReconfigured) -> dict[str, str]:
    """By daemon.json's names, each value as JSON."""
    told = {
        "debug": event.debug,
        "insecure-registries": event.insecure_registries,
        "labels": event.labels,
        "log-level": event.log_level,
        "registry-mirrors": event.registry_mirrors,
        "shutdown-timeout": event.shutdown_timeout_seconds,
    }
    return {name: value if isinstance(value, str) else msgspec.json.encode(value).decode() for name, value in told.items()}


def routes(engine: Engine) -> list[Route]:
    """The routes of this file."""

    async def messages(request: Request) -> Stream:
        query = request.query
        wanted = parse_filters(query.get("filters"), _FILTERS)
        since, until = parse_time(query.get("since")), parse_time(query.get("until"))

        async def write(out: StreamSender) -> None:
            narrator, last = Narrator(engine.state), 0
            if since:
                narrator.learn_from(await _before(engine, since))

            async def tell(stored: StoredEvent, shown: bool) -> None:
                message = narrator.tell(stored)
                if message is not None and shown and _matches(message, wanted):
                    await out.send(msgspec.json.encode(message) + b"\n")

            with engine.subscribe() as live:
                if since:
                    last = engine.ports.store.head()
                    async for stored in read_past(engine, since_ns=since, until_ns=until, types=_TYPES):
                        last = max(last, stored.position)
                        await tell(stored, True)
                left = max(until - engine.ports.clock.now_ns(), 0) / 1e9 if until else float("inf")
                with trio.move_on_after(left):
                    async for stored in live:
                        if stored.position > last:
                            await tell(stored, True)

        return Stream(write, endless=True)

    return [Route("GET", "/events", messages)]


async def _before(engine: Engine, time_ns: int) -> EngineState:
    """What was there before the first event of a time: a fold from the nearest state snapshot, not from the first event."""
    store = engine.ports.store

    def look() -> EngineState:
        return state_at(store, max(store.position_before(time_ns), store.floor()))[0]

    return await trio.to_thread.run_sync(look)


def _matches(message: dict[str, Any], wanted: dict[str, tuple[str, ...]]) -> bool:
    attributes = message["Actor"]["Attributes"]
    tests: dict[str, Callable[[str], bool]] = {
        "type": lambda value: message["Type"] == value,
        "event": lambda value: value in (message["Action"], message["Action"].partition(":")[0]),
        "daemon": lambda value: message["Type"] == "daemon" and message["id"].startswith(value),
        "scope": lambda value: value == message["scope"],
        "container": lambda value: message["id"].startswith(value) or attributes.get("name") == value,
        "image": lambda value: attributes.get("image") == value or message["id"] == value,
        "label": lambda value: label_test(value)(attributes),
    }
    return all(any(tests[name](value) for value in values) for name, values in wanted.items())
