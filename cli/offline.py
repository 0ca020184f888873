"""`docket --log`: commands answered from a log that no engine runs on, an exported file or a data root. Works on any system.

    docket command ──unix socket in a private directory──► API server in a thread ──► engine on a read-only log, no kernel

An exported file is imported into a temporary directory first, so it is checked as strictly as any import (S57). Nothing is written
to a log, and what would need a kernel is refused.
"""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import trio

from docket.adapters.api.errors import to_response
from docket.adapters.api.routes import router
from docket.adapters.http import Server, open_listeners
from docket.cli.errors import CliError
from docket.domain.engine import Engine, Ports
from docket.domain.errors import StoreError
from docket.domain.jobs import JOBS
from docket.domain.model.state import EVENT_TYPES
from docket.domain.plan.settings import HostFiles, Places
from docket.event_store.codec import Codec
from docket.event_store.exchange import Imported, import_log
from docket.event_store.read_only import ReadOnlyEventStore
from docket.kernel.history import KernelHistory
from docket.kernel.replaying.absent import AbsentKernel, recorded_host
from docket.kernel.replaying.surroundings import NoImages, NoOutputs, NoRootfs, RecordedClock, RecordedIds

LOG_NAME = "log.db"


def import_file(file: str, directory: str) -> Imported:
    """Make a directory that `docket --log` can look at. Raises CliError."""
    try:
        os.mkdir(directory, 0o700)
    except FileExistsError:
        raise CliError(f"docket: {directory} exists: name a directory that does not, for the imported log") from None
    except OSError as error:
        raise CliError(f"docket: {directory} cannot be made: {(error.strerror or str(error)).lower()}") from None
    try:
        return _import(file, Path(directory, LOG_NAME))
    except BaseException:
        os.rmdir(directory)
        raise


def _import(file: str, target: Path) -> Imported:
    try:
        with open(file, "rb") as source:
            return import_log(source, target, Codec(EVENT_TYPES))
    except StoreError as error:
        raise CliError(f"docket: {file}: {error}") from None
    except OSError as error:
        raise CliError(f"docket: {file}: {(error.strerror or str(error)).lower()}") from None


@contextmanager
def looked_at(path: str) -> Iterator[str]:
    """The address of a server that answers from the log in ``path``, an exported file or a data root. Raises CliError."""
    with tempfile.TemporaryDirectory(prefix="docket-log-") as directory:
        log = Path(path, LOG_NAME)
        if not os.path.isdir(path):
            log = Path(directory, LOG_NAME)
            _import(path, log)
        try:
            store = ReadOnlyEventStore(log, Codec(EVENT_TYPES))
        except StoreError as error:
            raise CliError(f"docket: {error}") from None
        address = f"unix://{directory}/docket.sock"
        service = _Service(store, address, path)
        try:
            service.start()
            yield address
        finally:
            service.stop()
            store.close()


class _Service:
    """The API server in a thread of its own."""

    def __init__(self, store: ReadOnlyEventStore, address: str, path: str) -> None:
        self._store = store
        self._address = address
        self._path = path
        self._ready = threading.Event()
        self._failure: BaseException | None = None
        self._stop: Any = None
        self._thread = threading.Thread(target=self._run, name="docket-log", daemon=True)

    def start(self) -> None:
        """Returns when commands are answered. Raises CliError for a log that cannot be read."""
        self._thread.start()
        self._ready.wait()
        if self._failure is not None:
            raise CliError(f"docket: {self._path}: {self._failure}")

    def stop(self) -> None:
        """End the server."""
        if self._stop is not None:
            self._stop()
        self._thread.join()

    def _run(self) -> None:
        try:
            trio.run(self._serve)
        except Exception as error:  # told by start(), in the thread that waits
            self._failure = error.exceptions[0] if isinstance(error, ExceptionGroup) else error
        self._ready.set()

    async def _serve(self) -> None:
        async with trio.open_nursery() as nursery:
            engine = _engine(self._store, self._path, nursery)
            server = Server(router(engine, KernelHistory()), on_error=to_response)
            token, ended = trio.lowlevel.current_trio_token(), trio.Event()
            await nursery.start(server.serve, open_listeners(self._address))

            def stop() -> None:
                try:
                    token.run_sync_soon(ended.set)
                except trio.RunFinishedError:
                    return

            self._stop = stop
            self._ready.set()
            await ended.wait()
            await server.shutdown(deadline_seconds=1)
            nursery.cancel_scope.cancel()


def _engine(store: ReadOnlyEventStore, path: str, nursery: trio.Nursery) -> Engine:
    """An engine whose state is the log's, and that can do nothing."""
    clock = RecordedClock()
    rootfs = NoRootfs()
    kernel = AbsentKernel(recorded_host(store))
    places = Places(path, "")
    ports = Ports(store, kernel, clock, RecordedIds("0" * 32), NoOutputs(), rootfs, NoImages(), places, HostFiles())
    engine = clock.engine = Engine(ports, nursery, JOBS)
    return engine
