"""The jobs: one file each, from command to outcome. `JOBS` is the engine's table from name to handler."""

from __future__ import annotations

import msgspec

from docket.domain.engine import Handler
from docket.domain.jobs import (
    attach,
    compact,
    create,
    engine,
    exec_,
    fsck,
    images,
    kill,
    logs,
    pause,
    remove,
    rename,
    restart,
    serveapi,
    start,
    stop,
    update,
    wait,
)
from docket.domain.model.container.spec import Resources

JOBS: dict[str, Handler] = {
    "create": create.create,
    "start": start.start,
    "stop": stop.stop,
    "kill": kill.kill,
    "restart": restart.restart,
    "pause": pause.pause,
    "unpause": pause.unpause,
    "wait": wait.wait,
    "remove": remove.remove,
    "rename": rename.rename,
    "update": update.update,
    "logs": logs.logs,
    "attach": attach.attach,
    "exec_create": exec_.create,
    "exec_start": exec_.start,
    "import": images.import_,
    "tag": images.tag,
    "rmi": images.remove,
    "reload": engine.reload,
    "fsck": fsck.fsck,
    "compact": compact.compact,
    "serveapi": serveapi.serveapi,
}

REQUESTS: dict[str, type[int] | type[msgspec.Struct]] = {
    "kill": int,
    "stop": stop.Stop,
    "restart": stop.Stop,
    "remove": remove.Remove,
    "update": Resources,
}
"""The requests that may be recorded with a job, because they hold no secret and a replay needs them."""
