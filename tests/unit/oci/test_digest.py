"""Digests are validated before anything is done with them."""

import msgspec
import pytest

from docket.domain.oci.digest import DigestField, InvalidDigest, digest_of, hex_of, parse_digest

GOOD = "sha256:" + "0123456789abcdef" * 4
WRONG = [
    "",
    "sha256",
    "sha256:",
    "sha256:../../x",
    "sha256:../../../../../../../../../../../../../../etc/passwd-0123456789abcdef012",
    GOOD.upper(),
    GOOD.replace("a", "A"),
    GOOD[:-1],
    GOOD + "0",
    GOOD + "\n",
    "\n" + GOOD,
    " " + GOOD,
    GOOD + "\0",
    GOOD[:-1] + "g",
    GOOD[:-1] + "\u0661",
    GOOD.replace("sha256", "SHA256"),
    GOOD.replace("sha256", "md5"),
    GOOD.replace("sha256", "sha512"),
    "sha512:" + "a" * 128,
    "sha384:" + "a" * 96,
    "sha256:" + "a" * 100_000,
    "sha256:" + GOOD,
    GOOD[7:],
]


def test_a_digest_is_taken_as_it_is() -> None:
    """A valid digest comes through unchanged, and its digits can be asked for."""
    assert parse_digest(GOOD) == GOOD
    assert hex_of(parse_digest(GOOD)) == GOOD[7:]
    assert digest_of(b"") == "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


@pytest.mark.parametrize("text", WRONG)
def test_s25_anything_else_is_refused_before_any_use(text: str) -> None:
    """Neither the parser nor a struct's field takes a text that could become another path."""
    with pytest.raises(InvalidDigest):
        parse_digest(text)
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(text, DigestField)


def test_s25_a_text_that_was_never_validated_gives_no_file_name() -> None:
    """Even a careless cast does not lead to a path."""
    with pytest.raises(InvalidDigest):
        hex_of("sha256:../../etc")  # type: ignore[arg-type]
