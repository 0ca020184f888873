"""What recordings tell of a job: the kernel's part as shell commands, and whether the job does the same again.

Both work on any system, from a recording that may have come from anywhere (S57).
"""

from __future__ import annotations

from collections.abc import Sequence

from docket.domain.plan.operations import OperationResult, Plan
from docket.domain.ports import EventStore
from docket.kernel.explain import explain
from docket.kernel.recording.calls import recorded_plan, recorded_results
from docket.kernel.recording.format import Call, RecordingInvalid, decode
from docket.kernel.replaying.job import Replay, replay


class KernelHistory:
    """Tells of plans and recordings."""

    def explain(self, plan: Plan, results: Sequence[OperationResult] = ()) -> str:
        """A plan as shell commands."""
        return explain(plan, results)

    def explain_recording(self, store: EventStore, job: str) -> str | None:
        """What the job asked of the kernel, as shell commands; None when nothing is recorded. An invalid recording says why."""
        recording = store.recording(job)
        if recording is None:
            return None
        try:
            _, calls = decode(recording)
            return "".join(_explain_call(call) for call in calls)
        except RecordingInvalid as error:
            return f"# {error}\n"

    def replay_job(self, store: EventStore, job: str) -> Replay | None:
        """Execute a job again; None when nothing is recorded of it. An invalid recording is a divergence that says why."""
        try:
            return replay(store, job)
        except RecordingInvalid as error:
            return Replay(job, "", (), 0, 0, 0, str(error))


def _explain_call(call: Call) -> str:
    subject = call.key[:12] or str(call.arguments.get("cgroup", ""))
    title = f"# {call.name} {subject}".rstrip()
    if call.error is not None and call.name != "launch":
        title += f": {call.error.syscall or call.error.kind}: {call.error.reason}"
    text = "".join(character if character.isprintable() else "?" for character in title) + "\n"
    if call.name != "launch":
        return text
    plan = recorded_plan(call)
    return text + explain(plan, recorded_results(call, plan))
