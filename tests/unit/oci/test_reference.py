"""Image references mean what they mean to Docker."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from docket.domain.errors import InvalidArgument
from docket.domain.oci.digest import parse_digest
from docket.domain.oci.reference import InvalidReference, parse_reference

HEX = "a" * 64
DIGEST = f"sha256:{HEX}"
# Text, normalised form, familiar form.
GOOD = [
    ("busybox", "docker.io/library/busybox:latest", "busybox:latest"),
    ("busybox:1.36", "docker.io/library/busybox:1.36", "busybox:1.36"),
    ("library/busybox", "docker.io/library/busybox:latest", "busybox:latest"),
    ("docker.io/busybox", "docker.io/library/busybox:latest", "busybox:latest"),
    ("index.docker.io/busybox", "docker.io/library/busybox:latest", "busybox:latest"),
    ("index.docker.io/library/busybox:x", "docker.io/library/busybox:x", "busybox:x"),
    ("user/app", "docker.io/user/app:latest", "user/app:latest"),
    ("a/b/c", "docker.io/a/b/c:latest", "a/b/c:latest"),
    ("library/a/b", "docker.io/library/a/b:latest", "library/a/b:latest"),
    ("localhost/app", "localhost/app:latest", "localhost/app:latest"),
    ("localhost:5000/app", "localhost:5000/app:latest", "localhost:5000/app:latest"),
    ("host.example/app:1_2.3-x", "host.example/app:1_2.3-x", "host.example/app:1_2.3-x"),
    ("Host/app", "Host/app:latest", "Host/app:latest"),
    ("[::1]:5000/app", "[::1]:5000/app:latest", "[::1]:5000/app:latest"),
    (f"busybox@{DIGEST}", f"docker.io/library/busybox@{DIGEST}", f"busybox@{DIGEST}"),
    (f"h:1/a:t@{DIGEST}", f"h:1/a:t@{DIGEST}", f"h:1/a:t@{DIGEST}"),
    ("a__b.c-d--e", "docker.io/library/a__b.c-d--e:latest", "a__b.c-d--e:latest"),
    ("127.0.0.1/x", "127.0.0.1/x:latest", "127.0.0.1/x:latest"),
    ("x:" + "t" * 128, "docker.io/library/x:" + "t" * 128, "x:" + "t" * 128),
]
FORMAT = "invalid reference format"
WRONG = [
    ("", FORMAT),
    ("/", FORMAT),
    (":tag", FORMAT),
    ("a:", FORMAT),
    ("a@", FORMAT),
    ("-a", FORMAT),
    ("a-", FORMAT),
    ("a..b", FORMAT),
    ("a___b", FORMAT),
    ("a//b", FORMAT),
    ("a/", FORMAT),
    ("../etc", FORMAT),
    ("a b", FORMAT),
    ("a\n", FORMAT),
    ("a:t\n", FORMAT),
    ("\u00e9", FORMAT),
    ("a:\u0661", FORMAT),
    ("a:-x", FORMAT),
    ("x:" + "t" * 129, FORMAT),
    ("http://host/a", FORMAT),
    ("a@sha256:" + "a" * 31, FORMAT),
    ("a" * 5000, FORMAT),
    ("a@sha256:" + "a" * 63, "invalid checksum digest length"),
    ("a@sha256:" + "A" * 64, "invalid checksum digest format"),
    ("a@foo:" + "a" * 64, "unsupported digest algorithm"),
    ("Busybox", "invalid reference format: repository name (library/Busybox) must be lowercase"),
    ("user/App:x", "invalid reference format: repository name (user/App) must be lowercase"),
    (HEX, f"invalid repository name ({HEX}), cannot specify 64-byte hexadecimal strings"),
    ("a/" * 130 + "a", "repository name must not be more than 255 characters"),
]


@pytest.mark.parametrize(("text", "normalised", "familiar"), GOOD)
def test_references_are_normalised_and_shown_as_docker_does(text: str, normalised: str, familiar: str) -> None:
    """What people type gets its registry, repository and tag; what people see is short again."""
    reference = parse_reference(text)
    assert str(reference) == normalised
    assert reference.familiar == familiar
    assert parse_reference(str(reference)) == parse_reference(reference.familiar) == reference


@pytest.mark.parametrize(("text", "message"), WRONG)
def test_wrong_references_are_refused_with_dockers_text(text: str, message: str) -> None:
    """Nothing but a reference gets through, and clients see the text that they know."""
    with pytest.raises(InvalidReference) as caught:
        parse_reference(text)
    assert caught.value.rejection == InvalidArgument(message)


def test_the_default_tag_can_be_left_out() -> None:
    """Who wants all tags of a repository, or adds a tag of his own, sees whether one was named."""
    reference = parse_reference("busybox", default_tag=False)
    assert (reference.tag, reference.name, reference.familiar_name) == ("", "docker.io/library/busybox", "busybox")
    assert str(reference.with_tag("1")) == "docker.io/library/busybox:1"
    assert str(reference.with_digest(parse_digest(DIGEST))) == f"docker.io/library/busybox@{DIGEST}"
    with pytest.raises(InvalidReference, match="invalid tag format"):
        reference.with_tag("a b")


@given(st.text(alphabet="aA0:/@.-_[] \n\u0661", max_size=40))
def test_every_text_is_a_reference_or_refused(text: str) -> None:
    """The parser never fails in another way, and what it takes survives normalising."""
    try:
        reference = parse_reference(text)
    except InvalidReference:
        return
    assert parse_reference(str(reference)) == reference
