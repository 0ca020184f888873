"""The unix socket's file: its mode at every instant, what may be replaced, and what is removed."""

import os
import socket
import stat
from pathlib import Path

import pytest

from docket.adapters.http import ListenError
from docket.adapters.http import unix_socket as module
from docket.adapters.http.unix_socket import bind_unix


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


@pytest.mark.parametrize("umask", [0, 0o077])
def test_s40_never_open_to_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, umask: int) -> None:
    """Right after bind() the mode is 0000, whatever the umask, and then the one asked for; the umask is not touched."""
    path, seen = tmp_path / "s.sock", []
    original = module._set_owner_and_mode

    def watching(name: str, folder: int, gid: int, mode: int) -> tuple[int, int]:
        seen.append(mode_of(path))
        return original(name, folder, gid, mode)

    monkeypatch.setattr(module, "_set_owner_and_mode", watching)
    before = os.umask(umask)
    try:
        sock, unlink = bind_unix(str(path), group=os.getgid(), mode=0o660)
        assert os.umask(before) == umask
    finally:
        os.umask(before)
    with sock:
        assert seen == [0]
        assert mode_of(path) == 0o660
        assert path.lstat().st_gid == os.getgid()
        unlink()
    assert not path.exists()


@pytest.mark.parametrize("path", ["@docket", "\0docket", "relative.sock", "", "/", "/tmp/..", "/tmp/"])
def test_s40_abstract_and_odd_paths_are_refused(path: str) -> None:
    """Abstract sockets have no permissions; other forms are more likely a mistake than a wish."""
    with pytest.raises(ListenError, match="cannot listen on"):
        bind_unix(path, group=None, mode=0o660)


def test_stale_socket_is_replaced(tmp_path: Path) -> None:
    """A socket left behind by a crash does not stop the next start."""
    path = tmp_path / "s.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    sock, unlink = bind_unix(str(path), group=None, mode=0o600)
    with sock:
        assert mode_of(path) == 0o600
        unlink()


def test_living_socket_is_refused(tmp_path: Path) -> None:
    """Two engines must not take each other's socket away."""
    path = tmp_path / "s.sock"
    with socket.socket(socket.AF_UNIX) as alive:
        alive.bind(str(path))
        alive.listen(0)
        with pytest.raises(ListenError, match="another process listens there"):
            bind_unix(str(path), group=None, mode=0o660)
        assert path.exists()


@pytest.mark.parametrize("kind", ["file", "link"])
def test_other_files_are_left_alone(tmp_path: Path, kind: str) -> None:
    """Nothing but a socket is ever removed, and a link is not followed to one."""
    path = tmp_path / "s.sock"
    if kind == "file":
        path.write_text("precious")
    else:
        path.symlink_to(tmp_path / "elsewhere.sock")
    with pytest.raises(ListenError, match="not a socket"):
        bind_unix(str(path), group=None, mode=0o660)
    assert path.is_symlink() or path.read_text() == "precious"


def test_long_paths(tmp_path: Path) -> None:
    """Past the kernel's 107 bytes the socket is bound through its folder, and works."""
    folder = tmp_path / ("d" * 120)
    folder.mkdir()
    sock, unlink = bind_unix(str(folder / "s.sock"), group=None, mode=0o660)
    with sock, socket.socket(socket.AF_UNIX) as client:
        sock.listen(1)
        descriptor = os.open(folder, os.O_PATH)
        client.connect(f"/proc/self/fd/{descriptor}/s.sock")
        os.close(descriptor)
        unlink()
    assert list(folder.iterdir()) == []


def test_unlink_spares_a_successor(tmp_path: Path) -> None:
    """If another engine has taken the path since, its socket stays."""
    path = tmp_path / "s.sock"
    sock, unlink = bind_unix(str(path), group=None, mode=0o660)
    with sock:
        path.unlink()
        path.write_text("successor")
        unlink()
    assert path.read_text() == "successor"


def test_missing_folder_and_group_are_named(tmp_path: Path) -> None:
    """The sentence says what is missing."""
    with pytest.raises(ListenError, match=r"folder '.*nowhere': No such file"):
        bind_unix(str(tmp_path / "nowhere" / "s.sock"), group=None, mode=0o660)
    with pytest.raises(ListenError, match="there is no group 'no-such-group'"):
        bind_unix(str(tmp_path / "s.sock"), group="no-such-group", mode=0o660)
    assert list(tmp_path.iterdir()) == []
