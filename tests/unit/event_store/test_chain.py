"""The chain: a hash that no two events share, and the head of the log in memory."""

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from docket.domain.errors import VersionConflict
from docket.domain.log import Batch, Event, Metadata
from docket.event_store import chain
from docket.event_store.chain import GENESIS, Sequencer, link
from docket.event_store.codec import Codec

TEXT = st.text(alphabet="a1 -\n\0ü", max_size=3)
NUMBER = st.integers(0, 12)
FIELDS = st.tuples(NUMBER, TEXT, NUMBER, TEXT, NUMBER, TEXT, NUMBER, TEXT, st.none() | NUMBER, TEXT)


class Noted(Event, frozen=True):
    """Something in a stream."""

    name: str

    @property
    def stream(self) -> str:
        return self.name


def noted(*names: str, **expected: int) -> Batch:
    return Batch(tuple(Noted(name) for name in names), Metadata(1), {}, expected)


def test_s52_the_format_of_the_hash_never_changes() -> None:
    """Logs that exist verify for ever: the documented bytes, and a digest pinned by value."""
    text = '7 2 1 99 3 11 7 2 5 7\ncontainer-üStartedj1uid=0{"a":1}'.encode()
    digest = link(GENESIS, 7, "container-ü", 2, "Started", 1, '{"a":1}', 99, "j1", 3, "uid=0")
    assert digest == sha256(bytes(32) + text).digest()
    assert digest.hex() == "096a6a575ff1783c6af4e703917be2e94e80d538a67a7ccf885993bf0fa42b4d"


@given(FIELDS, FIELDS)
def test_s52_different_events_have_different_hashes(one: tuple[int, ...], other: tuple[int, ...]) -> None:
    """No two events encode to the same text, whatever their fields hold: borders between fields cannot be shifted."""
    assert (link(GENESIS, *one) == link(GENESIS, *other)) == (one == other)  # type: ignore[arg-type]


def test_the_hash_before_is_part_of_the_hash() -> None:
    """A change anywhere changes every hash behind it."""
    fields = (1, "s", 1, "T", 1, "{}", 1, "", None, "")
    assert link(GENESIS, *fields) != link(bytes(31) + b"\1", *fields)


def test_placing_counts_from_the_head() -> None:
    """Position and version go on from what the disk has."""
    sequencer = Sequencer(Codec([Noted]), {"a": 4}.get, 10, b"x" * 32)  # type: ignore[arg-type]
    rows, events = sequencer.place(noted("a", "a"))
    assert [(row[0], row[2]) for row in rows] == [(11, 5), (12, 6)]
    assert [event.hash for event in events] == [row[-1] for row in rows]
    assert rows[0][-1] == link(b"x" * 32, *rows[0][:-1])


def test_a_conflict_leaves_the_head_as_it_was() -> None:
    """The batch behind a conflicting one gets the places that the conflicting one asked for."""
    sequencer = Sequencer(Codec([Noted]), lambda stream: 0)
    with pytest.raises(VersionConflict):
        sequencer.place(noted("a", b=3))
    rows, _ = sequencer.place(noted("a"))
    assert rows[0][:3] == (1, "a", 1)


def test_falling_back_returns_to_what_is_durable() -> None:
    """Positions, versions and hashes of refused batches are given out again."""
    sequencer = Sequencer(Codec([Noted]), {"a": 1}.get)  # type: ignore[arg-type]
    (first,), _ = sequencer.place(noted("a"))
    sequencer.made_durable(first[0], first[-1])
    refused, _ = sequencer.place(noted("a", "a"))
    sequencer.fall_back()
    again, _ = sequencer.place(noted("a"))
    assert again[0][0] == refused[0][0] == 2
    assert again[0][-1] == link(first[-1], *again[0][:-1])


def test_remembered_versions_are_bounded_but_never_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory does not grow with the number of streams, yet a version that the disk does not know is never forgotten."""
    monkeypatch.setattr(chain, "_REMEMBERED_STREAMS", 4)
    disk: dict[str, int] = {}
    sequencer = Sequencer(Codec([Noted]), lambda stream: disk.get(stream, 0))
    for number in range(40):
        (row,), _ = sequencer.place(noted(f"s{number}"))
        if number % 10 == 9:
            for done in range(number + 1):
                disk[f"s{done}"] = 1
            sequencer.made_durable(row[0], row[-1])
        assert all(sequencer.version(f"s{placed}") == 1 for placed in range(number + 1))
    assert len(sequencer._young) + len(sequencer._old) < 30
