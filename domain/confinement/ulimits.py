"""``--ulimit``: resource limits by Docker's names (getrlimit(2) without RLIMIT_, in lower case). -1 is no limit."""

from __future__ import annotations

from collections.abc import Iterable

from docket.domain.errors import InvalidArgument, Rejected
from docket.domain.model.container.spec import Ulimit

NAMES = frozenset("core cpu data fsize locks memlock msgqueue nice nofile nproc rss rtprio rttime sigpending stack".split())
UNLIMITED = -1
_LARGEST = (1 << 63) - 1


def parse_ulimit(text: str) -> Ulimit:
    """``name=soft[:hard]``; one number is both. Raises `Rejected` in Docker's words."""
    name, equals, limits = text.partition("=")
    if not equals:
        raise _invalid(f"invalid ulimit argument: {_shown(text)}")
    soft, colon, hard = limits.partition(":")
    if ":" in hard:
        raise _invalid(f"too many limit value arguments - {_shown(limits)}, can only have up to two, `soft[:hard]`")
    return check_ulimit(Ulimit(name, _number(soft), _number(hard if colon else soft)))


def check_ulimit(limit: Ulimit) -> Ulimit:
    """The limit itself, when it can be set at all. Raises `Rejected`."""
    if limit.name not in NAMES:
        raise _invalid(f"invalid ulimit type: {_shown(limit.name)}")
    for value in (limit.soft, limit.hard):
        if not UNLIMITED <= value <= _LARGEST:
            raise _invalid(f"invalid ulimit {limit.name}: {value} is neither a limit nor -1")
    if limit.hard != UNLIMITED and (limit.soft == UNLIMITED or limit.soft > limit.hard):
        raise _invalid(f"ulimit soft limit must be less than or equal to hard limit: {limit.soft} > {limit.hard}")
    return limit


def check_ulimits(limits: Iterable[Ulimit]) -> tuple[Ulimit, ...]:
    """All limits, one for each name; as in Docker the last word on a name counts. Raises `Rejected`."""
    return tuple({limit.name: check_ulimit(limit) for limit in limits}.values())


def _number(text: str) -> int:
    digits = text.removeprefix("-")
    if not digits.isascii() or not digits.isdigit() or len(digits) > 19:
        raise _invalid(f'strconv.ParseInt: parsing "{_shown(text)}": invalid syntax')
    return int(text)


def _shown(text: str) -> str:
    return ascii(text[:60])[1:-1]


def _invalid(text: str) -> Rejected:
    return Rejected(InvalidArgument(text))
