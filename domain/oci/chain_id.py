"""Chain ids: the names of stacks of layers (OCI image-spec, ``config.md``, "Layer ChainID").

The lowest layer's chain id is its diff id; every other is the digest of the chain id below, a space, and its own diff id. So
one chain id says everything that lies in and under a layer.
"""

from __future__ import annotations

from collections.abc import Sequence

from docket.domain.oci.digest import Digest, digest_of


def chain_ids(diff_ids: Sequence[Digest]) -> tuple[Digest, ...]:
    """Returns the chain id of every layer, bottom first, from the diff ids, bottom first."""
    chain: list[Digest] = []
    for diff_id in diff_ids:
        chain.append(digest_of(f"{chain[-1]} {diff_id}".encode()) if chain else diff_id)
    return tuple(chain)
