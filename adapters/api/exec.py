"""``/containers/{id}/exec`` and ``/exec``."""

from __future__ import annotations

import socket

from docket.adapters.api import fields
from docket.adapters.api.fields import checked_object, console_size, flag, text
from docket.adapters.api.streams import content_type, handed_over, parse_detach_keys, window_size
from docket.adapters.http import Request, Response, Route
from docket.domain.engine import Engine, Job
from docket.domain.errors import Rejected, Rejection
from docket.domain.jobs.exec_ import CreateRequest
from docket.domain.model import texts
from docket.domain.model.container.decide import Unsettled
from docket.domain.model.decide import decide
from docket.domain.model.exec.commands import StartExec
from docket.domain.model.exec.events import ExecSpec
from docket.domain.model.exec.state import Exec
from docket.domain.ports import Attachment


def routes(engine: Engine) -> list[Route]:
    """The routes of this file."""

    async def create(request: Request) -> Response:
        body = checked_object(await request.json(), "the body of an exec")
        spec = ExecSpec(
            "",
            user=text(body, "User"),
            working_directory=text(body, "WorkingDir"),
            terminal=flag(body, "Tty"),
            stdin=flag(body, "AttachStdin"),
            stdout=flag(body, "AttachStdout"),
            stderr=flag(body, "AttachStderr"),
            privileged=flag(body, "Privileged"),
            detach_keys=text(body, "DetachKeys"),
            console_size=console_size(body),
        )
        ask = CreateRequest(spec, fields.texts(body, "Cmd"), fields.texts(body, "Env"))
        job = engine.job("exec_create", (request.parameters["id"],), request.peer.actor, ask)
        return Response.json({"Id": await engine.run(job)}, 201)

    async def start(request: Request) -> Response | None:
        sent = await request.json(optional=True)
        body = checked_object({} if sent is None else sent, "the body of an exec's start")
        instance = _instance(engine, request)
        job = engine.job("exec_start", (instance.id,), request.peer.actor)
        if flag(body, "Detach"):
            await engine.run(job)
            return Response.empty(200)
        spec = instance.spec
        keys = parse_detach_keys(spec.detach_keys)
        decided = decide(engine.state, StartExec(instance.id))
        if isinstance(decided, Rejection) and not isinstance(decided, Unsettled):
            raise Rejected(decided)  # while it can still be an ordinary answer
        hijacked = await request.hijack(content_type(request, spec.terminal))
        async with handed_over(hijacked) as (endpoint, early):
            attachment = Attachment(
                endpoint, spec.stdin, spec.stdout, spec.stderr, not spec.terminal, keys if spec.terminal else b"", early
            )
            job.attachments = (attachment,)
            await _start_attached(engine, job, endpoint, spec.terminal)
        return None

    async def inspect(request: Request) -> Response:
        instance = _instance(engine, request)
        spec = instance.spec
        return Response.json(
            {
                "ID": instance.id,
                "Running": instance.alive,
                "ExitCode": instance.exit_code,
                "ProcessConfig": {
                    "tty": spec.terminal,
                    "entrypoint": spec.program,
                    "arguments": [],
                    "privileged": spec.privileged,
                    "user": spec.user,
                },
                "OpenStdin": spec.stdin,
                "OpenStdout": spec.stdout,
                "OpenStderr": spec.stderr,
                "CanRemove": False,
                "ContainerID": instance.container,
                "DetachKeys": spec.detach_keys,
                "Pid": instance.pid,
            }
        )

    async def resize(request: Request) -> Response:
        instance = _instance(engine, request)
        rows, columns = window_size(request.query)
        if not instance.alive:
            raise Rejected(texts.exec_not_running(instance.id))
        await engine.ports.kernel.resize(instance.id, rows, columns)
        return Response.empty(200)

    return [
        Route("POST", "/containers/{id}/exec", create),
        Route("POST", "/exec/{id}/start", start),
        Route("GET", "/exec/{id}/json", inspect),
        Route("POST", "/exec/{id}/resize", resize),
    ]


async def _start_attached(engine: Engine, job: Job, endpoint: socket.socket, terminal: bool) -> None:
    """Run the job; why it was refused is told on the stream, where there is one already."""
    keep = endpoint.dup()
    try:
        await engine.run(job)
    except Rejected as error:
        message = error.rejection.message.encode() + b"\r\n"
        header = b"" if terminal else b"\1\0\0\0" + len(message).to_bytes(4, "big")
        keep.setblocking(True)
        keep.sendall(header + message)
        endpoint.close()
    finally:
        keep.close()


def _instance(engine: Engine, request: Request) -> Exec:
    instance = engine.state.execs.get(request.parameters["id"])
    if instance is None:
        raise Rejected(texts.no_such_exec(request.parameters["id"]))
    return instance
