"""Given these events, when this command, then these events: the container's decider."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from docket.domain.errors import Conflict, InvalidArgument, NotFound, NotModified, Rejection
from docket.domain.log import Event
from docket.domain.model.container import commands, events
from docket.domain.model.container.decide import Unsettled
from docket.domain.model.container.spec import ContainerSpec, Resources, updated
from docket.domain.model.container.state import TRANSITIONS, ContainerStatus
from docket.domain.model.decide import Command, decide
from docket.domain.model.image.events import ImageDefaults, ImageImported, ImageRemoved, ImageRemoving, ImageTagged
from docket.domain.model.state import EngineState, fold

C = "c" * 64
OTHER = "d" * 64
IMAGE = "sha256:" + "1" * 64
SPEC = ContainerSpec(image="base", command=("true",))
IMPORTED = ImageImported(IMAGE, IMAGE, (), 1, ImageDefaults())
CREATED = events.ContainerCreated(C, "web", IMAGE, (), SPEC)
STARTING = events.ContainerStarting(C, 1)
STARTED = events.ContainerStarted(C, 1, 42, 7, "boot")
EXITED = events.ContainerExited(C, 1, 3)
RUNNING = (CREATED, STARTING, STARTED)


def given(*history: Event) -> EngineState:
    return fold((event, position * 1000, position) for position, event in enumerate((IMPORTED, *history), 1))


def when(history: Sequence[Event], command: Command) -> Sequence[Event] | Rejection:
    return decide(given(*history), command)


def create(name: str = "web") -> commands.CreateContainer:
    return commands.CreateContainer(OTHER, name, 5, IMAGE, (), SPEC)


def test_a_created_container_starts_and_counts_its_runs() -> None:
    """The intent names which run it is, so that a late outcome of an earlier one is not taken for it."""
    assert when([CREATED], commands.StartContainer("web")) == [STARTING]
    assert when([*RUNNING, EXITED], commands.StartContainer("web")) == [events.ContainerStarting(C, 2)]


def test_starting_a_running_container_changes_nothing() -> None:
    """Docker answers 304."""
    assert isinstance(when(RUNNING, commands.StartContainer(C)), NotModified)


def test_a_command_waits_while_an_intent_is_open() -> None:
    """Between intent and outcome a command is neither refused nor carried out twice."""
    for command in (commands.StartContainer(C), commands.StopContainer(C, 15, 10), commands.PauseContainer(C)):
        assert isinstance(when([CREATED, STARTING], command), Unsettled)


def test_an_update_of_a_running_container_is_an_intent_and_of_another_one_a_fact() -> None:
    """What is not asked for stays; a container that does not run has nothing to be written yet."""
    before = events.ContainerUpdated(C, Resources(memory_bytes=1 << 30, pids_limit=5))
    asked = commands.UpdateContainer("web", Resources(pids_limit=7))
    merged = Resources(memory_bytes=1 << 30, pids_limit=7)
    assert when([CREATED, before], asked) == [events.ContainerUpdated(C, merged)]
    assert when([*RUNNING, before], asked) == [events.ContainerUpdating(C, merged)]


def test_limits_are_what_they_were_when_an_update_fails() -> None:
    """Only the outcome changes the container, and one update comes after the other."""
    asked = Resources(pids_limit=7)
    updating = [*RUNNING, events.ContainerUpdating(C, asked)]
    assert given(*updating).containers[C].spec.resources == Resources()
    assert isinstance(when(updating, commands.UpdateContainer(C, asked)), Unsettled)
    failed = given(*updating, events.ContainerUpdateFailed(C, "write cpuset.mems: errno 22")).containers[C]
    assert (failed.spec.resources, failed.updating) == (Resources(), None)
    done = given(*updating, events.ContainerUpdated(C, asked)).containers[C]
    assert (done.spec.resources, done.updating) == (asked, None)


def test_a_container_that_is_being_removed_is_not_updated() -> None:
    """Docker answers 409."""
    history = [CREATED, events.ContainerRemoving(C)]
    assert isinstance(when(history, commands.UpdateContainer(C, Resources(pids_limit=7))), Conflict)


@pytest.mark.parametrize(
    ("had", "asked", "has"),
    [
        (Resources(nano_cpus=5), Resources(cpu_quota_us=7), Resources(cpu_quota_us=7)),
        (Resources(cpu_quota_us=7, cpu_period_us=9), Resources(nano_cpus=5), Resources(nano_cpus=5)),
        (
            Resources(memory_bytes=4, memory_swap_bytes=6),
            Resources(memory_bytes=5),
            Resources(memory_bytes=5, memory_swap_bytes=6),
        ),
        (
            Resources(memory_bytes=4, memory_swap_bytes=6),
            Resources(memory_bytes=8),
            Resources(memory_bytes=8, memory_swap_bytes=8),
        ),
        (Resources(cpuset_cpus="0"), Resources(), Resources(cpuset_cpus="0")),
    ],
)
def test_an_update_merges_as_docker_does(had: Resources, asked: Resources, has: Resources) -> None:
    """CPUs by count and by quota replace each other, and memory with swap is never less than memory."""
    assert updated(had, asked) == has


@pytest.mark.parametrize(
    "name", ["-rm", "--privileged", "a b", "a;b", "a'b", 'a"b', "$(id)", "a\nb", "a/b", "a`b", "a|b", "a\\b"]
)
def test_s43_a_name_that_a_program_could_take_for_an_option_is_none(name: str) -> None:
    """Names reach command lines of people and of firewalls: nothing that a shell or an option parser reads is in one."""
    assert isinstance(when([], create(name)), InvalidArgument)


def test_a_name_belongs_to_one_container() -> None:
    """The text names the holder, as Docker's does, and a removed container gives its name back."""
    answer = when([CREATED], create())
    assert isinstance(answer, Conflict)
    assert C in answer.message
    removed = (CREATED, events.ContainerRemoving(C), events.ContainerRemoved(C))
    assert when(removed, create()) == [events.ContainerCreated(OTHER, "web", IMAGE, (), SPEC)]


