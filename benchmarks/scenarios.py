"""What the engines are asked to do. Each scenario yields one or several measurements for each engine and round.

A scenario is a function of the engine and the sizes; it prepares, measures with `Meter`, and clears up. Wall times are of
single operations, CPU time is that of all the engine's processes until it has come to rest, divided by the number of operations.
"""

import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

from benchmarks import image
from benchmarks.engines import ApiEngine, ContainerEngine, Engine
from benchmarks.meter import Measurement, Meter, Sizes
from benchmarks.transfers import archives, peak, pull

LOG_BYTES = 100_000_000
REPEATS = 5
PARALLEL_RUNS = 50
WORKERS = 8
IDLE_CONTAINERS = 10
# A line of usual length. The container makes it as fast as it can.
LOG_LINE = "the quick brown fox jumps over the lazy dog and then looks back at what it did"


def run(engine: Engine, sizes: Sizes) -> Iterator[Measurement]:
    """`run --rm --network none IMAGE true`, one after the other."""
    if not isinstance(engine, ContainerEngine):
        return
    meter = Meter(engine)
    with meter.batch(REPEATS):
        for _ in range(REPEATS):
            with meter.operation():
                engine.run(engine.run_command("true"))
    yield Measurement("run --rm --network none true", meter.median_wall_ms(), "ms", meter.cpu_ms)


def parallel(engine: Engine, sizes: Sizes) -> Iterator[Measurement]:
    """The same by several workers at once. The harness enters the engine's group once, for all of its threads."""
    if not isinstance(engine, ContainerEngine):
        return
    meter = Meter(engine)
    with meter.batch(PARALLEL_RUNS), ThreadPoolExecutor(WORKERS) as pool:
        began = time.perf_counter()
        engine.run_many([engine.run_command("true") for _ in range(PARALLEL_RUNS)], pool)
        seconds = time.perf_counter() - began
    yield Measurement(f"{PARALLEL_RUNS} runs by {WORKERS} workers", PARALLEL_RUNS / seconds, "/s", meter.cpu_ms)


def cycle(engine: Engine, sizes: Sizes) -> Iterator[Measurement]:
    """Create, start, wait, remove through the API on a kept-alive connection."""
    if not isinstance(engine, ApiEngine):
        return
    client, meter = engine.client(), Meter(engine)
    with meter.batch(REPEATS):
        for _ in range(REPEATS):
            with meter.operation():
                container = client.create(image.REFERENCE, ["true"], host=engine.host_config())
                client.start(container)
                client.wait(container)
                client.remove(container)
    client.close()
    yield Measurement("API create start wait remove", meter.median_wall_ms(), "ms", meter.cpu_ms)


def execute(engine: Engine, sizes: Sizes) -> Iterator[Measurement]:
    """`true` in a running container through the API: create the exec, start it, read its output to the end, inspect it."""
    if not isinstance(engine, ApiEngine):
        return
    client, meter = engine.client(), Meter(engine)
    container = client.create(image.REFERENCE, ["sleep", "3600"], host=engine.host_config())
    client.start(container)
    request = {"Cmd": ["true"], "AttachStdout": True, "AttachStderr": True}
    with meter.batch(REPEATS):
        for _ in range(REPEATS):
            with meter.operation():
                started = client.call("POST", f"/containers/{container}/exec", request)["Id"]
                client.drain("POST", f"/exec/{started}/start", {"Detach": False, "Tty": False})
                client.call("GET", f"/exec/{started}/json")
    client.remove(container)
    client.close()
    yield Measurement("API exec true", meter.median_wall_ms(), "ms", meter.cpu_ms)


