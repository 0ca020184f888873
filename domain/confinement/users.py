"""Which ids a USER string means, given the bytes of the root's own /etc/passwd and /etc/group.

The forms, with the ids that Docker gives for each; "entry" is the first usable line of passwd:

     1. ""             as "0"
     2. "name"         uid and gid of the entry; supplementary groups: every group that lists the name
     3. "uid"          uid; gid and supplementary groups of the entry with that uid, else gid 0 and none
     4. "name:group"   uid of the entry, gid of the group; no supplementary groups
     5. "name:gid"     uid of the entry, that gid; none
     6. "uid:group"    uid, gid of the group; none
     7. "uid:gid"      exactly these; none
     8. "name:"        as "name"
     9. "uid:"         as "uid"
    10. ":group"       as "0:group"
    11. ":gid"         as "0:gid"
    12. ":"            as ""

Digits are always an id, never a name, and an id is ASCII digits up to 2147483647 and nothing else: other digits, signs, blanks
and underscores, all of which ``int`` takes, are no number here (S11). An entry whose ids are no such numbers is passed over; where
Docker reads them as 0, an image would make root out of a typing error. The primary group is always one of the supplementary
groups, and the host's files are never asked (S10).

The module runs in the new process just before execve: it imports nothing, decodes nothing, and searches with the methods of
bytes, so that a file of a million lines costs milliseconds (S12). The caller limits the files to 16 MiB.
"""

MAX_ID = 2147483647
MAX_GROUPS = 65536
"""NGROUPS_MAX of the kernel; setgroups(2) refuses more."""

_MAX_CANDIDATES = 65536
"""How many lines of a file may look like the wanted one: a file made of look-alikes must not keep us busy."""

_RANGE = "uids and gids must be in range 0-2147483647"


class UserNotFound(Exception):
    """A name has no entry, or a number is none; the text is Docker's."""


class User:
    """Resolved ids. ``groups`` begins with ``gid``; ``home`` is empty when the user has no entry."""

    __slots__ = ("gid", "groups", "home", "uid")

    def __init__(self, uid: int, gid: int, groups: "tuple[int, ...]", home: bytes) -> None:
        self.uid = uid
        self.gid = gid
        self.groups = groups
        self.home = home


class _Entry:
    """What passwd says of a user; ``name`` is empty when it says nothing."""

    __slots__ = ("gid", "home", "name", "uid")

    def __init__(self, name: bytes, uid: int, gid: int, home: bytes) -> None:
        self.name = name
        self.uid = uid
        self.gid = gid
        self.home = home


def parse_id(text: bytes) -> "int | None":
    """The number that ``text`` is, or None. Raises `UserNotFound` for digits beyond the range."""
    if not _is_digits(text):
        return None
    number = int(text) if len(text) <= 10 else MAX_ID + 1
    if number > MAX_ID:
        raise UserNotFound(_RANGE)
    return number


def resolve_user(spec: bytes, passwd: bytes, group: bytes, additional: "list[bytes]") -> User:
    """Resolve a USER string and the names or numbers of ``--group-add``. Raises `UserNotFound`.

    ``passwd`` and ``group`` are empty where the root has no such file.
    """
    user, _, wanted_group = spec.partition(b":")
    passwd = _normalise(passwd)
    group = _normalise(group)
    entry = _find_user(user or b"0", passwd)
    if wanted_group:
        gid = _find_group(wanted_group, group)
        groups = [gid]
    else:
        gid = entry.gid
        groups = [gid, *_memberships(entry.name, group)]
    groups += [_find_group(extra, group) for extra in additional]
    distinct = tuple(dict.fromkeys(groups))
    if len(distinct) > MAX_GROUPS:
        raise UserNotFound(f"user {_show(user)} is in more than {MAX_GROUPS} groups")
    return User(entry.uid, gid, distinct, entry.home)


def _normalise(text: bytes) -> bytes:
    """Every line between two newlines, so that the start of a line can be searched for."""
    if b"\r" in text:
        text = text.replace(b"\r\n", b"\n")
    return b"\n" + text + b"\n"


def _find_user(user: bytes, passwd: bytes) -> _Entry:
    number = parse_id(user)
    needle = b"\n%b:" % user if number is None else b":%d:" % number
    for fields in _lines(passwd, needle, user):
        if len(fields) < 4:
            continue
        uid, gid = _number(fields[2]), _number(fields[3])
        if uid is None or gid is None or (number is not None and uid != number):
            continue
        return _Entry(fields[0], uid, gid, fields[5] if len(fields) > 5 else b"")
    if number is not None:
        return _Entry(b"", number, 0, b"")
    if user.startswith((b"-", b"+")) and _is_digits(user[1:]):
        raise UserNotFound(_RANGE)
    raise UserNotFound(f"unable to find user {_show(user)}: no matching entries in passwd file")


def _find_group(wanted: bytes, group: bytes) -> int:
    number = parse_id(wanted)
    if number is not None:
        return number
    for fields in _lines(group, b"\n%b:" % wanted, wanted):
        gid = _number(fields[2]) if len(fields) > 2 else None
        if gid is not None:
            return gid
    if wanted.startswith((b"-", b"+")) and _is_digits(wanted[1:]):
        raise UserNotFound(_RANGE)
    raise UserNotFound(f"unable to find group {_show(wanted)}: no matching entries in group file")


def _memberships(name: bytes, group: bytes) -> "list[int]":
    """The groups whose fourth field lists the name, in the order of the file."""
    found: list[int] = []
    if not name:
        return found
    # With one separator everywhere a member is found as ",name,", and never as a part of a longer name.
    flat = group.replace(b":", b",").replace(b"\n", b",\n,")
    for fields in _lines(flat, b",%b," % name, name, b","):
        # A line is ",group,password,gid,member,…,": the first and the last field are empty.
        gid = _number(fields[3]) if name in fields[4:] else None
        if gid is not None:
            found.append(gid)
    return found


def _lines(text: bytes, needle: bytes, wanted: bytes, separator: bytes = b":") -> "list[list[bytes]]":
    """The fields of each line in which ``needle`` occurs; the search is done by C code, no other line is split."""
    found: list[list[bytes]] = []
    at = text.find(needle)
    while at >= 0:
        # A needle may begin with the newline that ends the line before.
        start = text.rfind(b"\n", 0, at + 1) + 1
        end = text.find(b"\n", at + 1)
        line = text[start:end]
        if not line.lstrip(b",").startswith(b"#"):
            found.append(line.split(separator))
        if len(found) > _MAX_CANDIDATES:
            raise UserNotFound(f"more than {_MAX_CANDIDATES} lines of passwd or group speak of {_show(wanted)}")
        at = text.find(needle, end)
    return found


def _is_digits(text: bytes) -> bool:
    # bytes.isdigit knows ASCII digits only, unlike str.isdigit.
    return text.isdigit()


def _number(text: bytes) -> "int | None":
    """As `parse_id`, with None for what is out of range too."""
    try:
        return parse_id(text)
    except UserNotFound:
        return None


def _show(name: bytes) -> str:
    """A name for an error text: printable ASCII as it is, everything else escaped (S55), and not without end."""
    shown = "".join(chr(byte) if 32 <= byte < 127 else f"\\x{byte:02x}" for byte in name[:64])
    return shown if len(name) <= 64 else shown + "..."
