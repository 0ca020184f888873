"""Causes: each image, name, layer and container leads back to the job that made it, and no further than the log goes."""

from __future__ import annotations

import pytest
import trio

from docket.domain.causes import Cause, causes, image_ever
from docket.domain.log import Batch, Event, Metadata
from docket.domain.model.container import events as containers
from docket.domain.model.container.spec import ContainerSpec
from docket.domain.model.image import events as images
from docket.domain.model.job.events import JobAccepted
from docket.domain.model.state import EVENT_TYPES
from docket.domain.model.transfer import events as transfers
from docket.domain.oci.chain_id import chain_ids
from docket.domain.oci.digest import Digest
from docket.event_store.codec import Codec
from docket.event_store.memory import MemoryEventStore


def digest(digit: str) -> str:
    return "sha256:" + digit * 64


BASE, APP, OTHER = digest("a"), digest("b"), digest("c")
LOW, HIGH = digest("1"), digest("2")
PULLED_NAME = "docker.io/library/base:1"
CONTAINER = "d" * 64


class History:
    """A log that is written job by job."""

    def __init__(self) -> None:
        self.store = MemoryEventStore(Codec(EVENT_TYPES))
        self._time = 0

    def job(self, name: str, actor: str, *events: Event) -> None:
        self._time += 1
        job = f"{name}-{self._time}"
        written = Batch((JobAccepted(job, name, ("argument",)), *events), Metadata(self._time, job, actor))
        trio.run(self.store.append, written)

    def why(self, stream: str) -> list[Cause]:
        return causes(self.store, stream)


def imported(image: str, *layers: str, origin: str = "import", source: str = "") -> images.ImageImported:
    return images.ImageImported(image, digest("e"), layers, 1, images.ImageDefaults(), origin=origin, source=source)


def stream(image: str) -> str:
    return f"image-{image[7:]}"


def chain(*layers: str) -> str:
    return chain_ids([Digest(layer) for layer in layers])[-1]


def told(found: list[Cause]) -> list[tuple[str, str, str, str, str, str]]:
    return [(each.object, each.part, each.why, each.leads_to, each.job_name, each.actor) for each in found]


@pytest.fixture
def history() -> History:
    """An image that ann pulled, a container that ben made of it, and an image that cem committed from that."""
    history = History()
    history.job(
        "pull", "ann",
        transfers.ImagePulling("t", PULLED_NAME),
        transfers.LayerFetched("t", digest("f"), 10, LOW, chain(LOW)),
        imported(BASE, LOW, origin="pull", source="docker.io/library/base@" + digest("9")),
        images.ImageTagged(BASE, PULLED_NAME),
        images.ImageDigestLearned(BASE, "docker.io/library/base@" + digest("9")),
    )  # fmt: skip
    spec = ContainerSpec(image="base:1")
    history.job("create", "ben", containers.ContainerCreated(CONTAINER, "web", BASE, (LOW,), spec))
    history.job("start", "ben", containers.ContainerStarting(CONTAINER, 1))
    history.job("start", "bob", containers.ContainerStarting(CONTAINER, 2))
    history.job(
        "commit", "cem",
        containers.ContainerCommitting(CONTAINER, False),
        imported(APP, LOW, HIGH, origin="commit"),
        images.ImageTagged(APP, "docker.io/library/app:1"),
        containers.ContainerCommitted(CONTAINER, APP, "docker.io/library/app:1", ""),
    )  # fmt: skip
    history.job("tag", "dot", images.ImageTagged(APP, "docker.io/library/app:2"))
    history.job("tag", "dot", images.ImageUntagged(APP, "docker.io/library/app:1"))
    return history


def test_an_image_leads_back_to_the_first_job(history: History) -> None:
    """From the commit over the container to the pull: who, in which job, and where each name and layer is from."""
    container = f"container-{CONTAINER}"
    found = history.why(stream(APP))
    assert told(found) == [
        (stream(APP), "", "committed from", container, "commit", "cem"),
        (stream(APP), "docker.io/library/app:2", "tagged", "", "tag", "dot"),
        (stream(APP), f"layer {LOW}", f"fetched as {digest('f')}", "", "pull", "ann"),
        (stream(APP), f"layer {HIGH}", "came with it", "", "commit", "cem"),
        (container, "", "created as web from", stream(BASE), "create", "ben"),
        (container, "run 2", "started", "", "start", "bob"),
        (stream(BASE), "", f"pulled from docker.io/library/base@{digest('9')}", "", "pull", "ann"),
    ]  # fmt: skip
    assert found[0].arguments == ("argument",)
    assert all(each.position for each in found)


def test_a_container_leads_back_to_its_image(history: History) -> None:
    """Its creation, its last start, and what brought its image."""
    assert [(each.why, each.job_name, each.actor) for each in history.why(f"container-{CONTAINER}")] == [
        ("created as web from", "create", "ben"),
        ("started", "start", "bob"),
        (f"pulled from docker.io/library/base@{digest('9')}", "pull", "ann"),
    ]


def test_the_image_is_the_one_of_that_time(history: History) -> None:
    """The container's image was removed and loaded again since: the container was made of the pulled one."""
    history.job("rmi", "eve", images.ImageRemoving(BASE), images.ImageRemoved(BASE))
    history.job("load", "eve", imported(BASE, LOW, origin="load"))
    assert history.why(f"container-{CONTAINER}")[-1].job_name == "pull"
    assert history.why(stream(BASE))[0].why == "loaded from an archive"


def test_what_was_removed_has_its_reasons_still(history: History) -> None:
    """And the removal is the first of them. The names went with it."""
    history.job("rmi", "eve", images.ImageRemoving(APP), images.ImageRemoved(APP))
    history.job("rm", "eve", containers.ContainerRemoving(CONTAINER), containers.ContainerRemoved(CONTAINER))
    assert [each.why for each in history.why(stream(APP))][:3] == ["removed", "committed from", f"fetched as {digest('f')}"]
    assert history.why(f"container-{CONTAINER}")[0].job_name == "rm"
    assert image_ever(history.store, "docker.io/library/app:1", "") == stream(APP)
    assert image_ever(history.store, "", "bbbb") == stream(APP)
    assert image_ever(history.store, "docker.io/library/nothing:1", "") == ""


def test_a_layer_is_from_the_image_that_brought_it_last(history: History) -> None:
    """One that had gone with its images, and came back with another, is the other's."""
    history.job("rmi", "eve", *(each(image) for image in (APP, BASE) for each in (images.ImageRemoving, images.ImageRemoved)))
    history.job("load", "fay", imported(OTHER, LOW, origin="load"))
    history.job("load", "gil", imported(BASE, LOW, origin="load"))
    found = history.why(stream(BASE))
    assert told(found) == [
        (stream(BASE), "", "loaded from an archive", "", "load", "gil"),
        (stream(BASE), f"layer {LOW}", "came with", stream(OTHER), "load", "fay"),
        (stream(OTHER), "", "loaded from an archive", "", "load", "fay"),
    ]


def test_a_log_without_its_beginning_says_so() -> None:
    """What made the object stood in events that are no longer kept."""
    history = History()
    history.job("tag", "ann", images.ImageTagged(BASE, PULLED_NAME))
    (cause,) = history.why(stream(BASE))
    assert cause.why == "before the log begins: events up to 0 are no longer kept"
    assert not cause.position
