"""Images on the move: pulled and pushed, saved and loaded, and the memory that a pull takes."""

import time
from collections.abc import Iterator

from benchmarks.engines import Engine, ImageEngine
from benchmarks.meter import Measurement, Meter, Sizes
from benchmarks.registry import IMAGES


def pull(engine: Engine, sizes: Sizes) -> Iterator[Measurement]:
    """Images of three kinds, pulled by engines that do not have them; then pushed under a name whose registry has their layers and
    can mount them, and to an empty registry."""
    if not isinstance(engine, ImageEngine) or sizes.registry is None:
        return
    for name, what in IMAGES.items():
        reference, copy = f"{sizes.registry.host}/{name}:1", f"{sizes.registry.host}/{name}-{engine.name}-{time.time_ns()}:1"
        yield _timed(f"pull {what}", engine, engine.pull_command(reference))
        engine.tag(reference, copy)
        yield _timed(f"push {what}, mounted", engine, engine.push_command(reference, copy))
        with sizes.registry.empty() as empty:
            elsewhere = f"{empty.host}/{name}:1"
            engine.tag(reference, elsewhere)
            yield _timed(f"push {what}", engine, engine.push_command(reference, elsewhere))
        engine.forget(reference, copy, elsewhere)


def archives(engine: Engine, sizes: Sizes) -> Iterator[Measurement]:
    """The same images saved, loaded from what the engine saved, and loaded from what docker saves."""
    if not isinstance(engine, ImageEngine) or sizes.registry is None:
        return
    archive = engine.folder / "saved.tar"
    for name, what in IMAGES.items():
        reference = f"{sizes.registry.host}/{name}:1"
        engine.run(engine.pull_command(reference))
        yield _timed(f"save {what}", engine, engine.save_command(reference, archive))
        engine.forget(reference)
        yield _timed(f"load {what}, its own", engine, engine.load_command(archive, reference))
        engine.forget(reference)
        archive.unlink()
        yield _timed(f"load {what}, docker's", engine, engine.load_command(sizes.registry.archive(name), reference))
        engine.forget(reference)


def peak(engine: Engine, sizes: Sizes) -> Iterator[Measurement]:
    """How much memory a pull takes at its worst, of all the engine's processes together, above what they had at rest."""
    if not isinstance(engine, ImageEngine) or sizes.registry is None:
        return
    for name, what in IMAGES.items():
        reference = f"{sizes.registry.host}/{name}:1"
        engine.group.settled_cpu_ns()
        with Meter(engine).memory() as seen:
            engine.run(engine.pull_command(reference))
        yield Measurement(f"pull {what}, memory above idle", (seen[1] - seen[0]) / 1e6, "MB")
        engine.forget(reference)


def _timed(name: str, engine: Engine, command: list[str]) -> Measurement:
    meter = Meter(engine)
    with meter.batch(), meter.operation():
        engine.run(command)
    return Measurement(name, meter.walls[-1], "ms", meter.cpu_ms)
