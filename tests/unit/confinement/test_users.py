"""USER strings: the twelve forms, what is a number, and files that want to be a problem."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from docket.domain.confinement import users
from docket.domain.confinement.users import User, UserNotFound, resolve_user

PASSWD = b"""\
# the first line that fits is the one that counts
root:x:0:0:root:/root:/bin/sh
daemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin

app:x:1000:1000:App,,,:/home/app:/bin/sh
app:x:0:0:second entry of the same name:/root:/bin/sh
other:x:1000:2000:the same uid again:/home/other:/bin/sh
#hidden:x:1500:1500::/:/bin/sh
short:x:1600:1601
broken:x:12a:5::/:/bin/sh
huge:x:4294967296:4294967296::/:/bin/sh
negative:x:-1:-1::/:/bin/sh
"""
GROUP = b"""\
root:x:0:
daemon:x:1:app
app:x:1000:
web:x:33:app,other
ops:x:44:other,apple
adm:x:4:root,app
web:x:99:nobody
broken:x:::app
"""


def resolve(spec: str, *additional: str) -> User:
    return resolve_user(spec.encode(), PASSWD, GROUP, [name.encode() for name in additional])


FORMS = [
    ("", 0, 0, (0, 4), b"/root"),
    ("app", 1000, 1000, (1000, 1, 33, 4), b"/home/app"),
    ("1000", 1000, 1000, (1000, 1, 33, 4), b"/home/app"),
    ("4242", 4242, 0, (0,), b""),
    ("app:web", 1000, 33, (33,), b"/home/app"),
    ("app:77", 1000, 77, (77,), b"/home/app"),
    ("1000:web", 1000, 33, (33,), b"/home/app"),
    ("1:2", 1, 2, (2,), b"/usr/sbin"),
    ("4242:4343", 4242, 4343, (4343,), b""),
    ("app:", 1000, 1000, (1000, 1, 33, 4), b"/home/app"),
    ("1000:", 1000, 1000, (1000, 1, 33, 4), b"/home/app"),
    (":web", 0, 33, (33,), b"/root"),
    (":44", 0, 44, (44,), b"/root"),
    (":", 0, 0, (0, 4), b"/root"),
    ("short", 1600, 1601, (1601,), b""),
    ("007", 7, 0, (0,), b""),
]


@pytest.mark.parametrize(("spec", "uid", "gid", "groups", "home"), FORMS)
def test_s10_every_form_gives_the_ids_of_the_root_itself(
    spec: str, uid: int, gid: int, groups: tuple[int, ...], home: bytes
) -> None:
    """Primary group first and always there, supplementary groups of the root's own file only, none with an explicit group."""
    user = resolve(spec)
    assert (user.uid, user.gid, user.groups, user.home) == (uid, gid, groups, home)


def test_additional_groups_are_names_or_numbers_and_come_once() -> None:
    """``--group-add`` adds to what the user has, whichever way the group is named."""
    assert resolve("app", "ops", "33", "555").groups == (1000, 1, 33, 4, 44, 555)
    assert resolve("1:2", "ops", "ops").groups == (2, 44)
    with pytest.raises(UserNotFound, match="unable to find group nix: no matching entries in group file"):
        resolve("app", "nix")


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        ("foo", "unable to find user foo: no matching entries in passwd file"),
        ("app:bar", "unable to find group bar: no matching entries in group file"),
        ("1:2:3", "unable to find group 2:3: no matching entries in group file"),
        ("hidden", "unable to find user hidden: no matching entries in passwd file"),
        ("ap", "unable to find user ap: no matching entries in passwd file"),
        ("oot", "unable to find user oot: no matching entries in passwd file"),
        ("broken", "unable to find user broken: no matching entries in passwd file"),
        ("2147483648", "uids and gids must be in range 0-2147483647"),
        ("-1", "uids and gids must be in range 0-2147483647"),
        ("1:-1", "uids and gids must be in range 0-2147483647"),
    ],
)
def test_what_is_not_found_is_said_in_dockers_words(spec: str, text: str) -> None:
    """Clients show these sentences; a prefix or suffix of a name is not the name."""
    with pytest.raises(UserNotFound) as caught:
        resolve(spec)
    assert str(caught.value) == text


