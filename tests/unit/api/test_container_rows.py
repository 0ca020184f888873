"""The list of containers is made of ready JSON, which must never be older than its container."""

from __future__ import annotations

import json

from docket.adapters.api.container_json import Rows
from docket.domain.model.container.spec import ContainerSpec
from docket.domain.model.container.state import Container


def test_a_refused_change_is_not_shown_for_the_one_that_follows() -> None:
    """A full disk takes back the event at a position, and another event stands there later: the same number, another name."""
    rows = Rows()
    container = Container("c" * 64, "old", "sha256:" + "1" * 64, (), ContainerSpec(image="i", command=("true",)), 1, changed=5)
    container.name, container.changed = "refused", 6
    assert json.loads(rows.encode([container], 2, 0))[0]["Names"] == ["/refused"]
    container.name = "kept"
    assert json.loads(rows.encode([container], 2, 1))[0]["Names"] == ["/kept"]
