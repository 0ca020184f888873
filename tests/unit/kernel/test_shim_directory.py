"""A shim's directory: who finds no shim there can be sure that none will come."""

from __future__ import annotations

import os
import socket
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

if sys.platform != "linux":
    pytest.skip("shims run on Linux only", allow_module_level=True)

from docket.kernel.linux import shim_directory
from docket.kernel.shim.endpoints import NEW_SOCKET_NAME, SOCKET_NAME, listen


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory that is not there yet, with a name that is not too long for a socket."""
    with tempfile.TemporaryDirectory() as parent:
        yield Path(parent, "shim")


def test_a_shim_that_listens_is_found(place: Path) -> None:
    """The name appears when the socket listens already: no connection is refused in between."""
    inode = shim_directory.make(str(place))
    listener = listen(str(place), inode)
    connection = shim_directory.connect(str(place))
    assert connection is not None
    assert os.listdir(place) == [SOCKET_NAME]
    connection.close()
    listener.close()


def test_a_late_shim_does_not_come_to_life_behind_a_recovery(place: Path) -> None:
    """The answer that there is no shim takes its directory away, and it can listen nowhere else."""
    inode = shim_directory.make(str(place))
    assert shim_directory.connect(str(place)) is None
    with pytest.raises(FileNotFoundError):
        listen(str(place), inode)
    assert not place.exists()


def test_a_late_shim_does_not_take_the_place_of_a_later_one(place: Path) -> None:
    """The directory was made anew for the next start of the same container: it is not this shim's."""
    old = shim_directory.make(str(place))
    os.rename(place, place.with_name("kept"))  # so that the inode is not used again
    shim_directory.make(str(place))
    with pytest.raises(FileNotFoundError):
        listen(str(place), old)
    assert os.listdir(place) == []


def test_a_shim_between_bind_and_listen_is_stopped(place: Path) -> None:
    """It has bound and not said so yet: its name is taken away, so it fails before it has done anything."""
    shim_directory.make(str(place))
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as late:
        late.bind(f"{place}/{NEW_SOCKET_NAME}")
        assert shim_directory.connect(str(place)) is None
        with pytest.raises(FileNotFoundError):
            os.rename(f"{place}/{NEW_SOCKET_NAME}", f"{place}/{SOCKET_NAME}")


def test_what_a_dead_shim_left_is_removed(place: Path) -> None:
    """A socket that refuses is nobody's."""
    inode = shim_directory.make(str(place))
    listen(str(place), inode).close()
    assert shim_directory.connect(str(place)) is None
    assert not place.exists()
