"""Faulty registries, and a client that loses patience soon."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from tests.registry.faulty import FaultyRegistry

from docket.adapters.registry.client import Limits
from docket.adapters.registry.port import Registries

HASTY = Limits(
    connect_seconds=5, read_seconds=0.3, document_seconds=5, attempts=3, first_pause_seconds=0.001, longest_pause_seconds=0.002,
    stall_bytes=1000, chunk_bytes=70_000,
)  # fmt: skip


@pytest.fixture
def registries(tmp_path: object) -> Registries:
    return Registries({}, f"{tmp_path}/certs.d", HASTY)


@pytest.fixture
def another() -> Iterator[Callable[[], FaultyRegistry]]:
    """Starts registries."""
    started: list[FaultyRegistry] = []

    def start() -> FaultyRegistry:
        started.append(FaultyRegistry())
        return started[-1]

    yield start
    for each in started:
        each.close()


@pytest.fixture
def registry(another: Callable[[], FaultyRegistry]) -> FaultyRegistry:
    return another()
