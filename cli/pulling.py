"""Fetching an image through the engine, and showing how it goes: one line for each step that the engine reports."""

from __future__ import annotations

import os

from docket.cli.context import encode, write_all
from docket.cli.errors import CliError
from docket.cli.sanitise import printable
from docket.domain.compact_json import loads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from docket.cli.client import Response
    from docket.cli.context import Context


def full_name(reference: str) -> tuple[str, str]:
    """A reference as repository with registry, and tag or digest: `busybox` is `docker.io/library/busybox` and `latest`."""
    name, _, digest = reference.partition("@")
    repository, tag = split_tag(name)
    first, slash, _ = repository.partition("/")
    if not slash:
        repository = f"docker.io/library/{repository}"
    elif "." not in first and ":" not in first and first != "localhost":
        repository = f"docker.io/{repository}"
    return repository, digest or tag or "latest"


def split_tag(name: str) -> tuple[str, str]:
    """Repository and tag; the tag is empty when none is given. A colon before a slash belongs to a registry's port."""
    repository, colon, tag = name.rpartition(":")
    return (repository, tag) if colon and "/" not in tag else (name, "")


def pull(context: Context, image: str, platform: str, output: int | None) -> None:
    """Fetches `image`, telling the steps on the descriptor `output` (None for silence); raises CliError when it fails."""
    repository, tag = full_name(image)
    query = [("fromImage", repository), ("tag", tag)] + ([("platform", platform)] if platform else [])
    from docket.cli.credentials import auth_header

    show_progress(context.client().request("POST", "/images/create", query, headers=auth_header(repository)), output)


def show_progress(response: Response, output: int | None) -> None:
    """Prints a stream of progress messages, in place on a terminal; an error in it is raised as CliError."""
    display = None
    if output is not None and os.isatty(output):
        from docket.cli.progress import Display

        display = Display(output)
    for line in response.lines():
        try:
            message = loads(line)
        except ValueError:
            raise CliError("the docket daemon's progress messages cannot be read") from None
        if message.get("error"):
            if display is not None:
                display.finish()
            raise CliError(printable(str(message["error"])))
        if message.get("stream"):
            if display is not None:
                display.finish()
                display = None
            write_all(1 if output is None else output, encode(printable(str(message["stream"]).rstrip("\n")) + "\n"))
            continue
        if display is not None:
            display.show(message)
            continue
        # Byte counts of a download change many times a second; without a cursor to move, only the steps are told.
        if output is not None and message.get("status") and not message.get("progressDetail"):
            prefix = f"{message['id']}: " if message.get("id") else ""
            write_all(output, encode(printable(f"{prefix}{message['status']}") + "\n"))
    if display is not None:
        display.finish()
