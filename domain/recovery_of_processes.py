"""What recovery asks of any process that the log says is under way: where it is, or how it ended."""

from __future__ import annotations

import trio

from docket.domain.engine import Engine, Job
from docket.domain.errors import PortError
from docket.domain.jobs import launching
from docket.domain.model.job.events import JobFailed
from docket.domain.ports import Exit, Found, ProcessIdentity

_LOST = Exit(137)
_ATTEMPTS, _PAUSE_SECONDS = 3, 0.1


async def find(
    engine: Engine, job: Job, key: str, directory: str, exit_file: str, identity: ProcessIdentity | None
) -> tuple[Found, str]:
    """What the kernel knows, and why it knows nothing. A process that it cannot be asked about is ended (``identity``)."""
    for _ in range(_ATTEMPTS):
        try:
            return await engine.ports.kernel.find(key, directory, exit_file), ""
        except PortError as error:
            reason = str(error)
            engine.note([JobFailed(job.id, type(error).__name__, f"find {key}: {reason}")], job)
            await trio.sleep(_PAUSE_SECONDS)
    _, reason = await launching.lost(engine, key, identity, reason)
    return Found(), reason


def end_of(engine: Engine, found: Found, boot_id: str, reason: str) -> tuple[Exit, str]:
    """How a process ended that does not run any more, and why that is known otherwise than from its shim."""
    if found.exit is not None:
        return found.exit, ""
    if reason:
        return _LOST, reason
    if boot_id != engine.ports.kernel.host().boot_id:
        return _LOST, "the host was rebooted"
    return _LOST, "its shim ended without leaving an exit status"
