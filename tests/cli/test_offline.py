"""`docket --log`, `log export`, `log import` and `replay`: a log is looked at where no engine runs."""

from __future__ import annotations

import gzip
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from docket_program import run_docket
from fake_engine import FakeEngine, Reply

Docket = Callable[..., "subprocess.CompletedProcess[str]"]
RECORDINGS = Path(__file__).parents[1] / "recordings"
RESULT = {"job": "0123456789abcdef", "name": "start", "arguments": ["web"], "calls": 1, "operations": 69, "events": 4}


def test_replay_tells_of_every_job(engine: FakeEngine, docket: Docket) -> None:
    """One line a job; the status says whether all did the same again."""
    cut = {**RESULT, "name": "stop", "divergence": "", "cut": True}
    engine.on("GET", "/docket/replay/web", Reply(body=[{**RESULT, "divergence": "", "cut": False}, cut]))
    done = docket("replay", "web")
    assert done.returncode == 0
    assert done.stdout.splitlines() == [
        "01234567 start web: 1 kernel call, 69 operations, 4 events: as recorded",
        "01234567 stop web: 1 kernel call, 69 operations, 4 events: as recorded, up to where the engine ended",
    ]


def test_replay_shows_a_difference(engine: FakeEngine, docket: Docket) -> None:
    """Indented below the job, made printable (S55), with status 1."""
    text = 'replay diverged: launch\n-["Sethostname","a\x1b[31m"]'
    engine.on("GET", "/docket/replay/web", Reply(body=[{**RESULT, "divergence": text, "cut": False}]))
    done = docket("replay", "web")
    assert done.returncode == 1
    assert done.stdout.splitlines()[:2] == ["01234567 start web: DIFFERS", "    replay diverged: launch"]
    assert "\x1b" not in done.stdout


def test_log_export_is_private_and_complete_or_absent(engine: FakeEngine, docket: Docket, tmp_path: Path) -> None:
    """The file appears when all of it is there, for its owner only; secrets are asked for by name."""
    engine.on("GET", "/docket/export", Reply(chunks=[b"one", b"two"]))
    file = tmp_path / "log.docket"
    assert docket("log", "export", str(file)).returncode == 0
    assert file.read_bytes() == b"onetwo"
    assert file.stat().st_mode & 0o777 == 0o600
    assert engine.requests[-1].query == {}
    assert docket("log", "export", "--with-secrets", str(file)).returncode == 0
    assert engine.requests[-1].query == {"secrets": ["1"]}
    assert not (tmp_path / "log.docket.part").exists()


@pytest.mark.parametrize("words", [("export",), ("import", "a"), ("nonsense",), ("export", "a", "b")])
def test_log_refuses_words_that_mean_nothing(docket: Docket, words: tuple[str, ...]) -> None:
    """One line and the usage."""
    done = docket("log", *words)
    assert done.returncode == 1
    assert "'docket log' takes nothing, export FILE, import FILE DIRECTORY, or compact" in done.stderr


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("imported") / "log"
    done = run_docket("log", "import", str(RECORDINGS / "exec.jsonl"), str(directory))
    assert done.returncode == 0, done.stderr
    assert "verified up to" in done.stdout
    return directory


@pytest.mark.slow
def test_an_imported_log_answers_like_an_engine(imported: Path) -> None:
    """Past states, events, kernel work and replays; positions are those of the log."""

    def look(*words: str) -> str:
        done = run_docket("--log", str(imported), *words)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert "no event was altered" in look("audit", "verify")
    assert look("log", "--tail", "1", "--json").startswith('{"position":')
    created = next(line.split()[0] for line in look("log", "--type", "ContainerCreated").splitlines()[1:])
    assert "web" in look("ps", "-a", "--at", created)
    assert look("ps", "-aq") == ""
    assert "pivot_root" in look("explain", "web")
    assert look("replay", "web").count("as recorded") >= 5


@pytest.mark.slow
def test_nothing_is_written_to_a_log_that_is_looked_at(imported: Path) -> None:
    """Commands that would change something say so."""
    before = (imported / "log.db").read_bytes()
    done = run_docket("--log", str(imported), "tag", "docket/base", "other")
    assert done.returncode == 1
    assert "can only be looked at" in done.stderr
    assert (imported / "log.db").read_bytes() == before


@pytest.mark.slow
def test_an_exported_file_is_looked_at_without_an_import(tmp_path: Path) -> None:
    """Compressed as it was exported; nothing of it stays behind."""
    file = tmp_path / "log.docket"
    file.write_bytes(gzip.compress((RECORDINGS / "run.jsonl").read_bytes()))
    done = run_docket("--log", str(file), "log", "--type", "ContainerRemoved", TMPDIR=str(tmp_path))
    assert (done.returncode, done.stderr) == (0, "")
    assert "ContainerRemoved" in done.stdout
    assert os.listdir(tmp_path) == ["log.docket"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("content", "text"), [(None, "no such file"), (b"", "the file is empty"), (b"text\n", "no log that this docket can read")]
)
def test_s57_what_is_no_log_is_one_clear_line(content: bytes | None, text: str, tmp_path: Path) -> None:
    """Looked at or imported, and no directory is left half-made."""
    file = tmp_path / "log.docket"
    if content is not None:
        file.write_bytes(content)
    for words in (("--log", str(file), "ps"), ("log", "import", str(file), str(tmp_path / "new"))):
        done = run_docket(*words)
        assert done.returncode == 1
        assert text in done.stderr
        assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "new").exists()
