"""What can happen to a job."""

from __future__ import annotations

from typing import ClassVar

from docket.domain.log import Event


class JobEvent(Event, frozen=True, gc=False):
    """An event of the stream ``job-<id>``."""

    job: str

    @property
    def stream(self) -> str:
        return f"job-{self.job}"


class JobAccepted(JobEvent, frozen=True, gc=False, omit_defaults=True):
    """Somebody (the event's actor) asked for ``name``. Secrets never stand in the arguments."""

    opens_stream: ClassVar[bool] = True

    name: str
    arguments: tuple[str, ...] = ()
    environment: dict[str, str] = {}


class JobCompleted(JobEvent, frozen=True, gc=False):
    pass


class JobFailed(JobEvent, frozen=True, gc=False, omit_defaults=True):
    """``kind`` is the class of the error, such as ``Conflict`` or ``KernelError``."""

    kind: str
    message: str


EVENTS: tuple[type[JobEvent], ...] = (JobAccepted, JobCompleted, JobFailed)
