"""Images as the API shows them, and the filters of ``GET /images/json``."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

from docket.adapters.api.container_filters import label_test
from docket.adapters.api.times import NEVER, rfc3339
from docket.domain.errors import InvalidArgument, Rejected, Rejection
from docket.domain.model.image import events
from docket.domain.model.image.decide import find_image
from docket.domain.model.image.state import Image
from docket.domain.model.state import EngineState
from docket.domain.oci.reference import parse_reference

FILTERS = frozenset({"reference", "dangling", "label", "before", "since"})
_TRUE, _FALSE = frozenset({"1", "true", "t"}), frozenset({"0", "false", "f"})
_MOST_STARS = 4


def image_test(state: EngineState, filters: dict[str, tuple[str, ...]]) -> Callable[[Image], bool]:
    """Whether an image passes all filters; of the values of one filter one is enough, but for labels. Raises `Rejected`."""
    groups = [
        (all if name == "label" else any, [_test(state, name, each) for each in values]) for name, values in filters.items()
    ]
    return lambda image: all(combine(each(image) for each in tests) for combine, tests in groups)


def _test(state: EngineState, name: str, value: str) -> Callable[[Image], bool]:
    if name == "label":
        has = label_test(value)
        return lambda image: has(image.defaults.labels)
    if name == "reference":
        pattern = _glob(value)
        return lambda image: any(pattern.fullmatch(form) for form in _forms(image))
    if name == "dangling":
        if value.lower() not in _TRUE | _FALSE:
            raise Rejected(InvalidArgument(f"invalid filter 'dangling={value}'"))
        wanted = value.lower() in _TRUE
        return lambda image: (not image.references) == wanted
    other = find_image(state, value)
    if isinstance(other, Rejection):
        raise Rejected(other)
    when = other.imported_ns
    return (lambda image: image.imported_ns < when) if name == "before" else (lambda image: image.imported_ns > when)


def _forms(image: Image) -> Iterable[str]:
    """What a pattern may match: each name with its tag or digest, and without."""
    for name in (*image.references, *image.digests):
        reference = parse_reference(name)
        yield reference.familiar
        yield reference.familiar_name


def _glob(pattern: str) -> re.Pattern[str]:
    """A reference with the wildcards of Go's path.Match, of which ``*`` and ``?`` are understood."""
    if pattern.count("*") > _MOST_STARS:
        raise Rejected(InvalidArgument(f"invalid filter 'reference={pattern}': no more than {_MOST_STARS} wildcards"))
    return re.compile(re.escape(pattern).replace(r"\*", "[^/]*").replace(r"\?", "[^/]"))


def familiar(references: Iterable[str]) -> list[str]:
    """References as people write them."""
    return [parse_reference(reference).familiar for reference in references]


def row(state: EngineState, image: Image) -> dict[str, Any]:
    """An entry of the list."""
    users = sum(container.image_id == image.id for container in state.containers.values())
    return {
        "Id": image.id,
        "ParentId": "",
        "RepoTags": familiar(image.references),
        "RepoDigests": familiar(image.digests),
        "Created": image.imported_ns // 1_000_000_000,
        "Size": image.size,
        "SharedSize": -1,
        "Labels": image.defaults.labels,
        "Containers": users,
    }


def inspect(image: Image) -> dict[str, Any]:
    """All that is known of an image."""
    defaults = image.defaults
    return {
        "Id": image.id,
        "RepoTags": familiar(image.references),
        "RepoDigests": familiar(image.digests),
        "Parent": "",
        "Comment": image.comment,
        "DockerVersion": "",
        "Metadata": {"LastTagTime": rfc3339(image.tagged_ns) if image.tagged_ns else NEVER},
        "Created": image.created,
        "Author": image.author,
        "Architecture": image.architecture,
        "Os": image.operating_system,
        **({"Variant": image.variant} if image.variant else {}),
        "Size": image.size,
        "GraphDriver": {"Name": "overlay2", "Data": {}},
        "RootFS": {"Type": "layers", "Layers": list(image.layers)},
        "Config": {
            "User": defaults.user,
            "Env": list(defaults.environment),
            "Cmd": None if defaults.command is None else list(defaults.command),
            "Entrypoint": None if defaults.entrypoint is None else list(defaults.entrypoint),
            "WorkingDir": defaults.working_directory,
            "Labels": defaults.labels,
            "OnBuild": None,
            "ExposedPorts": {port: {} for port in defaults.exposed_ports},
            "Volumes": {path: {} for path in defaults.volumes},
        },
    }


def deleted(event: object) -> dict[str, str] | None:
    """What happened to an image, as the answer to a removal; None for what is not told there."""
    if isinstance(event, events.ImageUntagged):
        return {"Untagged": parse_reference(event.reference).familiar}
    return {"Deleted": event.image} if isinstance(event, events.ImageRemoved) else None