def output(engine: Engine, sizes: Sizes) -> Iterator[Measurement]:
    """A container prints 100 MB as fast as it can; then its log is read back. CPU time includes the container's own."""
    if not isinstance(engine, ApiEngine):
        return
    client, meter = engine.client(), Meter(engine)
    script = f"yes '{LOG_LINE}' | head -c {LOG_BYTES}"
    host = engine.host_config()
    if engine.log_config is not None:
        host["LogConfig"] = engine.log_config
    container = client.create(image.REFERENCE, ["sh", "-c", script], host=host)
    with meter.batch(), meter.operation():
        client.start(container)
        client.wait(container)
    yield Measurement("100 MB of output written", meter.walls[-1], "ms", meter.cpu_ms)
    with meter.batch(), meter.operation():
        size = client.drain("GET", f"/containers/{container}/logs", stdout="true")
    # Engines frame differently, and one that rotates has kept less.
    share = size / LOG_BYTES
    yield Measurement("100 MB of output read", meter.walls[-1] / share, "ms", meter.cpu_ms / share)
    client.remove(container)
    client.close()


def memory(engine: Engine, sizes: Sizes) -> Iterator[Measurement]:
    """Proportional memory of the idle engine, and what each running container adds without its own process."""
    if not isinstance(engine, ApiEngine):
        return
    engine.group.settled_cpu_ns()
    idle = engine.group.pss_bytes()
    yield Measurement("idle engine", idle / 1e6, "MB")
    client = engine.client()
    containers = [client.create(image.REFERENCE, ["sleep", "3600"], host=engine.host_config()) for _ in range(IDLE_CONTAINERS)]
    for container in containers:
        client.start(container)
    engine.group.settled_cpu_ns()
    added = engine.group.pss_bytes(without="sleep 3600") - idle
    yield Measurement("each running container", added / 1e6 / IDLE_CONTAINERS, "MB")
    for container in containers:
        client.remove(container)
    client.close()


def many(engine: Engine, sizes: Sizes) -> Iterator[Measurement]:
    """`ps -a` with 10 and with many containers that do not run, and starts of the daemon with all of them: after a clean end,
    and after a kill."""
    if not isinstance(engine, ApiEngine):
        return
    client = engine.client()
    containers: list[str] = []
    for count in (10, sizes.containers):
        while len(containers) < count:
            containers.append(client.create(image.REFERENCE, ["true"], f"bench-{len(containers)}", host=engine.host_config()))
        meter = Meter(engine)
        with meter.batch(REPEATS):
            for _ in range(REPEATS):
                with meter.operation():
                    engine.run(engine.command("ps", "-a"))
        yield Measurement(f"ps -a with {count} containers", meter.median_wall_ms(), "ms", meter.cpu_ms)
    if sizes.renames:
        _rename(engine, containers, sizes.renames)
    client.close()
    history = f" after {sizes.renames} renames" if sizes.renames else ""
    for number, end in ((signal.SIGTERM, ""), (signal.SIGKILL, ", killed")):
        if number is signal.SIGKILL and not engine.starts_after_kill:
            continue
        engine.stop(number)
        meter = Meter(engine)
        with meter.batch():
            seconds = engine.start()
        yield Measurement(f"start with {sizes.containers} containers{history}{end}", seconds * 1000, "ms", meter.cpu_ms)
    with engine.client_closing() as client:
        for container in containers:
            client.remove(container)


def _rename(engine: ApiEngine, containers: list[str], renames: int) -> None:
    """Gives the engine a past: several events, and nothing in the present, for each rename."""

    def worker(number: int) -> None:
        with engine.client_closing() as client:
            for turn in range(renames // WORKERS):
                index = number + WORKERS * (turn % (len(containers) // WORKERS))
                client.call("POST", f"/containers/{containers[index]}/rename", name=f"past-{index}-{turn}")

    with ThreadPoolExecutor(WORKERS) as pool:
        list(pool.map(worker, range(WORKERS)))


SCENARIOS: dict[str, Callable[[Engine, Sizes], Iterator[Measurement]]] = {
    "run": run,
    "parallel": parallel,
    "cycle": cycle,
    "exec": execute,
    "output": output,
    "memory": memory,
    "many": many,
    "peak": peak,
    "pull": pull,
    "archives": archives,
}
TRANSFERS = frozenset({"peak", "pull", "archives"})
"""Those that need a registry."""
# Too long to repeat.
ONCE = frozenset({"memory", "many", "peak"})
