"""Chain ids name stacks of layers as the specification says."""

import hashlib

from docket.domain.oci.chain_id import chain_ids
from docket.domain.oci.digest import Digest

A, B, C = (Digest("sha256:" + letter * 64) for letter in "abc")


def digest(text: str) -> str:
    """The digest of a text."""
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


def test_each_layer_is_named_by_everything_below_it() -> None:
    """The lowest layer keeps its diff id, every other hashes the chain below and its own diff id."""
    second = digest(f"{A} {B}")
    assert chain_ids([]) == ()
    assert chain_ids([A, B, C]) == (A, second, digest(f"{second} {C}"))
    assert chain_ids([A, C, B])[2] != chain_ids([A, B, C])[2]
