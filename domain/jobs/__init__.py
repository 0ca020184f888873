"""The jobs: one file each, from command to outcome. `JOBS` is the engine's table from name to handler."""

from __future__ import annotations

import msgspec

from docket.domain.engine import Handler
from docket.domain.jobs import (
    archives,
    attach,
    commit,
    compact,
    create,
    engine,
    exec_,
    files,
    fsck,
    images,
    kill,
    logs,
    pause,
    pull,
    push,
    registry,
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
    "commit": commit.commit,
    "changes": files.changes,
    "export": files.export,
    "archive_get": files.get,
    "archive_put": files.put,
    "import": images.import_,
    "tag": images.tag,
    "rmi": images.remove,
    "load": archives.load,
    "save": archives.save,
    "prune": archives.prune,
    "pull": pull.pull,
    "push": push.push,
    "search": registry.search,
    "auth": registry.auth,
    "distribution": registry.distribution,
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
    "commit": commit.Commit,
}
"""The requests that may be recorded with a job, because they hold no secret and a replay needs them."""
