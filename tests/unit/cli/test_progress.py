"""Progress on a terminal: lines are redrawn in their places."""

from __future__ import annotations

import os
import pty

import pytest

from docket.cli import progress
from docket.cli.progress import Display


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    written: list[bytes] = []
    monkeypatch.setattr(progress, "write_all", lambda output, data: written.append(data))
    return written


def test_each_layer_has_one_line(shown: list[bytes]) -> None:
    """A step takes the place of the one before; what names no layer stands by itself."""
    main, other = pty.openpty()
    try:
        display = Display(other)
        display.show({"status": "Pulling from x", "id": "1"})
        display.show({"status": "Pulling fs layer", "id": "aa", "progressDetail": {}})
        display.show({"status": "Pulling fs layer", "id": "bb", "progressDetail": {}})
        display.show({"status": "Downloading", "id": "aa", "progressDetail": {"current": 500_000, "total": 1_000_000}})
        display.finish()
        display.show({"status": "Digest: sha256:abc"})
    finally:
        os.close(main)
        os.close(other)
    text = b"".join(shown).decode()
    assert text.startswith("\r\x1b[2K") or "1: Pulling from x\n" in text
    assert "\x1b[2A\r\x1b[2Kaa: Downloading [============>" in text
    assert "500kB/1MB" in text
    assert text.endswith("Digest: sha256:abc\n")


def test_control_characters_are_shown_not_obeyed(shown: list[bytes]) -> None:
    """A registry's words are somebody else's."""
    display = Display(1)
    display.show({"status": "evil\x1b[31m", "id": "a\x07"})
    assert b"\x1b[31m" not in b"".join(shown)
    assert b"\x07" not in b"".join(shown)
