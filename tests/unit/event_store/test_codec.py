"""The codec: types by name, JSON without a tag, old shapes through upcasters."""

from typing import Any, ClassVar

import pytest

from docket.domain.errors import CorruptEvent
from docket.domain.log import Event
from docket.event_store.codec import Codec


class Started(Event, frozen=True):
    """The third shape of an event."""

    schema: ClassVar[int] = 3
    container: str
    pid: int
    no_new_privileges: bool = False


class Tagged(Event, frozen=True, tag=True):
    """An event that would carry its type twice."""


def _second(data: dict[str, Any]) -> dict[str, Any]:
    return {"container": data["id"], "pid": data["pid"]}


def _third(data: dict[str, Any]) -> dict[str, Any]:
    return {**data, "no_new_privileges": True}


CODEC = Codec([Started], {("Started", 1): _second, ("Started", 2): _third})


def test_the_text_is_the_fields_alone() -> None:
    """SQL's JSON functions see the fields; the type is a column of its own."""
    assert CODEC.encode(Started("c", 7)) == ("Started", 3, '{"container":"c","pid":7,"no_new_privileges":false}')


def test_decode_reads_what_encode_wrote() -> None:
    """A round trip gives an equal event."""
    event = Started("ü\n\0", -1, True)
    assert CODEC.decode(*CODEC.encode(event)) == event


def test_old_shapes_are_read_step_by_step() -> None:
    """From each stored shape on, every later upcaster is applied, in order."""
    assert CODEC.decode("Started", 1, '{"id":"c","pid":7}') == Started("c", 7, True)
    assert CODEC.decode("Started", 2, '{"container":"c","pid":7}') == Started("c", 7, True)


def test_s60_a_missing_field_gets_the_value_then_in_force() -> None:
    """The upcaster pins the old value; the default of today's class does not reach back."""
    event = CODEC.decode("Started", 2, '{"container":"c","pid":7}')
    assert isinstance(event, Started)
    assert event.no_new_privileges is True
    assert Started("c", 7).no_new_privileges is False


@pytest.mark.parametrize(
    ("name", "schema", "data", "message"),
    [
        ("Unknown", 1, "{}", "event 9: type 'Unknown' is not known"),
        ("Started", 4, "{}", "event 9: Started has schema 4, this version of docket knows 1 to 3"),
        ("Started", 0, "{}", "event 9: Started has schema 0"),
        ("Started", 3, "{", "event 9: Started schema 3 does not decode"),
        ("Started", 3, '{"container":1,"pid":1}', "Expected `str`"),
        ("Started", 3, '{"pid":1}', "missing required field `container`"),
        ("Started", 2, "[]", "cannot be upcast|does not decode"),
        ("Started", 1, '{"pid":1}', "event 9: Started schema 1 cannot be upcast: KeyError"),
        ("Started", 2, '{"container":"c","pid":"7"}', "does not decode"),
    ],
)
def test_what_does_not_fit_is_a_corrupt_event(name: str, schema: int, data: str, message: str) -> None:
    """Nothing is guessed: the error names the event and what is wrong."""
    with pytest.raises(CorruptEvent, match=message) as caught:
        CODEC.decode(name, schema, data, 9)
    assert caught.value.position == 9


def test_an_unregistered_type_is_not_encoded() -> None:
    """An event that could not be read again is not written."""
    with pytest.raises(ValueError, match="Tagged is not registered"):
        CODEC.encode(Tagged())


def test_a_codec_that_could_not_read_old_logs_is_not_built() -> None:
    """Every shape below the current one has its upcaster, and no upcaster leads nowhere."""
    with pytest.raises(ValueError, match="no upcaster from 1"):
        Codec([Started], {("Started", 2): _third})
    with pytest.raises(ValueError, match="upcaster from Started schema 3 leads to no known shape"):
        Codec([Started], {("Started", 1): _second, ("Started", 2): _third, ("Started", 3): _third})
    with pytest.raises(ValueError, match="upcaster from Gone schema 1"):
        Codec([], {("Gone", 1): _second})
    with pytest.raises(ValueError, match="two event types are named Started"):
        Codec([Started, Started], {("Started", 1): _second, ("Started", 2): _third})
    with pytest.raises(ValueError, match="tagged"):
        Codec([Tagged])
