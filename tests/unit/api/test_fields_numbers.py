"""Numbers in bodies that are beyond all measure."""

from __future__ import annotations

import pytest

from docket.adapters.api import fields
from docket.adapters.http import HttpError
from docket.domain.errors import Rejected


@pytest.mark.parametrize("number", [1 << 63, -(1 << 64), 10**5000], ids=["63 bits", "64 bits", "5,000 digits"])
def test_a_number_out_of_range_is_refused_however_long_it_is(number: int) -> None:
    """Python does not write out numbers of more than 4,300 digits: the refusal must not try."""
    with pytest.raises((Rejected, HttpError), match="Memory is out of range"):
        fields.integer({"Memory": number}, "Memory")
