"""The cloud's ids."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from fcemu.identifiers import instance_id, request_id


@given(st.floats(0, 2**32 - 1), st.integers(0, 2**96 - 1))
def test_request_id_has_the_clouds_form(wall_now: float, bits: int) -> None:
    """A request id is `1-`, eight hex digits of time, up to eight random ones, and twelve."""
    assert re.fullmatch(r"1-[0-9a-f]{8}-[0-9a-f]{1,8}-[0-9a-f]{12}", request_id(wall_now, bits))


def test_request_id_carries_the_time_and_does_not_pad_its_middle() -> None:
    """The time is the second group; the third is not padded, as in the cloud."""
    assert request_id(0x65D71219, 0x160A87 << 48 | 0xFECF237C590C) == "1-65d71219-160a87-fecf237c590c"


def test_instance_id_has_the_clouds_form() -> None:
    """An instance id is `c-` and three padded groups."""
    assert instance_id(0x65D71219, 1 << 48 | 2) == "c-65d71219-00000001-000000000002"