@pytest.mark.parametrize("name", ["a", "-x", "a b", "ä1", "x\n", "a" * 254, "../x"])
def test_s32_a_name_that_is_none_is_refused(name: str) -> None:
    """Names reach paths, terminals and logs."""
    assert isinstance(when([], create(name)), InvalidArgument)


def test_a_name_is_generated_when_none_is_given() -> None:
    """The same seed gives the same name unless it is taken."""
    first = when([], create(""))
    assert not isinstance(first, Rejection)
    assert isinstance(first[0], events.ContainerCreated)
    taken = events.ContainerCreated(C, first[0].name, IMAGE, (), SPEC)
    second = when([taken], create(""))
    assert not isinstance(second, Rejection)
    assert isinstance(second[0], events.ContainerCreated)
    assert second[0].name != first[0].name


def test_a_container_is_found_by_id_name_and_unique_prefix() -> None:
    """A name wins over a prefix; a prefix of two is of none."""
    for reference in (C, "web", "/web", "ccc"):
        assert when([CREATED], commands.StartContainer(reference)) == [STARTING]
    twin = events.ContainerCreated("c" * 63 + "d", "twin", IMAGE, (), SPEC)
    assert isinstance(when([CREATED, twin], commands.StartContainer("ccc")), NotFound)
    assert isinstance(when([CREATED], commands.StartContainer("")), NotFound)


def test_a_running_container_is_not_removed() -> None:
    """Only force removes it, and force kills first."""
    assert isinstance(when(RUNNING, commands.RemoveContainer(C)), Conflict)
    assert when([*RUNNING, EXITED], commands.RemoveContainer(C)) == [events.ContainerRemoving(C)]


def test_pause_and_unpause_follow_each_other() -> None:
    """Each is refused in the other's state with Docker's text."""
    paused = (*RUNNING, events.ContainerPausing(C), events.ContainerPaused(C))
    assert when(RUNNING, commands.PauseContainer(C)) == [events.ContainerPausing(C)]
    assert isinstance(when(paused, commands.PauseContainer(C)), Conflict)
    assert when(paused, commands.UnpauseContainer(C)) == [events.ContainerUnpausing(C)]
    assert isinstance(when(RUNNING, commands.UnpauseContainer(C)), Conflict)
    assert isinstance(when(paused, commands.StartContainer(C)), Conflict)


def test_stopping_a_stopped_container_changes_nothing_and_killing_it_conflicts() -> None:
    """304 and 409, as Docker answers."""
    ended = (*RUNNING, EXITED)
    assert isinstance(when(ended, commands.StopContainer(C, 15, 10)), NotModified)
    assert isinstance(when(ended, commands.KillContainer(C, 9)), Conflict)


