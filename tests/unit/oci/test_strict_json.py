"""Documents from strangers have one reading or none."""

import msgspec
import pytest

from docket.domain.oci import strict_json
from docket.domain.oci.strict_json import InvalidDocument, decode_strict


class Inner(msgspec.Struct, rename="camel"):
    """A nested object."""

    media_type: str = ""


class Outer(msgspec.Struct, rename="camel"):
    """A document with every kind of member."""

    size: int = 0
    names: tuple[str, ...] = ()
    labels: dict[str, str] = {}
    inner: Inner | None = None
    inners: tuple[Inner, ...] = ()


def refused(data: bytes) -> str:
    """The reason why a document is refused."""
    with pytest.raises(InvalidDocument) as caught:
        decode_strict(data, Outer, "document")
    return str(caught.value)


def test_a_document_is_read() -> None:
    """Known members arrive, unknown ones are ignored, null means absent, labels keep their case."""
    data = b'{"size":3,"names":["a"],"labels":{"Size":"x","size":"y"},"inner":null,"inners":[{"mediaType":"m"}],"other":[1,{}]}'
    assert decode_strict(data, Outer, "document") == Outer(3, ("a",), {"Size": "x", "size": "y"}, None, (Inner("m"),))


def test_s24_duplicate_keys_are_refused() -> None:
    """One program takes the first, another the last: so nobody takes either, at any depth."""
    assert "stands twice" in refused(b'{"size":1,"size":2}')
    assert "stands twice" in refused(b'{"size":1,"\\u0073ize":2}')
    assert "stands twice" in refused(b'{"other":{"a":1,"a":1}}')


@pytest.mark.parametrize(
    "data",
    [
        b'{"Size":1}',
        b'{"size":1,"SIZE":2}',
        '{"\u017fize":1}'.encode(),
        b'{"inner":{"MediaType":"x"}}',
        b'{"inners":[{"mediatype":""}]}',
    ],
)
def test_s24_keys_that_go_would_read_are_refused(data: bytes) -> None:
    """Go matches keys without case: a key that only Go would see makes two readings of one document."""
    assert "in case only" in refused(data)


@pytest.mark.parametrize(
    "number", [b"NaN", b"Infinity", b"-Infinity", b"1e999", b"9" * 5000, b"01", b"+1", b"1.5", b'"1"', b"true"]
)
def test_s24_numbers_that_are_no_json_numbers_or_no_sizes_are_refused(number: bytes) -> None:
    """Neither Python's extensions to JSON nor endless digits get in."""
    refused(b'{"size":' + number + b"}")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"null",
        b'"x"',
        b"{",
        b'{"size":1}{',
        b'{"size":1}\0',
        b"\xef\xbb\xbf{}",
        '{"size":1}'.encode("utf-16"),
        b'{"names":["\xff"]}',
        b'{"names":["\\ud800"]}',
        b'{"names":["\\udc00\\ud800"]}',
        b"{'size':1}",
        b'{"size":1,}',
    ],
)
def test_s24_what_is_no_plain_utf8_json_object_is_refused(data: bytes) -> None:
    """Other encodings, lone surrogates and trailing bytes are errors, never guesses."""
    refused(data)


def test_paired_surrogates_are_one_character() -> None:
    """An escape that is valid JSON is read."""
    assert decode_strict(b'{"names":["\\ud83d\\ude00"]}', Outer, "document").names == ("\U0001f600",)


def test_s29_size_depth_and_count_are_bounded() -> None:
    """A document that costs more than a manifest may is refused before it is built."""
    assert "at most" in refused(b" " * (strict_json.MAX_DOCUMENT_BYTES + 1))
    assert "nested deeper" in refused(b'{"other":' + b"[" * 100_000)
    assert "nested deeper" in refused(b'{"other":' * 40 + b"1" + b"}" * 40)
    assert "values" in refused(b'{"other":[' + b"0," * 300_000 + b"0]}")
    assert decode_strict(b'{"names":["' + b"[" * 1000 + b'"]}', Outer, "document").names == ("[" * 1000,)
