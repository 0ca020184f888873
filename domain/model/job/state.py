"""What a job is while it is under way; ended jobs are in the log."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from docket.domain.model.job import events


class JobStatus(StrEnum):
    ACCEPTED = "accepted"
    COMPLETED = "completed"
    FAILED = "failed"


TRANSITIONS: dict[JobStatus, dict[type[events.JobEvent], JobStatus]] = {
    JobStatus.ACCEPTED: {events.JobCompleted: JobStatus.COMPLETED, events.JobFailed: JobStatus.FAILED},
    JobStatus.COMPLETED: {},
    JobStatus.FAILED: {},
}


class OpenJob(msgspec.Struct):
    """A job that was accepted and has no outcome yet."""

    id: str
    name: str
    arguments: tuple[str, ...]
    accepted_ns: int
