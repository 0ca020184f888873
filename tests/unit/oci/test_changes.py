"""Changes to an image's parameters: the instructions of import and commit."""

import pytest

from docket.domain.errors import InvalidArgument, Rejected
from docket.domain.oci.changes import InvalidChange, apply_changes
from docket.domain.oci.image_config import Empty, ExecutionParameters, Healthcheck

BASE = ExecutionParameters(env=("PATH=/bin",), cmd=("old",), working_dir="/w", labels={"a": "1"})


def changed(*changes: str) -> ExecutionParameters:
    """The base parameters after the changes."""
    return apply_changes(BASE, changes)


def test_commands_have_an_exec_form_and_a_shell_form() -> None:
    """A JSON array is taken word by word; anything else goes to the shell as it stands."""
    assert changed('CMD ["sh", "-c", "x y"]').cmd == ("sh", "-c", "x y")
    assert changed("cmd echo $PATH 'q'").cmd == ("/bin/sh", "-c", "echo $PATH 'q'")
    assert changed("CMD ['sh']").cmd == ("/bin/sh", "-c", "['sh']")
    assert changed('CMD ["a", 1]').cmd == ("/bin/sh", "-c", '["a", 1]')


def test_an_entrypoint_drops_the_old_command_unless_a_new_one_was_given() -> None:
    """The old command was meant for the old entrypoint."""
    assert changed('ENTRYPOINT ["e"]').cmd is None
    assert changed('CMD ["c"]', 'ENTRYPOINT ["e"]').cmd == ("c",)
    assert changed("ENTRYPOINT []").entrypoint is None


def test_env_replaces_in_place_and_expands() -> None:
    """Several pairs, quotes, the old form with one name, and variables of the image."""
    assert changed('ENV A=1 B="x y" PATH=$PATH:/opt').env == ("PATH=/bin:/opt", "A=1", "B=x y")
    assert changed("ENV A some words  here").env == ("PATH=/bin", "A=some words  here")
    assert changed("ENV A=1", "ENV B=${A}2").env == ("PATH=/bin", "A=1", "B=12")


def test_the_other_instructions() -> None:
    """Each sets its own field and leaves the rest alone."""
    assert changed('LABEL b="2 3" a=x').labels == {"a": "x", "b": "2 3"}
    assert changed("EXPOSE 80 53/udp 8000-8002").exposed_ports == dict.fromkeys(
        ("80/tcp", "53/udp", "8000/tcp", "8001/tcp", "8002/tcp"), Empty()
    )
    assert changed('VOLUME ["/a b"]', "VOLUME /c /d").volumes == dict.fromkeys(("/a b", "/c", "/d"), Empty())
    assert changed("WORKDIR x", "WORKDIR ../y/./z").working_dir == "/w/y/z"
    assert changed("WORKDIR /../../etc").working_dir == "/etc"
    assert changed("USER 1:2").user == "1:2"
    assert changed("STOPSIGNAL SIGRTMIN+3").stop_signal == "SIGRTMIN+3"
    assert changed("ONBUILD RUN x  y").on_build == ("RUN x  y",)


def test_comments_blank_lines_and_continuations() -> None:
    """A change may be a small Dockerfile of its own."""
    assert changed("# note\n\nENV A=1 \\\n  B=2\nUSER x").env == ("PATH=/bin", "A=1", "B=2")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("RUN rm", "RUN is not a valid change command"),
        ("FROM x", "FROM is not a valid change command"),
        ("COPY a b", "COPY is not a valid change command"),
        ("nonsense", "nonsense is not a valid change command"),
        ("CMD", "CMD requires at least one argument"),
        ("ENV A", "ENV must have two arguments"),
        ("ENV A=1 B", "Syntax error - can't find = in 'B'. Must be of the form: name=value"),
        ("ENV =x", "ENV names can not be blank"),
        ("ENV A='x", "ENV: unexpected end of statement while looking for matching single-quote"),
        ("EXPOSE x", "invalid containerPort: x"),
        ("EXPOSE 80/icmp", "invalid proto: icmp"),
        ("EXPOSE 99999", "invalid containerPort: 99999"),
        ("EXPOSE 9-8", "invalid containerPort: 9-8"),
        ("EXPOSE \u0668\u0660", "invalid containerPort: \u0668\u0660"),
        ("USER a b", "USER requires exactly one argument"),
        ("STOPSIGNAL ;", "invalid signal: ;"),
        ("STOPSIGNAL 65", "invalid signal: 65"),
        ('VOLUME [""]', "VOLUME specified can not be an empty string"),
        ("ONBUILD ONBUILD RUN x", "Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed"),
        ("ONBUILD from x", "FROM isn't allowed as an ONBUILD trigger"),
    ],
)
def test_wrong_changes_are_refused_with_dockers_text(change: str, message: str) -> None:
    """Nothing is half applied, and the message says what is wrong."""
    with pytest.raises(InvalidChange) as caught:
        changed("USER fine", change)
    assert caught.value.rejection == InvalidArgument(message)


@pytest.mark.parametrize("change", ["LABEL a=\0", "LABEL a=\x1b[2J", "LABEL a=\ud800", "LABEL a=" + "x" * 300_000])
def test_s32_control_characters_and_oversized_changes_are_refused(change: str) -> None:
    """Nothing that cannot be stored as text, or steers a terminal, becomes part of an image."""
    with pytest.raises(InvalidChange):
        changed(change)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ("HEALTHCHECK NONE", Healthcheck(test=("NONE",))),
        ("HEALTHCHECK CMD curl -f x || exit 1", Healthcheck(test=("CMD-SHELL", "curl -f x || exit 1"))),
        (
            'HEALTHCHECK --interval=5s --timeout=1m --retries=3 --start-period=1ms CMD ["a", "b"]',
            Healthcheck(test=("CMD", "a", "b"), interval=5 * 10**9, timeout=60 * 10**9, retries=3, start_period=10**6),
        ),
    ],
)
def test_a_health_check_is_kept_as_docker_keeps_it(change: str, expected: Healthcheck) -> None:
    """Both forms of the command, and its times in nanoseconds."""
    assert apply_changes(ExecutionParameters(), [change]).healthcheck == expected


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ("HEALTHCHECK", "requires at least one argument"),
        ("HEALTHCHECK NONE x", "takes no arguments"),
        ("HEALTHCHECK RUN x", "try CMD"),
        ("HEALTHCHECK CMD", "Missing command"),
        ("HEALTHCHECK CMD []", "Missing command"),
        ("HEALTHCHECK --interval=5 CMD x", "missing unit"),
        ("HEALTHCHECK --interval=1us CMD x", "less than 1ms"),
        ("HEALTHCHECK --retries=-1 CMD x", "not negative"),
        ("HEALTHCHECK --foo=1 CMD x", "Unknown flag"),
    ],
)
def test_a_wrong_health_check_is_refused(change: str, text: str) -> None:
    """With the reason."""
    with pytest.raises(Rejected, match=text):
        apply_changes(ExecutionParameters(), [change])
