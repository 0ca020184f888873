"""``--userns-remap``: which user's subordinate ids containers get, by dockerd's rules and in its words (moby, daemon_unix.go).

    default          the user dockremap
    USER[:GROUP]     names or numbers; without a group, the group of that name or number

Ranges come from /etc/subuid and /etc/subgid, of both under the user's name or number. ``root`` is no remapping. Other than dockerd,
docket makes no account: what is missing is said.
"""

from __future__ import annotations

import grp
import pwd

from docket.domain.confinement.id_maps import IdMaps, subordinate_ids

_DEFAULT = "dockremap"
_LARGEST_ID = (1 << 31) - 1


def id_maps(text: str, subuid: str = "/etc/subuid", subgid: str = "/etc/subgid") -> IdMaps | None:
    """The maps of containers' user namespaces; None when ids are not mapped. Raises ValueError."""
    if not text:
        return None
    user, colon, group = text.partition(":")
    if ":" in group or not user or (colon and not group):
        raise ValueError(f'invalid user/group specification in --userns-remap: "{text}"')
    names = (_DEFAULT,) if text == "default" else _user(user)
    if names[0] == "root":
        return None
    if text != "default":
        _check_group(group, names[0], user)
    try:
        maps = IdMaps(subordinate_ids(_text(subuid), subuid, names), subordinate_ids(_text(subgid), subgid, names))
    except ValueError as error:
        hint = f"add a line such as {names[0]}:100000:65536 to {subuid} and {subgid}"
        raise ValueError(f"can't create ID mappings: {error}: {hint}") from None
    return maps


def _user(text: str) -> tuple[str, ...]:
    """The user's name and number."""
    try:
        found = pwd.getpwuid(int(text)) if _is_number(text) else pwd.getpwnam(text)
    except KeyError:
        if _is_number(text):
            raise ValueError(f"uid {text} has no entry in /etc/passwd: no such user") from None
        raise ValueError(f'error during uid lookup for "{text}": no such user') from None
    return found.pw_name, str(found.pw_uid)


def _check_group(group: str, name: str, user: str) -> None:
    """The group must exist; its ids are those of /etc/subgid under the user's name."""
    wanted = group or (user if _is_number(user) else name)
    try:
        grp.getgrgid(int(wanted)) if _is_number(wanted) else grp.getgrnam(wanted)
    except KeyError:
        if _is_number(wanted):
            raise ValueError(f"gid {wanted} has no entry in /etc/group: no such group") from None
        kind = "groupname" if group else "gid"
        raise ValueError(f'error during {kind} lookup for "{wanted}": no such group') from None


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and int(text) <= _LARGEST_ID


def _text(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return file.read(1 << 20)
    except OSError as error:
        raise ValueError(f"open {path}: {(error.strerror or str(error)).lower()}") from None
