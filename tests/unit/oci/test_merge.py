"""What an image made of a container says, merged as Docker merges it."""

from __future__ import annotations

import pytest

from docket.domain.oci.image_config import Empty, ExecutionParameters
from docket.domain.oci.merge import merged

OWN = ExecutionParameters(
    user="7", env=("A=1", "B=2"), entrypoint=("e",), cmd=("c",), working_dir="/w", labels={"a": "1"}, volumes={"/v": Empty()}
)


def test_what_is_not_asked_for_is_the_containers() -> None:
    """All of it."""
    assert merged(ExecutionParameters(), OWN) == OWN


def test_what_is_asked_for_comes_first_and_lists_are_joined() -> None:
    """Variables by name, labels and volumes by key."""
    asked = ExecutionParameters(user="8", env=("B=3",), labels={"a": "2", "b": "3"}, volumes={"/x": Empty()}, stop_signal="9")
    found = merged(asked, OWN)
    assert (found.user, found.env, found.labels) == ("8", ("B=3", "A=1"), {"a": "2", "b": "3"})
    assert (set(found.volumes), found.working_dir, found.stop_signal) == ({"/v", "/x"}, "/w", "9")


@pytest.mark.parametrize(
    ("entrypoint", "cmd", "expected"),
    [
        (None, None, (("e",), ("c",))),
        (None, ("n",), (("e",), ("n",))),
        (("n",), None, (("n",), None)),
        ((), None, ((), ("c",))),
    ],
)
def test_an_entrypoint_does_away_with_the_containers_command(
    entrypoint: tuple[str, ...] | None, cmd: tuple[str, ...] | None, expected: tuple[object, object]
) -> None:
    """The command was meant for the old one."""
    found = merged(ExecutionParameters(entrypoint=entrypoint, cmd=cmd), OWN)
    assert (found.entrypoint, found.cmd) == expected