def test_without_files_numbers_work_and_names_do_not() -> None:
    """An image from scratch has neither passwd nor group."""
    user = resolve_user(b"7:8", b"", b"", [])
    assert (user.uid, user.gid, user.groups, user.home) == (7, 8, (8,), b"")
    assert resolve_user(b"", b"", b"", []).uid == 0
    with pytest.raises(UserNotFound):
        resolve_user(b"root", b"", b"", [])


NOT_IDS = [
    *("+0", "-0", "+1", "-1", " 0", "0 ", "\t0", "0\n", "\n0", "0x0", "0x10", "0o7", "0b1", "1_0", "0_0", "1e3", "0.0", "1.0"),
    *("٣", "٠", "０", "１", "²", "Ⅷ", "߀", "𝟎", "0\x00", "\x000", "0\u200b", "\ufeff0", "0l", "0L", "null", "None"),
    *("NaN", "2147483648", "4294967295", "4294967296", "18446744073709551616", "9" * 5000),
]


def test_s11_forty_strings_are_no_uid() -> None:
    """A number is ASCII digits in range: Python's int takes many more, and ctypes makes 0 of what is too large."""
    assert len(NOT_IDS) == 40
    for text in NOT_IDS:
        for spec in (text, f"{text}:{text}", f"1:{text}"):
            with pytest.raises(UserNotFound):
                resolve_user(spec.encode(), b"root:x:0:0::/root:/bin/sh\n", b"root:x:0:\n", [])


@pytest.mark.parametrize("text", ["0", "1", "00", "2147483647", "0002147483", "65534"])
def test_s11_what_is_a_uid(text: str) -> None:
    """The accepted side of the table."""
    assert resolve_user(text.encode(), b"", b"", []).uid == int(text)


@pytest.mark.parametrize("ids", ["abc:5", "4294967296:0", "-1:0", ":", " 0:0", "0x0:0"])
def test_s11_an_entry_with_wrong_ids_makes_nobody_root(ids: str) -> None:
    """Docker reads such ids as 0; here the entry is passed over."""
    passwd = f"evil:x:{ids}::/root:/bin/sh\n".encode()
    with pytest.raises(UserNotFound):
        resolve_user(b"evil", passwd, b"", [])


def test_digits_are_an_id_even_where_a_user_is_named_so() -> None:
    """Docker reads a numeric USER as uid always; an entry that is called "0" must not change what 0 means."""
    passwd = b"1000:x:0:0::/root:/bin/sh\nreal:x:1000:7::/home:/bin/sh\n"
    user = resolve_user(b"1000", passwd, b"", [])
    assert (user.uid, user.gid) == (1000, 7)


@pytest.mark.parametrize("name", ["a\nroot", "\n", "root:x:0:0\nx", "a\rb"])
def test_a_name_cannot_reach_into_another_line(name: str) -> None:
    """A newline in the USER string is part of no name."""
    with pytest.raises(UserNotFound):
        resolve_user(name.encode(), b"a\nroot:x:0:0::/root:/bin/sh\n", b"root:x:0:\n", [])


def test_lines_may_end_as_windows_ends_them() -> None:
    """The last field of a line is no longer for a carriage return."""
    user = resolve_user(b"app", PASSWD.replace(b"\n", b"\r\n"), b"web:x:33:app\r\nops:x:44:x,app\r\n", [])
    assert user.groups == (1000, 33, 44)


def test_error_texts_hold_no_control_characters() -> None:
    """S55: names come from images and requests."""
    with pytest.raises(UserNotFound) as caught:
        resolve_user(b"\x1b[31m" + b"a" * 500, b"", b"", [])
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 200


MILLION = 1_000_000