def test_a_failed_start_leaves_the_container_as_it_was_before() -> None:
    """Created stays created with the exit code; one that has run before is exited again."""
    failed = events.ContainerStartFailed(C, 1, "execute x", "no x", exit_code=127)
    state = given(CREATED, STARTING, failed).containers[C]
    assert (state.status, state.exit_code) == (ContainerStatus.CREATED, 127)
    again = given(*RUNNING, EXITED, events.ContainerStarting(C, 2), failed).containers[C]
    assert again.status is ContainerStatus.EXITED


def test_evolve_accepts_every_event_in_every_status() -> None:
    """A log that an older or a buggy version wrote still folds."""
    samples: list[Event] = [
        STARTING, STARTED, EXITED, events.ContainerStartFailed(C, 1, "", ""), events.ContainerKilling(C, 9),
        events.ContainerKilled(C, 9), events.ContainerStopping(C, 15, 1), events.ContainerPausing(C),
        events.ContainerPaused(C), events.ContainerUnpausing(C), events.ContainerUnpaused(C),
        events.ContainerRemoving(C), events.ContainerRemoveFailed(C, ""), events.ContainerRemoved(C), CREATED,
    ]  # fmt: skip
    for first in samples:
        for second in samples:
            given(CREATED, first, second)


def test_every_status_can_be_reached_and_left() -> None:
    """The table has no island: only a removal ends a container."""
    reached = {target for row in TRANSITIONS.values() for target in row.values()} | {ContainerStatus.CREATED}
    assert reached == set(ContainerStatus)
    assert all(TRANSITIONS[status] for status in ContainerStatus)


# Commits.

COMMITTING = events.ContainerCommitting(C, False)
MADE = ImageImported("sha256:" + "2" * 64, IMAGE, (), 1, ImageDefaults())


def test_a_commit_freezes_only_what_runs_and_is_asked_to() -> None:
    """Intent and freezing are one decision, so that a recovery knows whose the freezing was."""
    frozen = [events.ContainerCommitting(C, True), events.ContainerPausing(C)]
    assert when(RUNNING, commands.CommitContainer("web", True)) == frozen
    assert when(RUNNING, commands.CommitContainer("web", False)) == [COMMITTING]
    assert when([CREATED], commands.CommitContainer("web", True)) == [COMMITTING]
    paused = (*RUNNING, events.ContainerPausing(C), events.ContainerPaused(C))
    assert when(paused, commands.CommitContainer("web", True)) == [COMMITTING]
    assert given(*RUNNING, *frozen).containers[C].thaws


def test_one_commit_comes_after_the_other_and_a_removal_after_both() -> None:
    """The layer that is being read stays."""
    history = [CREATED, COMMITTING]
    for command in (commands.CommitContainer(C, True), commands.RemoveContainer(C)):
        assert isinstance(when(history, command), Unsettled)
    for outcome in (events.ContainerCommitFailed(C, "full"), events.ContainerCommitted(C, MADE.image)):
        assert when([*history, outcome], commands.RemoveContainer(C)) == [events.ContainerRemoving(C)]
    assert when(history, commands.StartContainer(C)) == [STARTING]


def test_image_and_end_of_a_commit_are_one_batch() -> None:
    """There is never the one without the other; an image that is there already is not told again."""
    reference = "docker.io/library/made:1"
    finish = commands.FinishCommit(C, MADE, reference, "why")
    ended = events.ContainerCommitted(C, MADE.image, reference, "why")
    assert when([CREATED, COMMITTING], finish) == [MADE, ImageTagged(MADE.image, reference), ended]
    assert when([CREATED, COMMITTING, MADE, ImageTagged(MADE.image, reference)], finish) == [ended]


def test_what_is_being_removed_and_what_has_no_image_is_not_committed() -> None:
    """With Docker's texts."""
    removing = [CREATED, events.ContainerRemoving(C)]
    refused = when(removing, commands.CommitContainer(C, True))
    assert refused == Conflict(f"You cannot commit container {C} which is being removed")
    refused = when([*removing, events.ContainerRemoveFailed(C, "busy")], commands.CommitContainer(C, True))
    assert refused == Conflict(f"You cannot commit container {C} which is Dead")
    gone = [CREATED, ImageRemoving(IMAGE), ImageRemoved(IMAGE)]
    assert when(gone, commands.CommitContainer(C, True)) == NotFound(f"No such image: {IMAGE}")
