"""Recordings of the real kernel replay unchanged: whoever changes a plan, a job or an event sees here what that does.

A difference that is meant is recorded anew with `make recordings`, as root; the difference of the files then tells a reviewer.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from docket.domain.engine import Engine, Ports
from docket.domain.jobs import start as start_job
from docket.domain.model.state import EVENT_TYPES, fold
from docket.domain.plan import operations as op
from docket.event_store.codec import Codec
from docket.event_store.exchange import import_log
from docket.event_store.read_only import ReadOnlyEventStore
from docket.kernel.replaying.job import Replay, replay

HERE = Path(__file__).parent
SCENARIOS = sorted(path.stem for path in HERE.glob("*.jsonl"))
# Beside the recovery that each daemon begins with.
JOBS = {
    "commit": {"start", "commit", "pause", "unpause", "watch", "remove"},
    "exec": {"start", "exec_start", "watch", "remove"},
    "kill": {"start", "kill", "watch"},
    "pause": {"start", "pause", "unpause", "watch", "remove"},
    "remove": {"start", "watch", "remove"},
    "restart": {"start", "restart", "stop", "watch", "remove"},
    "run": {"start", "watch"},
    "run-as-user": {"start", "watch"},
    "run-terminal": {"start", "watch"},
    "start-failed": {"start"},
    "stop": {"start", "stop", "watch"},
}


@pytest.fixture
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ReadOnlyEventStore]:
    """The log of a scenario."""
    codec = Codec(EVENT_TYPES)
    with open(HERE / f"{request.param}.jsonl", "rb") as source:
        import_log(source, tmp_path / "log.db", codec)
    with ReadOnlyEventStore(tmp_path / "log.db", codec) as opened:
        yield opened


def replays(store: ReadOnlyEventStore) -> list[Replay]:
    return [told for job in store.recorded_jobs() if (told := replay(store, job)) is not None]


@pytest.mark.parametrize("store", SCENARIOS, indirect=True)
def test_what_the_real_kernel_did_replays_unchanged(store: ReadOnlyEventStore, request: pytest.FixtureRequest) -> None:
    """Every job makes the same calls with the same plan, and appends the same events; nothing is left over."""
    told = replays(store)
    assert [each.divergence for each in told if each.divergence] == []
    scenario = request.node.callspec.params["store"]
    assert {each.name for each in told} == {*JOBS[scenario], "recover"}
    assert store.verify().events == store.head()
    assert {job.name for job in fold(store.read_for_fold()).jobs.values()} == {"serveapi"}


def test_every_scenario_is_there() -> None:
    """None gets lost when they are recorded anew."""
    assert set(SCENARIOS) == set(JOBS)


@pytest.mark.parametrize("store", ["run"], indirect=True)
def test_a_plan_with_a_new_operation_is_noticed(store: ReadOnlyEventStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """An operation that the recorded kernel never saw fails the replay, and the difference is that one line."""

    class Quota(op.Operation, frozen=True):
        blocks: int

    original = start_job.container_plan

    def with_quota(*arguments: Any) -> op.Plan:
        plan = original(*arguments)
        quota: Any = Quota(7)
        return msgspec.structs.replace(plan, prepare=(*plan.prepare, quota))

    monkeypatch.setattr(start_job, "container_plan", with_quota)
    told = next(each for each in replays(store) if each.name == "start")
    lines = told.divergence.splitlines()
    assert lines[0].startswith("replay diverged: launch '")
    assert [line for line in lines if line.startswith(("+", "-")) and line[-2:] != "ed"][:1] != []
    assert '+["Quota",7]' in lines


class Untouchable:
    """A port, or a nursery, that nobody may so much as look at."""

    def __getattribute__(self, name: str) -> Any:
        raise AssertionError(f"a rebuild touched {name}")


@pytest.mark.parametrize("store", SCENARIOS, indirect=True)
def test_s50_a_rebuild_of_the_state_uses_nothing_but_the_log(store: ReadOnlyEventStore) -> None:
    """However often it is folded, no adapter is called: neither kernel nor clock, disk or clients."""
    nothing: Any = Untouchable()
    ports = Ports(store, nothing, nothing, nothing, nothing, nothing, nothing, nothing, nothing)
    engine = Engine(ports, nothing, {})
    assert engine.state == fold(store.read_for_fold())


_GUARDED_REPLAY = """
import os, sys
from pathlib import Path
from docket.domain.model.state import EVENT_TYPES
from docket.event_store.codec import Codec
from docket.event_store.read_only import ReadOnlyEventStore
from docket.kernel.replaying.job import replay

FORBIDDEN = ("subprocess.", "socket.connect", "socket.bind", "shutil.", "ctypes.dlopen", "os.mkdir", "os.remove", "os.rename",
             "os.rmdir", "os.chmod", "os.chown", "os.link", "os.symlink", "os.truncate", "os.exec", "os.fork", "os.kill")

def watch(event, arguments):
    writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
    if writes or event.startswith(FORBIDDEN):
        os.write(2, f"a replay did {event} {arguments}\\n".encode())
        os._exit(9)

sys.addaudithook(watch)
for path in sys.argv[1:]:
    with ReadOnlyEventStore(Path(path), Codec(EVENT_TYPES)) as store:
        told = [replay(store, job) for job in store.recorded_jobs()]
        assert told and not any(each is not None and each.divergence for each in told)
loaded = [name for name in sys.modules if name.startswith(("docket.kernel.linux", "docket.kernel.launcher", "docket.adapters"))]
assert not loaded, loaded
"""


def test_s50_a_replay_has_no_effect(tmp_path: Path) -> None:
    """Watched by the interpreter itself: no file written, no process started, nothing connected, no real adapter imported."""
    logs = [tmp_path / f"{scenario}.db" for scenario in SCENARIOS]
    for log in logs:
        with open(HERE / f"{log.stem}.jsonl", "rb") as source:
            import_log(source, log, Codec(EVENT_TYPES))
    done = subprocess.run(
        [sys.executable, "-c", _GUARDED_REPLAY, *map(str, logs)], capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