@pytest.mark.slow
def test_s12_a_million_lines_are_searched_without_splitting_them() -> None:
    """The last of a million users and groups is found; the lines before cost no Python code."""
    passwd = b"".join(b"u%d:x:%d:5::/:/\n" % (n, n) for n in range(10_000, 500_000)) + b"last:x:3:4::/last:/bin/sh\n"
    group = b"".join(b"g%d:x:%d:u%d\n" % (n, n, n) for n in range(10_000, MILLION // 2)) + b"end:x:9:a,last\n"
    assert resolve_user(b"last", passwd, group, []).groups == (4, 9)
    assert resolve_user(b"3", passwd, group, [b"end"]).groups == (4, 9)
    assert resolve_user(b"last:end", passwd, group, []).gid == 9


@pytest.mark.slow
def test_s12_a_member_of_a_million_groups_is_refused() -> None:
    """setgroups takes 65,536; the search ends there and not at the end of the file."""
    group = b"".join(b"g:x:%d:app\n" % n for n in range(MILLION))
    with pytest.raises(UserNotFound, match="more than 65536"):
        resolve_user(b"app", PASSWD, group, [])


@pytest.mark.parametrize("line", [b"app:x:a:\n", b"x:app::\n", b":app:\n"])
def test_s12_look_alikes_do_not_keep_the_search_busy(line: bytes) -> None:
    """Millions of lines that nearly fit are refused after 65,536."""
    with pytest.raises(UserNotFound):
        resolve_user(b"app", line * MILLION, line * MILLION, [])
    with pytest.raises(UserNotFound):
        resolve_user(b"0:app", b"", line * MILLION, [])


def test_a_name_inside_longer_names_is_not_confused_with_them() -> None:
    """``app`` is no member where ``apple`` and ``my-app`` are."""
    group = b"one:x:1:apple,my-app\ntwo:x:2:app\nthree:x:3:my-app,app\napp:app:4:nobody\n"
    assert resolve_user(b"app", PASSWD, group, []).groups == (1000, 2, 3)


names = st.text("ab:,#\n0١-", max_size=4)


@given(names, st.lists(st.lists(names, max_size=6)), st.lists(st.lists(names, max_size=5)))
def test_whatever_the_files_hold_the_answer_is_ids_in_range(spec: str, passwd: list[list[str]], group: list[list[str]]) -> None:
    """Every outcome is a user with ids in range or `UserNotFound`, never another exception."""
    files = ["\n".join(":".join(fields) for fields in lines).encode() for lines in (passwd, group)]
    try:
        user = resolve_user(spec.encode(), files[0], files[1], [])
    except UserNotFound:
        return
    assert all(0 <= number <= users.MAX_ID for number in (user.uid, user.gid, *user.groups))
    assert user.groups[0] == user.gid


def naive(name: str, passwd: list[tuple[str, int, int]], group: list[tuple[str, int, list[str]]]) -> tuple[int, ...]:
    uid, gid = next((uid, gid) for other, uid, gid in passwd if other == name)
    return (uid, *dict.fromkeys([gid, *(number for _, number, members in group if name in members)]))


words = st.sampled_from(["a", "ab", "b", "ba", "a-b"])


@given(
    st.lists(st.tuples(words, st.integers(0, 9), st.integers(0, 9)), min_size=1),
    st.lists(st.tuples(words, st.integers(0, 9), st.lists(words))),
)
def test_the_search_equals_a_plain_reading_of_the_files(
    passwd: list[tuple[str, int, int]], group: list[tuple[str, int, list[str]]]
) -> None:
    """Searching bytes gives what splitting every line would give."""
    passwd_text = "".join(f"{name}:x:{uid}:{gid}::/:\n" for name, uid, gid in passwd).encode()
    group_text = "".join(f"{name}:x:{gid}:{','.join(members)}\n" for name, gid, members in group).encode()
    name = passwd[-1][0]
    user = resolve_user(name.encode(), passwd_text, group_text, [])
    assert (user.uid, *user.groups) == naive(name, passwd, group)


def test_the_module_imports_nothing() -> None:
    """Security rule 5: it runs inside the container's root, where an import would load the image's code."""
    source = Path(users.__file__)
    script = (
        "import sys; before = set(sys.modules)\n"
        f"exec(compile(open({str(source)!r}).read(), 'users', 'exec'), globals())\n"
        "resolve_user(b'app:web', b'app:x:1:1::/:', b'web:x:2:', [b'3'])\n"
        "try: resolve_user(b'nix', b'', b'', [])\n"
        "except UserNotFound as error: str(error)\n"
        "assert set(sys.modules) == before, set(sys.modules) - before"
    )
    assert " import " not in source.read_text(encoding="utf-8").split('"""', 2)[2]
    subprocess.run([sys.executable, "-I", "-S", "-c", script], check=True)
