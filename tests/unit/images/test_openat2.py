"""openat2 resolves beneath a directory or raises."""

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from docket.adapters.images.openat2 import RESOLVE_BENEATH, RESOLVE_IN_ROOT, RESOLVE_NO_SYMLINKS, openat2


@pytest.fixture
def root(tmp_path: Path) -> Iterator[int]:
    """A directory with a file, and links that lead out."""
    (tmp_path / "root/sub").mkdir(parents=True)
    (tmp_path / "secret").write_text("outside")
    (tmp_path / "root/secret").write_text("inside")
    (tmp_path / "root/sub/up").symlink_to("../../secret")
    descriptor = os.open(tmp_path / "root", os.O_PATH)
    yield descriptor
    os.close(descriptor)


def test_s19_no_lookup_leaves_the_root(root: int) -> None:
    """Dots and links that lead out are refused, or mean the root itself, as asked."""
    for path, resolve, number in (
        (b"../secret", RESOLVE_BENEATH, errno.EXDEV),
        (b"sub/up", RESOLVE_BENEATH, errno.EXDEV),
        (b"sub/up", RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS, errno.ELOOP),
        (b"none", RESOLVE_BENEATH, errno.ENOENT),
    ):
        with pytest.raises(OSError) as caught:
            openat2(root, path, os.O_RDONLY, resolve)
        assert caught.value.errno == number
    descriptor = openat2(root, b"sub/up", os.O_RDONLY, RESOLVE_IN_ROOT)
    assert os.read(descriptor, 10) == b"inside"
    assert not os.get_inheritable(descriptor)
    os.close(descriptor)


def test_a_nul_byte_does_not_cut_the_path(root: int) -> None:
    """C would open something else than what was checked."""
    with pytest.raises(ValueError, match="null"):
        openat2(root, b"secret\0x", os.O_RDONLY, RESOLVE_BENEATH)
