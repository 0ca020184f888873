"""The engine is killed under running containers: they go on, what they say is kept, and how they end is known."""

from __future__ import annotations

import time

from tests.soak.engine import Engine

_FOR_EVER = "trap 'exit {code}' TERM; i=0; while :; do echo $i; i=$((i+1)); sleep {pause}; done"
_FOR_A_WHILE = "i=0; while [ $i -lt {lines} ]; do echo $i; i=$((i+1)); sleep {pause}; done; exit {code}"
_PAUSE = 0.2


def soak(engine: Engine, containers: int, kills: int, seconds: float = 1.0) -> dict[str, object]:
    """Run, kill, and count. Half of the containers end by themselves meanwhile, some while no engine lives."""
    expected: dict[str, tuple[int, int]] = {}
    for number in range(containers):
        code = number % 100 + 1
        lines = int((number + 1) * kills * seconds / containers / _PAUSE) if number % 2 else 0
        script = (_FOR_A_WHILE if lines else _FOR_EVER).format(code=code, lines=lines, pause=_PAUSE)
        container = engine.client.create("docket/base", ["sh", "-c", script], f"soak{number}")
        engine.client.start(container)
        expected[container] = (code, lines)
    slowest, died = 0.0, []
    for _ in range(kills):
        engine.kill()
        time.sleep(seconds / 2)
        slowest = max(slowest, engine.start())
        died += [
            container for container, (_, lines) in expected.items() if not lines and not _state(engine, container)["Running"]
        ]
        time.sleep(seconds / 2)
    wrong, lost, written = [], [], 0
    for container, (code, lines) in expected.items():
        if not lines:
            engine.client.call("POST", f"/containers/{container}/stop", t=30)
        else:
            engine.client.wait(container)
        if _state(engine, container)["ExitCode"] != code:
            wrong.append(container)
        said = _output(engine, container)
        written += len(said)
        if said != list(range(len(said))) or (lines and len(said) != lines):
            lost.append(container)
        engine.client.remove(container)
    return {
        "containers": containers,
        "kills": kills,
        "died with the engine": len(set(died)),
        "exit codes wrong or unknown": len(wrong),
        "with lost output": len(lost),
        "lines written": written,
        "slowest start to the first answer, s": round(slowest, 2),
    }


def _state(engine: Engine, container: str) -> dict[str, object]:
    state: dict[str, object] = engine.client.call("GET", f"/containers/{container}/json")["State"]
    return state


def _output(engine: Engine, container: str) -> list[int]:
    """The numbers that a container wrote, out of the framed stream."""
    data = engine.client.request("GET", f"/containers/{container}/logs", stdout="true").read()
    text = b""
    while len(data) >= 8:
        length = int.from_bytes(data[4:8], "big")
        text += data[8 : 8 + length]
        data = data[8 + length :]
    return [int(line) for line in text.split()]
