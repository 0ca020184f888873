"""What pull and push have in common: how progress is told, and the outcome that every transfer gets."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import msgspec
import trio

from docket.domain.engine import Engine, Job
from docket.domain.errors import PortError, Rejected, StoreError
from docket.domain.log import Event

_CANCELLED = "the client went away or the engine ended"
UPLOADS_AT_ONCE = 5
"""As Docker has it."""

_SHORT = 12


class Step(msgspec.Struct, frozen=True):
    """Something to tell whoever waits: ``status`` in Docker's words. ``id`` names the layer or tag, empty for the whole.

    ``current`` of ``total`` bytes are done where that is told; ``total`` 0 is no count. ``moves`` tells a layer's step, which takes
    the place of its last one. ``digest`` and ``size`` are the result of a push.
    """

    status: str
    id: str = ""
    current: int = 0
    total: int = 0
    moves: bool = False
    tag: str = ""
    digest: str = ""
    size: int = 0
    stream: bool = False
    """It is a result to be printed as it is, and no step on the way."""


Progress = Callable[[Step], None]


def unheard(step: Step) -> None:
    """A `Progress` that nobody listens to."""


def short(digest: str) -> str:
    """A digest as progress shows it."""
    return digest.removeprefix("sha256:")[:_SHORT]


@asynccontextmanager
async def concluded(engine: Engine, job: Job, failed: Callable[[str], Event]) -> AsyncIterator[None]:
    """What goes wrong within gets into the log as ``failed(reason)``, and is raised again."""
    try:
        yield
    except (Rejected, PortError) as error:
        await engine.record([failed(str(error))], job)
        raise
    except StoreError:
        raise  # the log refused; the next start of the engine settles the intent
    except trio.Cancelled:
        engine.note([failed(_CANCELLED)], job)
        raise
    except BaseException as error:
        engine.note([failed(f"{type(error).__name__}: {error}")], job)
        raise
