"""Signals by name and number, as Linux has them on x86_64 and aarch64 (signal(7)); other systems number them otherwise.

Real-time signals count from 34: the C library keeps 32 and 33 for itself.
"""

from __future__ import annotations

from docket.domain.errors import InvalidArgument, Rejected

LARGEST = 64
SIGKILL = 9
SIGTERM = 15

_RTMIN, _RTMAX = 34, 64
_NAMES = (
    "HUP INT QUIT ILL TRAP ABRT BUS FPE KILL USR1 SEGV USR2 PIPE ALRM TERM STKFLT CHLD CONT STOP TSTP TTIN TTOU URG XCPU XFSZ "
    "VTALRM PROF WINCH IO PWR SYS"
).split()
_ALIASES = {"IOT": "ABRT", "CLD": "CHLD", "POLL": "IO", "UNUSED": "SYS"}


def _numbers() -> dict[str, int]:
    numbers = {name: number for number, name in enumerate(_NAMES, start=1)}
    numbers.update({alias: numbers[name] for alias, name in _ALIASES.items()})
    numbers.update({"RTMIN": _RTMIN, "RTMAX": _RTMAX})
    numbers.update({f"RTMIN+{offset}": _RTMIN + offset for offset in range(1, _RTMAX - _RTMIN + 1)})
    numbers.update({f"RTMAX-{offset}": _RTMAX - offset for offset in range(1, _RTMAX - _RTMIN + 1)})
    return numbers


NUMBERS = _numbers()
"""Without SIG, in upper case."""


def parse_signal(text: str) -> int:
    """The number of ``TERM``, ``sigterm``, ``RTMIN+3`` or ``15``. Raises `Rejected` in Docker's words."""
    if text.isascii() and text.isdigit() and len(text) <= 3:
        number = int(text)
        if 1 <= number <= LARGEST:
            return number
    elif text.upper().removeprefix("SIG") in NUMBERS:
        return NUMBERS[text.upper().removeprefix("SIG")]
    raise Rejected(InvalidArgument(f"invalid signal: {ascii(text[:40])[1:-1]}"))


def signal_name(number: int) -> str:
    """``SIGTERM`` for 15; real-time signals count from the nearer end. 32 and 33 have no name of their own."""
    if 1 <= number <= len(_NAMES):
        return f"SIG{_NAMES[number - 1]}"
    if _RTMIN <= number <= _RTMAX:
        offset, back = number - _RTMIN, _RTMAX - number
        if offset <= back:
            return f"SIGRTMIN+{offset}" if offset else "SIGRTMIN"
        return f"SIGRTMAX-{back}" if back else "SIGRTMAX"
    return f"signal {number}"
