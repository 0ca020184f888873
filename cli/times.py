"""Times: what the API wants for `--since`, `--until` and `--at`, and ages as people say them.

Times are integer nanoseconds since the epoch. `datetime` is not used: it has no nanoseconds, and its import is a tenth of a
command's budget.
"""

from __future__ import annotations

import time

from docket.cli.values import is_number, parse_duration

_SECOND = 10**9


def parse_rfc3339(text: str) -> int:
    """Nanoseconds since the epoch from `2006-01-02[T15:04[:05[.999999999]]][Z|+07:00]`; local time where no zone is given.

    A blank may stand for the `T`. Raises ValueError.
    """
    complaint = f"invalid time {text!r}"
    date, day_time = text[:10], text[11:]
    if len(text) > 10 and text[10] not in "Tt ":
        raise ValueError(complaint)
    clock, offset = _split_zone(day_time, complaint)
    year, month, day = _numbers(date, "-", (4, 2, 2), complaint)
    clock, _, fraction = clock.partition(".")
    hour, minute, second = [*_numbers(clock, ":", (2,) * (clock.count(":") + 1), complaint), 0, 0][:3] if clock else (0, 0, 0)
    if not (1 <= month <= 12 and 1 <= day <= 31 and hour < 24 and minute < 60 and second < 61):
        raise ValueError(complaint)
    if fraction and not is_number(fraction):
        raise ValueError(complaint)
    nanos = int((fraction + "000000000")[:9]) if fraction else 0
    seconds = _days(year, month, day) * 86400 + hour * 3600 + minute * 60 + second
    if offset is None:
        seconds = int(time.mktime((year, month, day, hour, minute, second, 0, 0, -1)))
    else:
        seconds -= offset
    return seconds * _SECOND + nanos


def _split_zone(clock: str, complaint: str) -> tuple[str, int | None]:
    """The clock without its zone, and the zone's offset in seconds (None for none)."""
    if clock.endswith(("Z", "z")):
        return clock[:-1], 0
    for sign, factor in (("+", 1), ("-", -1)):
        rest, found, zone = clock.rpartition(sign)
        if found:
            hours, minutes = _numbers(zone, ":", (2, 2), complaint)
            return rest, factor * (hours * 3600 + minutes * 60)
    return clock, None


def _numbers(text: str, separator: str, widths: tuple[int, ...], complaint: str) -> list[int]:
    parts = text.split(separator)
    if len(parts) != len(widths) or any(len(p) != w or not is_number(p) for p, w in zip(parts, widths, strict=True)):
        raise ValueError(complaint)
    return [int(part) for part in parts]


def _days(year: int, month: int, day: int) -> int:
    """Days from the epoch in the proleptic Gregorian calendar (Howard Hinnant's days_from_civil)."""
    year -= month <= 2
    era = year // 400
    year_of_era = year - era * 400
    day_of_year = (153 * (month + (-3 if month > 2 else 9)) + 2) // 5 + day - 1
    return era * 146097 + year_of_era * 365 + year_of_era // 4 - year_of_era // 100 + day_of_year - 719468


def timestamp(text: str, now: int) -> str:
    """What `--since` and `--until` mean, as the API takes it: seconds, and a fraction of nine digits where there is one.

    A duration counts back from `now`; a plain number is taken as seconds since the epoch. Raises ValueError.
    """
    try:
        return _seconds(now - parse_duration(text))
    except ValueError:
        pass
    seconds, dot, fraction = text.partition(".")
    if is_number(seconds.removeprefix("-")) and len(seconds) != 4 and (not dot or is_number(fraction)):
        return text
    try:
        return _seconds(parse_rfc3339(text))
    except ValueError:
        raise ValueError(f"failed to parse value as time or duration: {text!r}") from None


def _seconds(nanos: int) -> str:
    whole, rest = divmod(nanos, _SECOND)
    return f"{whole}.{rest:09d}"


def moment(text: str, now: int) -> str:
    """What `--at` means: a position in the log stays as it is, a time or a duration ago becomes RFC 3339 in UTC."""
    if is_number(text):
        return text
    try:
        nanos = now - parse_duration(text)
    except ValueError:
        try:
            nanos = parse_rfc3339(text)
        except ValueError:
            raise ValueError(
                f"--at takes a position, a duration ago (10m) or a time (2006-01-02T15:04:05Z), not {text!r}"
            ) from None
    return rfc3339(nanos)


def rfc3339(nanos: int) -> str:
    """A time in UTC with nine digits, such as `2006-01-02T15:04:05.000000000Z`."""
    seconds, rest = divmod(nanos, _SECOND)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{rest:09d}Z"


def local_rfc3339(nanos: int) -> str:
    """A time in the local zone with nine digits and the zone's offset, as `docker events` prints it."""
    seconds, rest = divmod(nanos, _SECOND)
    moment_here = time.localtime(seconds)
    offset = time.strftime("%z", moment_here)
    zone = "Z" if offset in ("+0000", "") else f"{offset[:3]}:{offset[3:]}"
    return time.strftime("%Y-%m-%dT%H:%M:%S", moment_here) + f".{rest:09d}{zone}"


def local_created(seconds: int) -> str:
    """`2006-01-02 15:04:05 +0000 UTC`, the form of `CreatedAt`."""
    return time.strftime("%Y-%m-%d %H:%M:%S %z %Z", time.localtime(seconds))


def human_duration(nanos: int) -> str:
    """An age as Docker says it: `3 minutes`, `About an hour`, `2 weeks`."""
    seconds = nanos // _SECOND
    minutes, hours = seconds // 60, (seconds + 1800) // 3600
    if seconds < 1:
        return "Less than a second"
    if seconds == 1:
        return "1 second"
    if seconds < 60:
        return f"{seconds} seconds"
    if minutes == 1:
        return "About a minute"
    if minutes < 60:
        return f"{minutes} minutes"
    if hours == 1:
        return "About an hour"
    if hours < 48:
        return f"{hours} hours"
    for unit, length, limit in (("days", 24, 24 * 14), ("weeks", 24 * 7, 24 * 60), ("months", 24 * 30, 24 * 365 * 2)):
        if hours < limit:
            return f"{hours // length} {unit}"
    return f"{hours // (24 * 365)} years"
