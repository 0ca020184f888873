"""An event to and from the three columns that hold it: type name, schema, and its fields as JSON text.

The text carries no tag, since the type has a column of its own: SQL can filter on it, and each type has its own decoder.
Text, not bytes: SQLite 3.45 and later may take a BLOB for its own binary JSON.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

from docket.domain.errors import CorruptEvent
from docket.domain.log import Event
from docket.event_store.upcasters import UPCASTERS, Upcaster, upcast

_Decode = Callable[[str], Event]


class Codec:
    """Encodes and decodes the event types of a registry.

    Raises ValueError when two types share a name, when a type is tagged, or when a shape below a type's current one has
    no upcaster: such a codec could not read what an earlier version wrote.
    """

    def __init__(self, types: Iterable[type[Event]], upcasters: Mapping[tuple[str, int], Upcaster] = UPCASTERS) -> None:
        self._types: dict[str, type[Event]] = {}
        self._decoders: dict[str, tuple[int, _Decode]] = {}
        self._upcasters = upcasters
        self._encode = msgspec.json.Encoder().encode
        for event_type in types:
            self._register(event_type)
        for name, schema in upcasters:
            if name not in self._types or schema >= self._types[name].schema:
                raise ValueError(f"upcaster from {name} schema {schema} leads to no known shape")

    def _register(self, event_type: type[Event]) -> None:
        name = event_type.__name__
        if name in self._types:
            raise ValueError(f"two event types are named {name}")
        if event_type.__struct_config__.tag is not None:
            raise ValueError(f"event type {name} is tagged: the tag would be stored twice")
        for schema in range(1, event_type.schema):
            if (name, schema) not in self._upcasters:
                raise ValueError(f"event type {name} has schema {event_type.schema}, but no upcaster from {schema}")
        self._types[name] = event_type
        self._decoders[name] = (event_type.schema, msgspec.json.Decoder(event_type).decode)

    @property
    def types(self) -> Mapping[str, type[Event]]:
        """The registry, by name."""
        return self._types

    def encode(self, event: Event) -> tuple[str, int, str]:
        """Give type name, schema and JSON text. Raises ValueError for a type that is not registered."""
        event_type = type(event)
        name = event_type.__name__
        if self._types.get(name) is not event_type:
            raise ValueError(f"event type {name} is not registered with the codec")
        return name, event_type.schema, self._encode(event).decode()

    def decode(self, name: str, schema: int, data: str, position: int = 0) -> Event:
        """Give the event, read through the upcasters when its shape is an old one.

        Raises CorruptEvent, naming ``position``, for an unknown type, a shape that is newer than this version's, and
        text that does not fit the type.
        """
        known = self._decoders.get(name)
        if known is None:
            raise CorruptEvent(position, f"type {name!r} is not known to this version of docket")
        current, decode = known
        try:
            if schema == current:
                return decode(data)
            return self._decode_old(name, schema, current, data, position)
        except (msgspec.DecodeError, UnicodeError, TypeError) as error:
            raise CorruptEvent(position, f"{name} schema {schema} does not decode: {error}") from error

    def _decode_old(self, name: str, schema: int, current: int, data: str, position: int) -> Event:
        if not 1 <= schema < current:
            raise CorruptEvent(position, f"{name} has schema {schema!r}, this version of docket knows 1 to {current}")
        try:
            fields: dict[str, Any] = upcast(
                self._upcasters, name, schema, current, msgspec.json.decode(data, type=dict[str, Any])
            )
        except (KeyError, ValueError, AttributeError, IndexError) as error:
            # The upcaster expected a field that the stored text does not have.
            raise CorruptEvent(position, f"{name} schema {schema} cannot be upcast: {error!r}") from error
        return msgspec.convert(fields, self._types[name])
